use palisade_core::{Event, Observer, Target};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Passes on what refreshes come to.
#[derive(Debug)]
pub(crate) struct Told {
    results: UnboundedSender<&'static str>,
}

impl Told {
    pub(crate) fn new() -> (Self, UnboundedReceiver<&'static str>) {
        let (results, receiver) = unbounded_channel();
        (Self { results }, receiver)
    }
}

impl Observer for Told {
    fn on_event(&self, _: Target<'_>, event: &Event) {
        if let Event::Refreshed { result, .. } = event {
            // Nobody may listen any more.
            let _ = self.results.send(result);
        }
    }
}
