use crate::{HalfOpen, State};

/// All that says whether a call is admitted, but for the time: it fits one
/// atomic word, and so changes as a whole.
///
/// | bits | |
/// |---|---|
/// | 34..64 | the generation: how many states the breaker has been in |
/// | 31..34 | the state |
/// | 30 | whether refusals are only observed |
/// | 0..30 | in a row: failures; half-open: calls admitted, succeeded and failed, 10 bits each |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) generation: u32,
    pub(crate) state: State,
    pub(crate) observed: bool,
    pub(crate) count: u32,
}

/// What has become of the calls that a half-open breaker has admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Probes {
    pub(crate) admitted: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
}

/// How a call counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    Success,
    Failure,
    /// Counts for the rate, and fails a probe, but is no failure in a row.
    Soft,
    /// Says nothing about the service.
    Ignore,
}

const COUNT_BITS: u32 = 30;
pub(crate) const MAX_COUNT: u32 = (1 << COUNT_BITS) - 1;
const PROBE_BITS: u32 = 10;
const PROBE_MASK: u32 = (1 << PROBE_BITS) - 1;
impl Word {
    pub(crate) const MAX_GENERATION: u32 = (1 << 30) - 1;

    pub(crate) fn new() -> Self {
        Self { generation: 0, state: State::Closed, observed: false, count: 0 }
    }

    #[inline]
    pub(crate) fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 34) as u32,
            state: match (word >> 31) & 7 {
                1 => State::Open,
                2 => State::HalfOpen,
                3 => State::RampUp,
                4 => State::ForcedOpen,
                5 => State::Disabled,
                _ => State::Closed,
            },
            observed: word >> 30 & 1 == 1,
            count: word as u32 & MAX_COUNT,
        }
    }

    #[inline]
    pub(crate) fn pack(self) -> u64 {
        let state = self.state as u64;
        u64::from(self.generation) << 34
            | state << 31
            | u64::from(self.observed) << 30
            | u64::from(self.count)
    }

    /// The beginning of another state, or of the same one anew.
    pub(crate) fn next(self, state: State) -> Self {
        let generation = self.generation.wrapping_add(1) & Self::MAX_GENERATION;
        Self { generation, state, count: 0, ..self }
    }

    pub(crate) fn probes(self) -> Probes {
        Probes {
            admitted: self.count >> (2 * PROBE_BITS),
            succeeded: (self.count >> PROBE_BITS) & PROBE_MASK,
            failed: self.count & PROBE_MASK,
        }
    }

    pub(crate) fn with_probes(self, probes: Probes) -> Self {
        let Probes { admitted, succeeded, failed } = probes;
        let count = admitted << (2 * PROBE_BITS) | succeeded << PROBE_BITS | failed;
        Self { count, ..self }
    }

    /// The word after a call has ended that a half-open breaker admitted: in
    /// the state `recovered` if enough have succeeded, open if too many failed.
    pub(crate) fn after_probe(self, grade: Grade, rule: &HalfOpen, recovered: State) -> Self {
        let mut probes = self.probes();
        match grade {
            Grade::Success => probes.succeeded += 1,
            Grade::Failure | Grade::Soft => probes.failed += 1,
            // Its permit is free again.
            Grade::Ignore => probes.admitted -= 1,
        }
        match rule.verdict(probes.succeeded, probes.failed) {
            Some(true) => self.next(recovered),
            Some(false) => self.next(State::Open),
            None => self.with_probes(probes),
        }
    }
}

impl Probes {
    pub(crate) fn in_flight(self) -> u32 {
        self.admitted - self.succeeded - self.failed
    }

    /// One more is admitted.
    pub(crate) fn admit(self) -> Self {
        Self { admitted: self.admitted + 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATES: [State; 6] = [
        State::Closed,
        State::Open,
        State::HalfOpen,
        State::RampUp,
        State::ForcedOpen,
        State::Disabled,
    ];

    proptest! {
        #[test]
        fn a_word_survives_packing(
            generation in 0..=Word::MAX_GENERATION, state in 0..STATES.len(), observed in any::<bool>(),
            admitted in 0..=PROBE_MASK, succeeded in 0..=PROBE_MASK, failed in 0..=PROBE_MASK,
        ) {
            let state = STATES[state];
            let probes = Probes { admitted, succeeded, failed };
            let word = Word { generation, state, observed, count: 0 }.with_probes(probes);
            prop_assert_eq!(Word::unpack(word.pack()), word);
            prop_assert_eq!(word.probes(), probes);
        }
    }

    #[test]
    fn every_state_has_its_place() {
        for (place, state) in STATES.into_iter().enumerate() {
            assert_eq!(state as usize, place);
        }
    }

    #[test]
    fn generations_go_round() {
        let last = Word { generation: Word::MAX_GENERATION, observed: true, ..Word::new() };
        let next = last.next(State::Open);
        assert_eq!(next, Word { generation: 0, state: State::Open, observed: true, count: 0 });
    }

    #[test]
    fn probes_decide() {
        use Grade::{Failure, Ignore, Soft, Success};
        let decide = |permits, ratio, grades: &[Grade]| {
            let rule = HalfOpen::permits(permits).success_ratio(ratio);
            let mut word = Word::new().next(State::HalfOpen);
            for grade in grades {
                word = word.with_probes(word.probes().admit());
                word = word.after_probe(*grade, &rule, State::RampUp);
            }
            word.state
        };
        for (permits, ratio, grades, state) in [
            (1, 1.0, [Success].as_slice(), State::RampUp),
            (1, 1.0, &[Failure], State::Open),
            (1, 1.0, &[Soft], State::Open),
            (1, 1.0, &[Ignore, Ignore], State::HalfOpen),
            (3, 1.0, &[Success, Success], State::HalfOpen),
            (3, 1.0, &[Success, Ignore, Success, Success], State::RampUp),
            (3, 1.0, &[Success, Success, Failure], State::Open),
            (4, 0.5, &[Failure, Failure, Success], State::HalfOpen),
            (4, 0.5, &[Failure, Failure, Success, Success], State::RampUp),
            (4, 0.5, &[Success, Failure, Failure, Failure], State::Open),
            (5, 0.6, &[Success, Success, Success], State::RampUp),
            (3, 0.0, &[Failure, Failure], State::HalfOpen),
            (3, 0.0, &[Failure, Failure, Failure], State::Open),
        ] {
            assert_eq!(decide(permits, ratio, grades), state, "{permits} {ratio} {grades:?}");
        }
    }
}
