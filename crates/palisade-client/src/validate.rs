use std::{borrow::Cow, error::Error, fmt, sync::Arc};

/// Says what is not valid in a value that was decoded.
///
/// ```
/// use palisade_client::{Report, Validate, validate_fn};
///
/// let adult = validate_fn(|age: &u8, report: &mut Report| {
///     if *age < 18 {
///         report.add("age", "is below 18");
///     }
/// });
/// let mut report = Report::default();
/// adult.validate(&17, &mut report);
/// assert_eq!(report.failures().collect::<Vec<_>>(), [("age", "is below 18")]);
/// ```
pub trait Validate<T: ?Sized> {
    /// Adds to the report what is not valid.
    fn validate(&self, value: &T, report: &mut Report);
}

/// Everything is valid.
impl<T: ?Sized> Validate<T> for () {
    fn validate(&self, _: &T, _: &mut Report) {}
}

impl<T: ?Sized, V: Validate<T> + ?Sized> Validate<T> for &V {
    fn validate(&self, value: &T, report: &mut Report) {
        (**self).validate(value, report);
    }
}

impl<T: ?Sized, V: Validate<T> + ?Sized> Validate<T> for Arc<V> {
    fn validate(&self, value: &T, report: &mut Report) {
        (**self).validate(value, report);
    }
}

/// Turns a closure into a [`Validate`].
pub fn validate_fn<T, F>(validate: F) -> ValidateFn<F>
where
    T: ?Sized,
    F: Fn(&T, &mut Report),
{
    ValidateFn { validate }
}

/// What [`validate_fn`] makes.
#[derive(Clone, Copy)]
pub struct ValidateFn<F> {
    validate: F,
}

impl<T: ?Sized, F: Fn(&T, &mut Report)> Validate<T> for ValidateFn<F> {
    fn validate(&self, value: &T, report: &mut Report) {
        (self.validate)(value, report);
    }
}

impl<F> fmt::Debug for ValidateFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidateFn").finish_non_exhaustive()
    }
}

/// What is not valid, each with its JSON path.
///
/// Its text names the paths alone: what a validator says may quote a value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Report {
    failures: Vec<(String, Cow<'static, str>)>,
}

impl Report {
    /// Adds that the value at a path is not valid, and why.
    pub fn add(&mut self, path: impl fmt::Display, why: impl Into<Cow<'static, str>>) {
        self.failures.push((path.to_string(), why.into()));
    }

    /// Each path with what is wrong there.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.failures.iter().map(|(path, why)| (path.as_str(), why.as_ref()))
    }

    /// How many values are not valid.
    pub fn len(&self) -> usize {
        self.failures.len()
    }

    /// Whether all is valid.
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 5;
        f.write_str("not valid: ")?;
        for (index, (path, _)) in self.failures.iter().take(NAMED).enumerate() {
            write!(f, "{}`{path}`", if index == 0 { "" } else { ", " })?;
        }
        match self.failures.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.failures.iter().map(|(path, _)| path)).finish()
    }
}

impl Error for Report {}

/// Validates by [garde](https://docs.rs/garde), with the context's default.
///
/// ```
/// use garde::Validate as _;
/// use palisade_client::{Garde, Report, Validate};
///
/// #[derive(garde::Validate)]
/// struct User {
///     #[garde(range(min = 18))]
///     age: u8,
/// }
///
/// let mut report = Report::default();
/// Garde.validate(&User { age: 17 }, &mut report);
/// assert_eq!(report.failures().next(), Some(("age", "lower than 18")));
/// ```
#[cfg(feature = "garde")]
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a name for what garde does")]
pub struct Garde;

#[cfg(feature = "garde")]
impl<T: garde::Validate<Context: Default>> Validate<T> for Garde {
    fn validate(&self, value: &T, report: &mut Report) {
        let Err(found) = garde::Validate::validate(value) else { return };
        for (path, error) in found.iter() {
            report.add(path, error.message().to_owned());
        }
    }
}
