//! Header fields that servers and clients tell each other their limits with.
//!
//! Servers say in many ways what they still let through. This crate reads all
//! of them into one form; it is for who writes a layer.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use http::{HeaderMap, HeaderValue};
//! use palisade_fields::Allowances;
//!
//! let mut headers = HeaderMap::new();
//! headers.insert("ratelimit", HeaderValue::from_static(r#""burst";r=0;t=7, "daily";r=950"#));
//! headers.insert("ratelimit-policy", HeaderValue::from_static(r#""burst";q=10;w=10, "daily";q=1000;w=86400"#));
//!
//! let allowances = Allowances::of(&headers, SystemTime::now);
//! let burst = allowances.iter().next().expect("there are two");
//! assert_eq!((burst.remaining, burst.limit), (Some(0), Some(10)));
//! assert_eq!(burst.reset, Some(Duration::from_secs(7)));
//! ```
//!
//! # What is read
//!
//! | fields | of |
//! |---|---|
//! | `RateLimit`, `RateLimit-Policy` | draft-ietf-httpapi-ratelimit-headers, from -07 on |
//! | `RateLimit-Limit`, `-Remaining`, `-Reset` | the same, up to -06 |
//! | `X-RateLimit-Limit`, `-Remaining`, `-Reset`, `-Resource` | GitHub, and many others |
//! | `X-RateLimit-Reset-After`, `-Bucket`, `-Global` | Discord |
//! | `X-Rate-Limit-Limit`, `-Remaining`, `-Reset` | X |
//! | `X-Shopify-Shop-Api-Call-Limit` | Shopify's REST API |
//!
//! Where a server sends several of them, the first one of this table that says
//! something is believed. What cannot be read is as if it were not there.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod allowance;
mod plain;
mod structured;

pub use self::allowance::{Allowance, Allowances};
