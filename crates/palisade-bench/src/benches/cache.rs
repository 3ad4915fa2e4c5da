//! Caches of HTTP, and of the answers of any service.

pub(in crate::benches) mod collapse;
pub(in crate::benches) mod http;
pub(in crate::benches) mod ttl;
