//! What is stored is still the same: how that is told by a 304, or by an answer to HEAD.

use http::{HeaderMap, StatusCode};

use super::{
    entry::{StoredHead, Variant, compacted},
    plan::{Judged, Plan},
    status::CacheStatus,
    store::Store,
};
use crate::rules::{
    fields,
    update::{self, HeadEffect},
};

impl<T: Store> Plan<T> {
    /// RFC 9111, section 4.3.4: what is stored is still the same.
    pub(super) fn not_modified(&mut self, update: &HeaderMap) -> Judged {
        let selected = self.selected.iter().map(|selected| &selected.variant);
        let offered = self.offered.iter().flat_map(|entry| entry.variants());
        let mut candidates: Vec<_> = selected.chain(offered).collect();
        candidates.dedup_by(|one, other| one.is(other));
        let sole = candidates.len() == 1;
        let about = |variant: &&&Variant| {
            update::is_about(update, &variant.head.headers, sole)
                && (sole || variant.head.part.is_none())
        };
        if let Some(variant) = candidates.iter().find(about) {
            return Judged::Answer(self.freshen(variant, update), CacheStatus::Revalidated);
        }
        match &self.selected {
            // The origin found its tag among one: that one is still the same, but nothing that
            // this says is about it. Some name the tag of another encoding here.
            Some(selected) if sole => {
                Judged::Answer(selected.variant.clone(), CacheStatus::Revalidated)
            }
            // Without them, the next request gets an answer.
            _ => {
                self.core.store.invalidate(self.key(false));
                Judged::Confused
            }
        }
    }

    /// Updates a stored head, and says what is stored now.
    fn freshen(&self, variant: &Variant, update: &HeaderMap) -> Variant {
        let (received, options) = (self.core.settings.now(), self.options());
        let stored = &variant.head;
        let mut headers = stored.headers.clone();
        let selected = self.selected.as_ref();
        let own = selected.filter(|selected| selected.variant.is(variant));
        // What is for all stays as it is, unless this is for all too.
        let own = own.filter(|selected| !selected.common || update::is_for_all(update));
        let common = own.is_some_and(|selected| selected.common);
        update::freshen(&mut headers, update.clone(), received, &options);
        let examined = self.examine(stored.status, &headers, received, &options);
        let mut head = StoredHead { headers: compacted(&headers), received, ..(**stored).clone() };
        let Some(admitted) = examined.ok().filter(|_| fields::has_room(&headers)) else {
            if own.is_some() {
                self.core.store.invalidate(self.key(common));
            }
            return variant.with_head(head, self.stamp);
        };
        head.policy = admitted.policy;
        head.selector = admitted.selector;
        let fresh = variant.with_head(head, self.stamp);
        if own.is_some() {
            let key = self.key(common).to_key();
            self.core.store.freshen(&key, variant, fresh.clone());
        } else {
            // One that was stored for other requests is for this one too.
            self.core.store.put(&self.ask.key, fresh.clone());
        }
        fresh
    }

    /// RFC 9111, section 4.3.5.
    pub(super) fn learn_from_head(&self, status: StatusCode, headers: &HeaderMap) {
        let Some(selected) = &self.selected else {
            return;
        };
        let stored = &selected.variant.head;
        let length = selected.variant.body.len() as u64;
        let length = stored.part.is_none().then_some(length);
        match HeadEffect::of(status, headers, stored.status, &stored.headers, length) {
            HeadEffect::None => {}
            HeadEffect::Freshen => {
                self.freshen(&selected.variant, headers);
            }
            HeadEffect::Invalidate => self.core.store.invalidate(self.key(selected.common)),
        }
    }
}
