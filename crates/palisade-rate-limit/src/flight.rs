use std::fmt;

use crate::{Answered, Feedback, Heard, Learn, Limiter, OnAnswer, server::Counted, window::Sent};

/// A request that was sent to a server whose answers are learned from.
///
/// # Cancel safety
///
/// Dropped without an answer, it lets another request go in its place, if
/// others wait for what it would have told.
pub struct Flight {
    limiter: Limiter,
    // Until it is answered.
    sent: Option<(Counted, Sent)>,
}

impl Flight {
    fn new(limiter: &Limiter, cost: u32) -> Self {
        let shared = limiter.shared();
        let sent = shared.limits.server().send(shared.settings().now(), cost);
        Self { limiter: limiter.clone(), sent: Some(sent) }
    }

    fn land(mut self, heard: &Heard<'_>) {
        let sent = self.sent.take();
        self.limiter.hear(sent, heard);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some((counted, sent)) = self.sent.take() {
            counted.lock().lose(sent);
            self.limiter.shared().wake_first();
        }
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl<L> OnAnswer for Feedback<L> {
    type Ticket = Flight;

    fn sent(&self, limiter: &Limiter, cost: u32) -> Flight {
        Flight::new(limiter, cost)
    }
}

impl<L: Learn<Res>, Res> Answered<Res> for Feedback<L> {
    fn answered(&self, flight: Flight, response: &mut Res) {
        flight.land(&self.learn.learn(response).unwrap_or_default());
    }
}
