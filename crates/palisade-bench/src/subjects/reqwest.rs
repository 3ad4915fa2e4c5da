use bytes::Bytes;
use http::{StatusCode, header::ACCEPT};
use reqwest::Client;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use crate::loopback;

/// `reqwest`, which speaks HTTP/1.1 or HTTP/2 from the first byte.
pub(crate) fn client(http2: bool) -> Client {
    let builder = Client::builder().no_proxy();
    let builder = match http2 {
        true => builder.http2_prior_knowledge(),
        false => builder.http1_only(),
    };
    builder.build().expect("a client without TLS needs nothing from the system")
}

/// The same, which is to be given middleware.
pub(crate) fn builder(http2: bool) -> ClientBuilder {
    ClientBuilder::new(client(http2))
}

/// A client, and what it is asked for.
#[derive(Clone)]
pub(crate) struct To<C> {
    pub(crate) client: C,
    pub(crate) uri: String,
}

impl loopback::Client for To<Client> {
    async fn get(&mut self) -> (StatusCode, Bytes) {
        let request = self.client.get(&self.uri).header(ACCEPT, "application/json");
        let response = request.send().await.expect("an answer");
        (response.status(), response.bytes().await.expect("a whole answer"))
    }
}

impl loopback::Client for To<ClientWithMiddleware> {
    async fn get(&mut self) -> (StatusCode, Bytes) {
        let request = self.client.get(&self.uri).header(ACCEPT, "application/json");
        let response = request.send().await.expect("an answer");
        (response.status(), response.bytes().await.expect("a whole answer"))
    }
}
