use std::{
    io,
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
    task::{Context, Waker},
    thread,
};

use palisade_core::BoxError;
use tokio::{
    runtime::{Builder, Handle},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::coop::consume_budget,
};

use super::{
    error::{InsideRuntime, NoThread},
    wait::{Slot, wait},
};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where tasks go: to the one thread that runs them, and to the process that has it, for a
/// child of `fork` has the memory of its parent, but not its threads.
static TASKS: Mutex<Option<(u32, UnboundedSender<Task>)>> = Mutex::new(None);

/// Runs a future on the shared thread, and waits for what comes of it.
pub(crate) fn run<T, F>(future: F) -> Result<T, BoxError>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    if inside_runtime() {
        return Err(InsideRuntime.into());
    }
    let slot = Slot::new(thread::current());
    // Filled or dropped, the caller is woken.
    let filler = slot.filler();
    let task: Task = Box::pin(async move { filler.fill(future.await) });
    sender()?.send(task).map_err(|_| NoThread { cause: None })?;
    wait(&slot).ok_or_else(|| NoThread { cause: None }.into())
}

/// Whether this thread drives tasks of a runtime. A handle is there as well in
/// `spawn_blocking` and `block_in_place`, where to block is right; what tells them from
/// tasks is that those have a budget, which ends.
fn inside_runtime() -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let mut spent = || pin!(consume_budget()).poll(&mut cx).is_pending();
    Handle::try_current().is_ok() && (0..BUDGET).any(|_| spent())
}

/// More than a task may do at once: tokio has it at 128.
const BUDGET: u32 = 256;

fn sender() -> Result<UnboundedSender<Task>, NoThread> {
    let process = std::process::id();
    let mut tasks = TASKS.lock().unwrap_or_else(PoisonError::into_inner);
    match &*tasks {
        Some((owner, sender)) if *owner == process && !sender.is_closed() => Ok(sender.clone()),
        _ => {
            let sender = start().map_err(|cause| NoThread { cause: Some(cause) })?;
            *tasks = Some((process, sender.clone()));
            Ok(sender)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it is the thread's own runtime")]
fn start() -> io::Result<UnboundedSender<Task>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (sender, mut tasks) = unbounded_channel::<Task>();
    thread::Builder::new().name("palisade-blocking".to_owned()).spawn(move || {
        runtime.block_on(async move {
            while let Some(task) = tasks.recv().await {
                tokio::spawn(task);
            }
        });
    })?;
    Ok(sender)
}
