use std::time::Duration;

/// When a state ends, and how often in a row the breaker has opened: a word
/// that names the generation it is of.
///
/// It is written after the control word, so it may be one behind for a moment.
/// Who finds that acts as if the state had just begun, which it has. Who finds
/// one of a later generation has an old control word in hand.
///
/// | bits | |
/// |---|---|
/// | 48..64 | the lower bits of the generation |
/// | 40..48 | how often the breaker has opened without closing in between |
/// | 0..40 | when the state ends, in milliseconds: 34 years |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) tag: u16,
    pub(crate) streak: u8,
    ends: u64,
}

const ENDS_BITS: u32 = 40;
const MAX_ENDS: u64 = (1 << ENDS_BITS) - 1;
const MS: u64 = 1_000_000;

impl Mark {
    /// Ends at so many nanoseconds, or at the next whole millisecond.
    pub(crate) fn new(streak: u8, ends: u64) -> Self {
        Self { tag: 0, streak, ends: ends.div_ceil(MS).min(MAX_ENDS) }
    }

    pub(crate) fn of(self, generation: u32) -> Self {
        Self { tag: generation as u16, ..self }
    }

    pub(crate) fn is_of(self, generation: u32) -> bool {
        self.tag == generation as u16
    }

    /// Whether it is of a later generation. They are few apart.
    pub(crate) fn is_later_than(self, generation: u32) -> bool {
        (1..0x8000).contains(&self.tag.wrapping_sub(generation as u16))
    }

    /// Whether it is of a later generation than the other, or of the same one
    /// and ends later.
    pub(crate) fn is_after(self, other: Self) -> bool {
        self.is_later_than(other.tag.into()) || self.tag == other.tag && other.ends < self.ends
    }

    /// How long until the end; zero, if that has come.
    pub(crate) fn remaining(self, now: u64) -> Duration {
        Duration::from_nanos((self.ends * MS).saturating_sub(now))
    }

    pub(crate) fn has_ended(self, now: u64) -> bool {
        self.ends * MS <= now
    }

    pub(crate) fn unpack(word: u64) -> Self {
        Self { tag: (word >> 48) as u16, streak: (word >> ENDS_BITS) as u8, ends: word & MAX_ENDS }
    }

    pub(crate) fn pack(self) -> u64 {
        u64::from(self.tag) << 48 | u64::from(self.streak) << ENDS_BITS | self.ends
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_survives_packing(tag in any::<u16>(), streak in any::<u8>(), ends in 0..=MAX_ENDS) {
            let mark = Mark { tag, streak, ends };
            prop_assert_eq!(Mark::unpack(mark.pack()), mark);
        }
    }

    #[test]
    fn ends_with_a_whole_millisecond() {
        let mark = Mark::new(0, 5 * MS + 1);
        assert!(!mark.has_ended(6 * MS - 1));
        assert!(mark.has_ended(6 * MS));
        assert_eq!(mark.remaining(5 * MS), Duration::from_millis(1));
        assert_eq!(mark.remaining(7 * MS), Duration::ZERO);
        let never = Mark::new(0, u64::MAX);
        assert!(!never.has_ended(1 << 59));
    }

    #[test]
    fn later_generations_are_told_from_earlier_ones() {
        let mark = |generation| Mark::new(0, 0).of(generation);
        for (one, other, after) in [
            (1, 0, true),
            (0, 0, false),
            (0, 1, false),
            (0, 0xffff, true),
            (0x1_0003, 0xfffe, true),
        ] {
            assert_eq!(mark(one).is_later_than(other), after, "{one} {other}");
            assert_eq!(mark(one).is_after(mark(other)), after, "{one} {other}");
        }
        let later = Mark::new(0, MS).of(1);
        assert!(later.is_after(mark(1)) && !mark(1).is_after(later));
        assert!(mark(2).is_after(later));
    }
}
