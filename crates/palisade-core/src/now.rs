use std::{cell::Cell, time::Instant};

/// What time it is, for layers that ask one right after the other.
///
/// A look at the clock takes longer than most layers do. Who calls and polls a
/// stack of them may have them [share](Self::share) what it says: it is then
/// looked at when it is first asked for, and again only after what may have
/// [taken time](Self::elapse). Elsewhere, each looks for itself.
///
/// ```
/// use std::time::Instant;
/// use palisade_core::Now;
///
/// let now = || Now::by(Instant::now);
/// Now::share(|| {
///     let start = now();
///     assert_eq!(now(), start);
///     Now::elapse(|| while Instant::now() == start {});
///     assert!(start < now());
/// });
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "it has no values")]
pub enum Now {}

#[derive(Clone, Copy)]
enum Shared {
    // Each looks for itself.
    Not,
    // Nobody has asked yet.
    Unasked,
    Read(Instant),
}

thread_local! {
    static SHARED: Cell<Shared> = const { Cell::new(Shared::Not) };
}

impl Now {
    /// What time it is by this clock: `Instant::now`, of tokio or of std.
    #[inline]
    pub fn by<I: Copy + From<Instant> + Into<Instant>>(clock: impl FnOnce() -> I) -> I {
        match SHARED.get() {
            Shared::Read(now) => now.into(),
            Shared::Not => clock(),
            Shared::Unasked => {
                let now = clock();
                SHARED.set(Shared::Read(now.into()));
                now
            }
        }
    }

    /// Has those who ask during some work share what the clock says.
    #[inline]
    pub fn share<T>(work: impl FnOnce() -> T) -> T {
        let _around = Around(SHARED.replace(Shared::Unasked));
        work()
    }

    /// Does some work that may take time: who asks afterwards is told of a new
    /// time.
    #[inline]
    pub fn elapse<T>(work: impl FnOnce() -> T) -> T {
        let _around = Around(SHARED.get());
        work()
    }
}

/// Whether it was shared before the work; restored after it, or its panic.
struct Around(Shared);

impl Drop for Around {
    #[inline]
    fn drop(&mut self) {
        SHARED.set(match self.0 {
            Shared::Not => Shared::Not,
            Shared::Unasked | Shared::Read(_) => Shared::Unasked,
        });
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any moment does to reckon from")]
mod tests {
    use std::{panic::catch_unwind, time::Duration};

    use super::*;

    /// A clock that goes on whenever it is looked at.
    fn look(start: Instant, looks: &Cell<u32>) -> u128 {
        let clock = || {
            looks.set(looks.get() + 1);
            start + Duration::from_nanos(looks.get().into())
        };
        Now::by(clock).duration_since(start).as_nanos()
    }

    #[test]
    fn is_looked_at_once_until_time_has_passed() {
        let (start, looks) = (Instant::now(), Cell::new(0));
        let now = || look(start, &looks);
        assert_eq!([now(), now()], [1, 2]);
        Now::share(|| {
            assert_eq!([now(), now()], [3, 3]);
            Now::elapse(|| assert_eq!([now(), now()], [3, 3]));
            assert_eq!([now(), now()], [4, 4]);
            // A stack within a stack.
            Now::share(|| assert_eq!([now(), now()], [5, 5]));
            assert_eq!([now(), now()], [6, 6]);
        });
        Now::elapse(|| assert_eq!([now(), now()], [7, 8]));
        assert_eq!([now(), now()], [9, 10]);
    }

    #[test]
    fn is_not_shared_after_a_panic() {
        let (start, looks) = (Instant::now(), Cell::new(0));
        let now = || look(start, &looks);
        let panics = || Now::share(|| Now::elapse(|| panic!("of a service")));
        assert!(catch_unwind(panics).is_err());
        assert_eq!([now(), now()], [1, 2]);
    }
}
