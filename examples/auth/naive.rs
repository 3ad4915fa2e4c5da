//! What is often written in place of a layer: a token and its end behind a lock, looked at before each
//! request. It is right as long as there is one task.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{BoxError, ServiceExt};

use crate::{client::ApiClient, server::Issued};

#[derive(Clone)]
pub(crate) struct Naive {
    client: ApiClient,
    origin: String,
    login: Arc<Mutex<Login>>,
}

#[derive(Clone)]
struct Login {
    access_token: String,
    refresh_token: String,
    ends: Instant,
}

impl Naive {
    pub(crate) fn new(client: ApiClient, origin: &str, refresh_token: &str) -> Self {
        let login = Login {
            access_token: String::new(),
            refresh_token: refresh_token.to_owned(),
            ends: Instant::now(),
        };
        Self { client, origin: origin.to_owned(), login: Arc::new(Mutex::new(login)) }
    }

    /// The status that a request is answered with.
    pub(crate) async fn get(&self, path: &str) -> Result<StatusCode, BoxError> {
        let token = self.token().await?;
        let request = Request::get(format!("{}{path}", self.origin))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::default())?;
        let response = self.client.clone().oneshot(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        Ok(status)
    }

    async fn token(&self) -> Result<String, BoxError> {
        let login = self.login.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if Instant::now() < login.ends {
            return Ok(login.access_token);
        }
        // Here are all others, too.
        let form = format!("grant_type=refresh_token&refresh_token={}", login.refresh_token);
        let issued = match self.ask(form).await? {
            Some(issued) => issued,
            // The login is gone, so somebody has to type a password.
            None => {
                let form = "grant_type=password&username=alice&password=secret".to_owned();
                self.ask(form).await?.ok_or("the password is wrong")?
            }
        };
        let login = Login {
            access_token: issued.access_token.clone(),
            refresh_token: issued.refresh_token,
            ends: Instant::now() + Duration::from_secs(issued.expires_in),
        };
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = login;
        Ok(issued.access_token)
    }

    async fn ask(&self, form: String) -> Result<Option<Issued>, BoxError> {
        let request = Request::post(format!("{}/token", self.origin))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))?;
        let response = self.client.clone().oneshot(request).await?;
        let found = response.status().is_success();
        let body = response.into_body().collect().await?.to_bytes();
        if !found {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&body)?))
    }
}
