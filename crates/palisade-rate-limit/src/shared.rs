use std::{
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
    task::Waker,
    time::Duration,
};

use palisade_core::{Endpoint, ErrorKind, Event, Now, Observer, ObserverSlot, Target};
use tokio::time::Instant;

use crate::{
    Begin, Limited, LimitedReason, OverBurst, Quota, Wait,
    admit::{Admit, LineSettings},
    bucket::Short,
    clock::Clock,
    feedback::FeedbackSettings,
    limits::Limits,
    line::Line,
    server::Learned,
    sync::{AtomicUsize, Mutex, MutexGuard, lock},
};

/// What all limiters of a layer have in common.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) quota: Quota,
    pub(crate) others: Vec<Quota>,
    pub(crate) wait: Wait,
    pub(crate) over_burst: OverBurst,
    pub(crate) observe: bool,
    pub(crate) observer: ObserverSlot,
    pub(crate) feedback: Option<FeedbackSettings>,
    pub(crate) learned: Option<Arc<Learned>>,
    pub(crate) clock: Clock,
}

/// What those share that go by one limit.
//
// What a request that is let go looks at comes first, next to the count of pointers: of many
// limiters, none is in a near cache.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shared<L: Admit = Limits> {
    // How many are in line: who finds nobody there need not look.
    waiting: AtomicUsize,
    pub(crate) limits: L,
    settings: Arc<L::Settings>,
    line: Mutex<Line>,
    // Nothing, if there is nothing to tell.
    target: Option<Box<(Option<&'static Endpoint>, Option<String>)>>,
}

/// What one in line has to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// It may go, and has left the line.
    Go,
    /// Others are before it, or who gives something back will wake it.
    Behind,
    /// It is the first one, and there is nothing for it before then.
    Until(u64),
    /// It was refused, and has left the line.
    Refused(Limited),
}

impl Settings {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            quota,
            others: Vec::new(),
            wait: Wait::default(),
            over_burst: OverBurst::default(),
            observe: false,
            observer: ObserverSlot::default(),
            feedback: None,
            learned: None,
            clock: Clock::new(),
        }
    }

    /// Nanoseconds since the settings were made.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.clock.time(Now::by(Instant::now))
    }
}

impl LineSettings for Settings {
    fn wait(&self) -> Wait {
        self.wait
    }

    #[inline]
    fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.get()
    }

    #[inline]
    fn clock(&self) -> Clock {
        self.clock
    }
}

impl<L: Admit> Shared<L> {
    pub(crate) fn new(settings: Arc<L::Settings>, target: Target<'_>) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            limits: L::new(&settings, target.authority),
            settings,
            line: Mutex::default(),
            target: (target != Target::default())
                .then(|| Box::new((target.endpoint, target.authority.map(ToOwned::to_owned)))),
        }
    }

    pub(crate) fn settings(&self) -> &L::Settings {
        &self.settings
    }

    pub(crate) fn settings_arc(&self) -> &Arc<L::Settings> {
        &self.settings
    }

    /// Takes so many tokens if they are there and nobody waits for them.
    ///
    /// # Errors
    ///
    /// When they will be there.
    #[inline]
    pub(crate) fn try_take(&self, now: impl FnOnce() -> u64, cost: u32) -> Result<(), Short> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            let taken = self.limits.take(now(), cost);
            if taken.is_err() && self.limits.gives_back() {
                // Who has joined meanwhile may have missed what one quota let go and another one
                // did not, and that was given back.
                self.wake_first();
            }
            return taken;
        }
        Err(self.limits.short(self.line().cost(), cost))
    }

    /// The refusal of a request that has no tokens and does not wait.
    pub(crate) fn refusal(
        &self,
        short: Short,
        now: u64,
        cost: u32,
        reason: LimitedReason,
    ) -> Limited {
        let quota = self.limits.scarcest(&self.settings, now, cost);
        let limited = match short {
            Short::Never => Limited::new(LimitedReason::OverBurst, None),
            Short::Unforeseen => Limited::new(reason, None),
            Short::Until(at) => {
                let delay = Duration::from_nanos(at.saturating_sub(now).max(1));
                let reason = match reason {
                    // There are quotas, and something else holds them up.
                    LimitedReason::Exhausted if quota.is_none() => LimitedReason::Paused,
                    reason => reason,
                };
                Limited::new(reason, Some(delay))
            }
        };
        limited.by(quota)
    }

    /// Joins the line, at whose end it is refused at once that would wait for
    /// too long. Nothing, if it may go instead.
    pub(crate) fn join(
        &self,
        now: u64,
        cost: u32,
        give_up: u64,
        waker: &Waker,
    ) -> Result<Option<usize>, Limited> {
        let mut line = self.line();
        let short = match line.len() {
            0 => match self.limits.take(now, cost) {
                Ok(()) => return Ok(None),
                Err(short) => short,
            },
            _ => self.limits.short(line.cost(), cost),
        };
        let refused = match short {
            Short::Never => Some(LimitedReason::OverBurst),
            Short::Until(at) if give_up < at => Some(LimitedReason::TooLong),
            _ if self.settings.wait().most() <= line.len() => Some(LimitedReason::Full),
            Short::Until(_) | Short::Unforeseen => None,
        };
        if let Some(reason) = refused {
            return Err(self.refusal(short, now, cost, reason));
        }
        let place = line.join(cost, waker);
        self.waiting.store(line.len(), Ordering::Relaxed);
        Ok(Some(place))
    }

    /// One in line looks whether it may go.
    pub(crate) fn step(
        &self,
        now: u64,
        place: usize,
        cost: u32,
        give_up: u64,
        waker: &Waker,
    ) -> Step {
        let mut line = self.line();
        let step = if line.is_sent_away(place) {
            Step::Refused(Limited::new(LimitedReason::Shed, None))
        } else if !line.is_first(place) {
            if give_up < now {
                // It would go to the end if it came again.
                let short = self.limits.short(line.cost().saturating_sub(cost.into()), cost);
                Step::Refused(self.refusal(short, now, cost, LimitedReason::TooLong))
            } else {
                Step::Behind
            }
        } else {
            match self.limits.take_late(now, cost) {
                Ok(()) => Step::Go,
                Err(Short::Until(at)) if at <= give_up => Step::Until(at),
                Err(Short::Unforeseen) if now <= give_up => Step::Behind,
                Err(short) => Step::Refused(self.refusal(short, now, cost, LimitedReason::TooLong)),
            }
        };
        match step {
            Step::Behind | Step::Until(_) => {
                let before = line.wait(place, waker);
                drop(line);
                drop(before);
            }
            Step::Go | Step::Refused(_) => self.leave_line(line, place),
        }
        step
    }

    /// Leaves the line without a result.
    pub(crate) fn leave(&self, place: usize) {
        self.leave_line(self.line(), place);
    }

    fn leave_line(&self, mut line: MutexGuard<'_, Line>, place: usize) {
        let mut left = line.leave(place);
        self.waiting.store(line.len(), Ordering::Relaxed);
        drop(line);
        left.first.take().into_iter().for_each(Waker::wake);
    }

    /// Lets the first one in line look again, after a change.
    pub(crate) fn wake_first(&self) {
        let first = self.line().first_waker();
        first.into_iter().for_each(Waker::wake);
    }

    /// Sends all away that wait.
    pub(crate) fn shed(&self) -> usize {
        let mut line = self.line();
        let wakers = line.send_away();
        self.waiting.store(0, Ordering::Relaxed);
        drop(line);
        let sent = wakers.len();
        wakers.into_iter().for_each(Waker::wake);
        sent
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        lock(&self.line)
    }

    /// Tells the observer, if there is one.
    #[inline]
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = self.settings.observer() {
            let (endpoint, authority) = self
                .target
                .as_deref()
                .map_or((None, None), |target| (target.0, target.1.as_deref()));
            let target = Target::new(endpoint, None, authority);
            observer.on_event(target, &event());
        }
    }

    /// Tells of one that has its turn now, if it was in line.
    #[inline]
    pub(crate) fn tell_wait(&self, waited: Option<Duration>) {
        if let Some(waited) = waited {
            self.tell(|| Event::Waited { kind: ErrorKind::Limited, waited });
        }
    }

    pub(crate) fn tell_refusal(&self, limited: &Limited, enforced: bool) {
        self.tell(|| Event::Refused {
            kind: ErrorKind::Limited,
            reason: limited.reason().as_str(),
            retry_after: limited.retry_after(),
            enforced,
        });
    }
}

/// Whether nobody else has this.
pub(crate) fn is_alone<T>(shared: &Arc<T>) -> bool {
    let alone = Arc::strong_count(shared) == 1;
    // What the last one did before it let go is seen by what comes after this.
    fence(Ordering::Acquire);
    alone
}

impl Shared<Limits> {
    /// What becomes of a request that has no tokens.
    #[cold]
    pub(crate) fn begin_without(&self, short: Short, cost: u32) -> Begin {
        let refuse = || self.refusal(short, self.settings.now(), cost, LimitedReason::Exhausted);
        let waits = !self.settings.wait.longest().is_zero() && short != Short::Never;
        match (self.settings.observe, waits) {
            (true, _) => {
                self.tell_refusal(&refuse(), false);
                Begin::Go
            }
            (false, true) => Begin::Wait,
            (false, false) => {
                let limited = refuse();
                self.tell_refusal(&limited, true);
                Begin::Refuse(limited)
            }
        }
    }
}

#[cfg(all(test, palisade_shuttle))]
mod models;
