use std::{borrow::Cow, convert::Infallible, time::Duration};

use sfv::{
    BareItemFromInput as Bare, KeyRef, Parser,
    visitor::{
        DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor,
        ParameterVisitor,
    },
};

use crate::{Allowance, allowance::Inline};

/// Reads a line of `RateLimit`.
///
/// It is a list of quotas, `"burst";r=0;t=30`; in a draft before (-07), it is a
/// dictionary of one: `limit=100, remaining=0, reset=30`.
pub(crate) fn read_limits<'h>(line: &'h [u8], found: &mut Inline<Allowance<'h>>) {
    let before = found.len();
    if read_list(line, found).is_none() {
        found.truncate(before);
        found.push(read_dictionary(line).unwrap_or_default());
    }
    found.retain(|quota| quota.remaining.is_some() || quota.reset.is_some());
}

/// Reads a line of `RateLimit-Policy`.
pub(crate) fn read_policies<'h>(line: &'h [u8], policies: &mut Inline<Allowance<'h>>) {
    let before = policies.len();
    if read_list(line, policies).is_none() {
        policies.truncate(before);
    }
}

/// Adds what the policies say of these quotas.
pub(crate) fn join(found: &mut Inline<Allowance<'_>>, policies: &Inline<Allowance<'_>>) {
    for quota in found.iter_mut() {
        if let Some(policy) = policies.iter().find(|policy| policy.name == quota.name) {
            quota.limit = quota.limit.or(policy.limit);
            quota.window = quota.window.or(policy.window);
            quota.other_unit = policy.other_unit;
        }
    }
    found.retain(|quota| !quota.other_unit);
}

fn read_list<'h>(line: &'h [u8], found: &mut Inline<Allowance<'h>>) -> Option<()> {
    Parser::new(line).parse_list_with_visitor(Quotas(found)).ok()
}

fn read_dictionary(line: &[u8]) -> Option<Allowance<'_>> {
    Parser::new(line).parse_dictionary_with_visitor(Single(Allowance::default())).ok()
}

/// A list of quotas.
struct Quotas<'f, 'h>(&'f mut Inline<Allowance<'h>>);

impl<'h> ListVisitor<'h> for Quotas<'_, 'h> {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'h>, Infallible> {
        // The others are looked at for their syntax alone.
        Ok(self.0.push(Allowance::default()).map(Quota))
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct Quota<'q, 'h>(&'q mut Allowance<'h>);

impl<'h> EntryVisitor<'h> for Quota<'_, 'h> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'h>, Infallible> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'h>, Infallible> {
        Ok(Ignored)
    }
}

impl<'q, 'h> ItemVisitor<'h> for Quota<'q, 'h> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(self, item: Bare<'h>) -> Result<impl ParameterVisitor<'h, Out = ()>, Infallible> {
        match item {
            Bare::String(Cow::Borrowed(name)) => self.0.name = Some(Cow::Borrowed(name.as_str())),
            Bare::String(Cow::Owned(name)) => self.0.name = Some(Cow::Owned(name.into())),
            Bare::Token(name) => self.0.name = Some(Cow::Borrowed(name.as_str())),
            // A policy of the drafts before has its quota in place of a name.
            item => self.0.limit = count(&item),
        }
        Ok(self)
    }
}

impl<'h> ParameterVisitor<'h> for Quota<'_, 'h> {
    type Out = ();
    type Error = Infallible;

    fn parameter(&mut self, key: &'h KeyRef, value: Bare<'h>) -> Result<(), Infallible> {
        match key.as_str() {
            "r" => self.0.remaining = count(&value),
            "t" => self.0.reset = seconds(&value),
            "q" => self.0.limit = count(&value),
            "w" => self.0.window = seconds(&value),
            "qu" => self.0.other_unit = !is_requests(&value),
            "pk" => {
                self.0.partition = match value {
                    Bare::ByteSequence(key) => Some(key.into()),
                    _ => None,
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// One quota, in a dictionary.
struct Single<'h>(Allowance<'h>);

impl<'h> DictionaryVisitor<'h> for Single<'h> {
    type Out = Allowance<'h>;
    type Error = Infallible;

    fn entry(&mut self, key: &'h KeyRef) -> Result<impl EntryVisitor<'h>, Infallible> {
        Ok(Member { quota: &mut self.0, key: key.as_str() })
    }

    fn finish(self) -> Result<Allowance<'h>, Infallible> {
        Ok(self.0)
    }
}

struct Member<'q, 'h> {
    quota: &'q mut Allowance<'h>,
    key: &'h str,
}

impl<'h> EntryVisitor<'h> for Member<'_, 'h> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'h>, Infallible> {
        Ok(move |value: Bare<'h>| {
            match self.key {
                "limit" => self.quota.limit = count(&value),
                "remaining" => self.quota.remaining = count(&value),
                "reset" => self.quota.reset = seconds(&value),
                _ => {}
            }
            Ok::<_, Infallible>(Ignored)
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'h>, Infallible> {
        Ok(Ignored)
    }
}

/// Less than nothing is nothing.
fn count(value: &Bare<'_>) -> Option<u64> {
    match value {
        Bare::Integer(count) => Some(u64::try_from(i64::from(*count)).unwrap_or(0)),
        _ => None,
    }
}

fn seconds(value: &Bare<'_>) -> Option<Duration> {
    match value {
        Bare::Integer(seconds) => u64::try_from(i64::from(*seconds)).ok().map(Duration::from_secs),
        Bare::Decimal(seconds) => Duration::try_from_secs_f64(f64::from(*seconds)).ok(),
        _ => None,
    }
}

fn is_requests(unit: &Bare<'_>) -> bool {
    match unit {
        Bare::String(unit) => unit.as_str() == "requests",
        _ => false,
    }
}
