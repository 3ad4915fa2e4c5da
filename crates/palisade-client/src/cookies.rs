//! Cookies: what servers set is sent to them again.

mod jar;
mod service;

pub use self::jar::CookieJar;
pub(crate) use self::service::Cookies;
