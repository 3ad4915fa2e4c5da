use std::{
    array,
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use http::StatusCode;
use palisade_core::{ErrorKind, Outcome};

use crate::{
    histogram::Histogram,
    labels::{Label, OTHER},
    stripes::Striped,
    table::Table,
};

/// What requests of one kind have in common: what is known of them when they
/// begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Kind {
    pub(crate) endpoint: Label,
    pub(crate) method: Label,
    pub(crate) authority: Label,
}

impl Kind {
    pub(crate) fn labels(self) -> [Label; 3] {
        [self.endpoint, self.method, self.authority]
    }

    /// Whether there was no room for one of its labels.
    #[inline]
    pub(crate) fn is_folded(self) -> bool {
        self.labels().contains(&Label::OTHER)
    }
}

/// What requests of one kind came to.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) kind: Kind,
    pub(crate) counts: Striped<Counts>,
    results: Table<Series>,
    // What found no room there, by outcome.
    others: [OnceLock<Box<Series>>; OUTCOMES],
}

/// What one thread counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    // May be negative in one stripe: a request ends where it likes.
    pub(crate) in_flight: AtomicI64,
    pub(crate) streams: AtomicI64,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) unread: AtomicU64,
}

/// How many outcomes there are, with one for those that core may add.
pub(crate) const OUTCOMES: usize = 9;

pub(crate) const OUTCOME_NAMES: [&str; OUTCOMES] = [
    "success",
    "rejected",
    "throttled",
    "transient",
    "failed",
    "unsent",
    "refused",
    "ignored",
    "other",
];

/// An outcome by its number, without what a refusal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Verdict(u8);

impl Verdict {
    pub(crate) const TRANSIENT: Self = Self(3);
    pub(crate) const FAILED: Self = Self(4);
    pub(crate) const IGNORED: Self = Self(7);
    const OTHER: Self = Self(8);

    #[inline]
    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self(0),
            Outcome::Rejected => Self(1),
            Outcome::Throttled => Self(2),
            Outcome::Transient => Self::TRANSIENT,
            Outcome::Failed => Self::FAILED,
            Outcome::Unsent => Self(5),
            Outcome::Refused { .. } => Self(6),
            Outcome::Ignored => Self::IGNORED,
            _ => Self::OTHER,
        }
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The requests of a group with one result.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) result: End,
    // What it means is the same for all that end so; another verdict is another series.
    pub(crate) outcome: Verdict,
    pub(crate) total: Histogram,
    pub(crate) head: Histogram,
}

/// The place of a series; if there was no room for it, what it means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeriesId(Result<u32, Verdict>);

/// How a request ended: what its head said, what went wrong, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct End {
    /// Zero, if there was no head.
    pub(crate) status: u16,
    pub(crate) error: Option<ErrorKind>,
}

impl End {
    /// What there is no room for.
    pub(crate) const OTHER: Self = Self { status: u16::MAX, error: None };

    pub(crate) fn of(result: Result<StatusCode, ErrorKind>) -> Self {
        match result {
            Ok(status) => Self { status: status.as_u16(), error: None },
            Err(error) => Self { status: 0, error: Some(error) },
        }
    }

    /// The name of what went wrong, if something did.
    pub(crate) fn error_name(self) -> Option<&'static str> {
        match self {
            Self::OTHER => Some(OTHER),
            end => end.error.map(ErrorKind::as_str),
        }
    }

    fn hash(self, outcome: Verdict) -> u64 {
        let error = self.error.map_or(0, |error| error as u64 + 1);
        // Statuses lie next to each other, and so do their places.
        u64::from(self.status) + error * 1000 + u64::from(outcome.0) * 32
    }
}

/// How many results of one kind of request are told apart.
const MOST_RESULTS: usize = 64;

impl Series {
    fn new(result: End, outcome: Verdict) -> Self {
        Self { result, outcome, total: Histogram::new(), head: Histogram::new() }
    }
}

impl Group {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            counts: Striped::new(Counts::default),
            results: Table::new(MOST_RESULTS),
            others: array::from_fn(|_| OnceLock::new()),
        }
    }

    /// Where requests with this result are counted.
    #[inline]
    pub(crate) fn series(&self, end: End, outcome: Verdict) -> SeriesId {
        let is = |there: &Series| (there.result, there.outcome) == (end, outcome);
        let new = || Series::new(end, outcome);
        let place = self.results.find_or_insert(end.hash(outcome), is, new);
        SeriesId(place.map_or_else(|| Err(outcome), |place| Ok(place as u32)))
    }

    #[inline]
    pub(crate) fn at(&self, id: SeriesId) -> &Series {
        let found = id.0.map(|place| self.results.get(place as usize));
        found.ok().flatten().unwrap_or_else(|| self.other(id.0.err()))
    }

    #[cold]
    fn other(&self, outcome: Option<Verdict>) -> &Series {
        let outcome = outcome.unwrap_or(Verdict::OTHER);
        self.others[outcome.index()].get_or_init(|| Series::new(End::OTHER, outcome).into())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Series> {
        let others = self.others.iter().filter_map(OnceLock::get).map(|series| &**series);
        self.results.iter().map(|(_, series)| series).chain(others)
    }

    /// The sum of what the threads counted.
    pub(crate) fn sum(&self, of: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.counts.iter().map(|counts| of(counts).load(Ordering::Relaxed)).sum()
    }

    /// The sum of a gauge. Not of one moment, and yet never negative.
    pub(crate) fn gauge(&self, of: impl Fn(&Counts) -> &AtomicI64) -> u64 {
        let sum = self.counts.iter().map(|counts| of(counts).load(Ordering::Relaxed)).sum::<i64>();
        u64::try_from(sum).unwrap_or_default()
    }
}
