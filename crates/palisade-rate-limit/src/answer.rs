use crate::Limiter;

/// What is kept of a request that a limiter let go, until it is answered.
pub trait OnAnswer<L = Limiter> {
    /// What is kept. It is dropped if there is no answer.
    type Ticket;

    /// A request is sent, for so many tokens.
    fn sent(&self, limiter: &L, cost: u32) -> Self::Ticket;

    /// What is kept of every request, if it does not depend on the limiter:
    /// that need then not be looked for. Defaults to nothing, as it may.
    #[inline]
    fn always(&self) -> Option<Self::Ticket> {
        None
    }
}

/// What a limiter does with answers: it learns from them, settles what they
/// cost, writes fields into them. Two of these as a pair are one.
pub trait Answered<Res, L = Limiter>: OnAnswer<L> {
    /// There is an answer.
    fn answered(&self, ticket: Self::Ticket, response: &mut Res);
}

/// Answers are passed on as they are. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassOn;

impl<L> OnAnswer<L> for PassOn {
    type Ticket = ();

    #[inline]
    fn sent(&self, _: &L, _: u32) {}

    #[inline]
    fn always(&self) -> Option<()> {
        Some(())
    }
}

impl<Res, L> Answered<Res, L> for PassOn {
    #[inline]
    fn answered(&self, (): (), _: &mut Res) {}
}

impl<L, A: OnAnswer<L>, B: OnAnswer<L>> OnAnswer<L> for (A, B) {
    type Ticket = (A::Ticket, B::Ticket);

    fn sent(&self, limiter: &L, cost: u32) -> Self::Ticket {
        (self.0.sent(limiter, cost), self.1.sent(limiter, cost))
    }
}

/// The first one first.
impl<Res, L, A: Answered<Res, L>, B: Answered<Res, L>> Answered<Res, L> for (A, B) {
    fn answered(&self, (first, second): Self::Ticket, response: &mut Res) {
        self.0.answered(first, response);
        self.1.answered(second, response);
    }
}
