//! hyper's client alone, with a token that was fetched at the start.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use palisade::core::{BoxError, ErrorKind};

use crate::scene::{Issued, Item, Wanted};

#[derive(Clone)]
pub(crate) struct Bare {
    http: Client<HttpConnector, Full<Bytes>>,
    origin: String,
    bearer: String,
}

impl Bare {
    pub(crate) async fn log_in(origin: &str) -> Result<Self, BoxError> {
        let http = Client::builder(TokioExecutor::new()).build_http();
        let form = Full::from("grant_type=client_credentials");
        let response = http.request(Request::post(format!("{origin}/token")).body(form)?).await?;
        let body = response.into_body().collect().await?.to_bytes();
        let issued: Issued = serde_json::from_slice(&body)?;
        let bearer = format!("Bearer {}", issued.access_token);
        Ok(Self { http, origin: origin.to_owned(), bearer })
    }

    /// The item, or the status or the kind of the error.
    pub(crate) async fn get(&self, wanted: Wanted) -> Result<Item, String> {
        let kind = |error: &(dyn std::error::Error + 'static)| ErrorKind::of(error).to_string();
        let origin = &self.origin;
        let request = match wanted {
            Wanted::Article(id) => Request::get(format!("{origin}/articles/{id}")),
            Wanted::Orders(page) => Request::get(format!("{origin}/orders?page={page}"))
                .header(header::AUTHORIZATION, &self.bearer),
        };
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        let response = self.http.request(request).await.map_err(|error| kind(&error))?;
        let status = response.status();
        // To the end even if it is of no interest, or the connection could not be used again.
        let body = response.into_body().collect().await.map_err(|error| kind(&error))?.to_bytes();
        match status.is_success() {
            true => serde_json::from_slice(&body).map_err(|error| error.to_string()),
            false => Err(status.as_str().to_owned()),
        }
    }
}
