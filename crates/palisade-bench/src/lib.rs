//! palisade measured against its peers.
//!
//! Figures are worth what their rules are worth, so here they are:
//!
//! - A service is built once, a request anew for every call, for the bare service too. Who clones
//!   one request again and again clones cheaply, for its buffers are shared after the first time:
//!   that would hide most of what a retry layer costs.
//! - Time is the thread's CPU time. The subjects take turns in short batches, in the opposite order
//!   every other round, so that what disturbs the machine disturbs them alike. What counts is the
//!   median over the rounds of what a call takes longer than one to the bare service.
//! - Tasks on two threads are measured by the CPU time of the whole process, for the work that
//!   threads make one another counts too.
//! - Clients are measured with their server in another process, on another processor. Their time is
//!   that of their whole process, and their instructions are those of its code, which valgrind counts.
//! - Allocations are counted by a binary of its own: an allocator that counts taxes allocations,
//!   and so favours who allocates least.
//! - Every answer is checked: nobody is fast by doing less.

mod alternate;
mod bench;
mod benches;
mod footprint;
mod inner;
mod loopback;
mod programs;
mod request;
mod row;
mod runtime;
mod server;
mod subject;
mod subjects;

pub use self::{
    alternate::{Clock, Turns, nanoseconds, over_first},
    bench::{Bench, Work},
    benches::benches,
    footprint::{Allocated, Footprint},
    inner::{Body, Healthy},
    loopback::{Caller, Figures, Server, figures, instructions, require_valgrind, send, serve},
    programs::{beside_this_one, failed},
    request::{get, post},
    row::{Row, table},
    subject::{BARE, Subject},
};
