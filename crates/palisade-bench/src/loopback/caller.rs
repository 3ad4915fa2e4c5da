use std::{fmt, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use tokio::{runtime::Builder, task::JoinSet};

use super::server;
use crate::alternate::Clock;

/// Sends one GET, and collects the answer.
pub(crate) trait Client: Clone + Send + 'static {
    fn get(&mut self) -> impl Future<Output = (StatusCode, Bytes)> + Send;
}

/// A client under measurement, with a runtime of its own, and as many tasks as there are requests in
/// flight.
pub struct Caller {
    pub name: &'static str,
    batch: Box<dyn FnMut(u32) -> Vec<Duration>>,
}

impl Caller {
    pub(crate) fn new(name: &'static str, in_flight: u32, client: impl Client) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the system has a poll for us");
        let batch = move |requests| {
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for task in 0..in_flight {
                    let share = requests / in_flight + u32::from(task < requests % in_flight);
                    tasks.spawn(call_in_turn(name, client.clone(), share));
                }
                tasks.join_all().await.concat()
            })
        };
        Self { name, batch: Box::new(batch) }
    }

    /// Sends so many requests: how long did each wait for its answer?
    pub fn call(&mut self, requests: u32) -> Vec<Duration> {
        (self.batch)(requests)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("name", &self.name).finish_non_exhaustive()
    }
}

async fn call_in_turn(name: &str, mut client: impl Client, requests: u32) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(requests as usize);
    for _ in 0..requests {
        let start = Clock::Wall.now();
        let (status, body) = client.get().await;
        latencies.push(Clock::Wall.now() - start);
        assert_eq!(status, StatusCode::OK, "{name} gives up");
        assert_eq!(body.len(), server::LENGTH, "{name} cuts it off");
    }
    latencies
}
