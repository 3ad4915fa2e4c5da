//! Names of OpenTelemetry's semantic conventions. A test compares them with the
//! crate that is generated from these.

pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub(crate) const HTTP_REQUEST_METHOD_ORIGINAL: &str = "http.request.method_original";
pub(crate) const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
pub(crate) const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
#[cfg(feature = "metrics")]
pub(crate) const HTTP_ROUTE: &str = "http.route";
pub(crate) const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
pub(crate) const SERVER_ADDRESS: &str = "server.address";
pub(crate) const SERVER_PORT: &str = "server.port";
pub(crate) const URL_FULL: &str = "url.full";
pub(crate) const URL_SCHEME: &str = "url.scheme";
pub(crate) const URL_TEMPLATE: &str = "url.template";

/// Stands for a method that is not known.
pub(crate) const OTHER: &str = "_OTHER";
