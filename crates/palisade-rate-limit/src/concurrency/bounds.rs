use std::ops::RangeInclusive;

use palisade_settings::InvalidSetting;

/// Between what a limit moves. It moves in parts of a request, so that slow
/// growth adds up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    least: usize,
    most: usize,
}

impl Bounds {
    /// From 1 to 1000, or to where it begins, if that is more.
    ///
    /// # Errors
    ///
    /// If it begins with zero.
    pub(crate) fn from(initial: usize) -> Result<Self, InvalidSetting> {
        match initial {
            0 => Err(InvalidSetting::new(
                "a limit of zero lets nothing go, and so learns nothing: begin with 1 at the least",
            )),
            _ => Ok(Self { least: 1, most: initial.max(1000) }),
        }
    }

    /// # Errors
    ///
    /// If they let nothing go, or have no room.
    pub(crate) fn of(range: RangeInclusive<usize>) -> Result<Self, InvalidSetting> {
        let (least, most) = range.into_inner();
        match 0 < least && least <= most {
            true => Ok(Self { least, most }),
            false => Err(InvalidSetting::new(
                "a limit has a least value of 1 or more, and a most value of that or more: write 1..=100",
            )),
        }
    }

    pub(crate) fn clamp(self, limit: f64) -> f64 {
        limit.clamp(self.least as f64, self.most as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "data may be anything")]
    fn a_limit_lets_something_go() {
        assert!(Bounds::from(0).is_err());
        assert_eq!(Bounds::from(7).unwrap().clamp(1e9), 1000.0);
        assert_eq!(Bounds::from(5000).unwrap().clamp(1e9), 5000.0);
        for (range, valid) in [(0..=1, false), (2..=1, false), (1..=1, true), (3..=9, true)] {
            assert_eq!(Bounds::of(range.clone()).is_ok(), valid, "{range:?}");
        }
        assert_eq!(Bounds::of(3..=9).unwrap().clamp(0.0), 3.0);
    }
}
