//! Logins of persons: in a browser on this machine, or on another device.

mod callback;
mod code;
mod device;
mod loopback;
mod pkce;
mod polling;

use std::{pin::Pin, time::Duration};

use futures_util::future::Shared;
use tokio::time::timeout;

pub use self::{
    code::{CodeFlow, CodeLogin},
    device::{DeviceFlow, DeviceLogin},
};
use crate::{AuthError, ClientAuth, Moment, Recovery, Token, TokenEndpoint, endpoint::Grant};

/// A login on its way: who waits for it may be dropped, and another one may go on.
type Ongoing = Shared<Pin<Box<dyn Future<Output = Result<Token, AuthError>> + Send>>>;

/// For how long the token endpoint is waited for.
const ANSWER: Duration = Duration::from_secs(30);

async fn ask(
    endpoint: &TokenEndpoint,
    grant: Grant,
    client: &ClientAuth,
    now: Moment,
) -> Result<Token, AuthError> {
    let late = || {
        let message = "the token endpoint did not answer in time";
        AuthError::new(message, Recovery::Retry { after: None })
    };
    timeout(ANSWER, endpoint.ask(grant, Some(client), now)).await.unwrap_or_else(|_| Err(late()))
}
