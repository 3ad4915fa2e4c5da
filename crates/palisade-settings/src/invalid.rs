use std::{error::Error, fmt};

/// A setting that makes no sense.
///
/// What `try_` constructors return for values that come from outside, and what
/// their twins panic with. It says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    advice: &'static str,
}

impl InvalidSetting {
    /// An error that says what to do: one line without a full stop.
    pub fn new(advice: &'static str) -> Self {
        Self { advice }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice)
    }
}

impl Error for InvalidSetting {}

/// Takes a setting that stands in the program's text.
///
/// ```
/// use palisade_settings::{InvalidSetting, literal};
///
/// fn try_attempts(attempts: u32) -> Result<u32, InvalidSetting> {
///     match attempts {
///         0 => Err(InvalidSetting::new("a request is sent at least once: write 1 for no retries")),
///         attempts => Ok(attempts),
///     }
/// }
///
/// assert_eq!(literal(try_attempts(3)), 3);
/// ```
///
/// # Panics
///
/// If it makes no sense.
#[track_caller]
pub fn literal<T>(setting: Result<T, InvalidSetting>) -> T {
    match setting {
        Ok(setting) => setting,
        Err(invalid) => panic!("{invalid}"),
    }
}
