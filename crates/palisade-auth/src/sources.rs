//! Where tokens come from.

mod chain;
mod client_credentials;
mod custom_grant;
mod from_env;
mod from_file;
mod function;
mod jwt_bearer;
mod kept;
mod refresh_token;
mod self_signed;
mod template;
mod token_exchange;

pub use self::{
    chain::Chain,
    client_credentials::ClientCredentials,
    custom_grant::CustomGrant,
    from_env::FromEnv,
    from_file::FromFile,
    function::{TokenFn, token_fn},
    jwt_bearer::JwtBearer,
    refresh_token::RefreshToken,
    self_signed::SelfSigned,
    token_exchange::TokenExchange,
};
