//! Requests over loopback: the client is in this process, the server in another.

mod caller;
mod figures;
mod instructions;
mod server;

pub(crate) use self::caller::Client;
#[cfg(test)]
pub(crate) use self::server::{answer, bind};
pub use self::{
    caller::Caller,
    figures::{Figures, figures},
    instructions::{instructions, require_valgrind, send},
    server::{Server, serve},
};
