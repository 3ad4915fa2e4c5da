//! An upstream to try the gateway on.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use palisade_testkit::{Call, FlakyApi, Plan, Reply, Script};

use crate::config::{Config, ConfigError};

const CONFIG: &str = include_str!("gateway.toml");
/// Where the upstream is by that.
const UPSTREAM: &str = "http://127.0.0.1:9000";

/// The upstream, which lasts as long as it is held, and a configuration for it.
pub(crate) async fn start() -> Result<(FlakyApi, Config), ConfigError> {
    let api = FlakyApi::start(script()).await;
    let text = CONFIG.replace(UPSTREAM, &format!("http://{}", api.addr()));
    // The secret is found from wherever the example is run.
    let base = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/gateway"));
    let config = Config::parse("gateway.toml".to_owned(), text, base)?;
    Ok((api, config))
}

/// What to try.
pub(crate) fn advice(gateway: SocketAddr, admin: SocketAddr) -> String {
    format!(
        "\nTry these:\n\
         \n  curl -i http://{gateway}/api/article   # twice: the second one is a hit, see Cache-Status\
         \n  curl -i http://{gateway}/api/orders    # the upstream wants a token, which the gateway has\
         \n  curl -i http://{gateway}/api/flaky     # every other answer is a 503, and is asked for again\
         \n  curl -i http://{gateway}/api/down      # five times: then the breaker is open\
         \n  for i in 1 2 3 4 5 6 7; do curl -si http://{gateway}/scarce | head -1; done   # 429\
         \n  curl http://{admin}/metrics\n\
         \nCtrl-C stops it."
    )
}

fn script() -> Script {
    let orders = |call: &Call<'_>| match call.headers().get(AUTHORIZATION) {
        Some(field) if field == "Bearer demo-token" => json(r#"[{"id":7}]"#),
        _ => Reply::status(401).header("www-authenticate", "Bearer"),
    };
    let token = r#"{"access_token":"demo-token","token_type":"Bearer","expires_in":60}"#;
    Script::new()
        .route("POST /token", json(token))
        .route("GET /article", json(r#"{"id":1}"#).header(CACHE_CONTROL, "max-age=10"))
        .route("GET /orders", Plan::with(orders))
        .route("GET /flaky", Plan::cycle([Reply::status(503), json(r#"{"lucky":true}"#)]))
        .route("GET /down", Reply::status(500).latency(Duration::from_millis(20)))
        .route("GET /", Reply::ok("hello"))
}

fn json(text: &'static str) -> Reply {
    Reply::ok(text).header(CONTENT_TYPE, "application/json")
}
