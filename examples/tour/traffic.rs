//! Makes the calls when their time has come, and writes down what became of them.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::scene::{Item, Wanted};

/// What became of one call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sent: Duration,
    pub(crate) took: Duration,
    /// Why there is none.
    pub(crate) failure: Option<String>,
}

/// Makes each call at its time, whatever becomes of those before. Dropped, it leaves none behind.
pub(crate) async fn play<F>(
    calls: &[(Duration, Wanted)],
    start: Instant,
    bar: ProgressBar,
    get: impl Fn(Wanted) -> F + Clone + Send + 'static,
) -> Vec<Answer>
where
    F: Future<Output = Result<Item, String>> + Send,
{
    let mut under_way = JoinSet::new();
    for &(at, wanted) in calls {
        let get = get.clone();
        under_way.spawn(async move {
            sleep_until(start + at).await;
            let sent = start.elapsed();
            let failure = match (get(wanted).await, wanted) {
                (Err(failure), _) => Some(failure),
                (Ok(item), Wanted::Article(id) | Wanted::Orders(id)) => {
                    (item.id != id).then(|| "the answer to another call".to_owned())
                }
            };
            Answer { sent, took: start.elapsed() - sent, failure }
        });
    }
    let (mut answers, mut failed) = (Vec::with_capacity(calls.len()), 0);
    while let Some(answer) = under_way.join_next().await {
        let answer = answer.expect("no call panics or is cancelled");
        failed += u32::from(answer.failure.is_some());
        bar.set_message(format!("{failed} failed"));
        bar.inc(1);
        answers.push(answer);
    }
    bar.finish();
    answers.sort_unstable_by_key(|answer| answer.sent);
    answers
}

/// It goes to stderr, and indicatif draws nothing where that is no terminal.
pub(crate) fn progress_bar(all: &MultiProgress, name: &'static str, calls: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>10} [{bar:40}] {pos}/{len}  {msg}")
        .expect("the template is valid")
        .progress_chars("=> ");
    let bar = ProgressBar::new(calls as u64).with_style(style).with_prefix(name);
    all.add(bar)
}
