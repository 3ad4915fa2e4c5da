//! Whoever breaks a rule is told which.

use std::{collections::BTreeSet, thread};

use palisade_testkit::{Contract, Rule, Violation, contract, probe_request};
use tokio::runtime::Builder;
use tower::limit::ConcurrencyLimitLayer;
use tower_service::Service;

use super::{
    careless::{CountingLayer, LeakingLayer, SpawningLayer},
    faulty::{Fault, FaultyLayer, ready},
    honest::{BoxingLayer, LateLayer},
};

#[tokio::test(start_paused = true)]
async fn names_the_rule_that_is_broken() {
    for (fault, rule) in [
        (Fault::CallsAClone, Rule::Instance),
        (Fault::CallsTwice, Rule::Instance),
        (Fault::PollsOneAndCallsAnother, Rule::Instance),
        (Fault::HoldsOneAndPollsAnother, Rule::Instance),
        (Fault::SwallowsPending, Rule::Readiness),
        (Fault::NeverPolls, Rule::Readiness),
        (Fault::LosesReadinessWaker, Rule::Wakers),
        (Fault::LosesFutureWaker, Rule::Wakers),
        (Fault::KeepsFirstWaker, Rule::Wakers),
        (Fault::LosesBodyWaker, Rule::Wakers),
        (Fault::ForgetsFutureOnDrop, Rule::Cancellation),
        (Fault::ForgetsBodyOnDrop, Rule::Cancellation),
        (Fault::ForgetsServiceOnDrop, Rule::Cancellation),
        (Fault::KeepsPermitOnDrop, Rule::Cancellation),
        (Fault::KeepsPermitOnUnpolledDrop, Rule::Cancellation),
        (Fault::PoisonsInCall, Rule::Panics),
        (Fault::PoisonsInPoll, Rule::Panics),
        (Fault::PoisonsInBody, Rule::Panics),
        (Fault::KeepsPermitOnPanic, Rule::Panics),
        (Fault::MakesStateInLayer, Rule::SharedState),
        (Fault::CopiesStateInClone, Rule::SharedState),
        (Fault::ReplacesError, Rule::Errors),
        (Fault::ReplacesReadinessError, Rule::Errors),
        (Fault::ReplacesBodyError, Rule::Errors),
        (Fault::AllocatesInCall, Rule::Allocations),
        (Fault::AllocatesInBody, Rule::Allocations),
        (Fault::DropsBody, Rule::Body),
        (Fault::TruncatesBody, Rule::Body),
        (Fault::DropsTrailers, Rule::Body),
        (Fault::HidesSize, Rule::Body),
        (Fault::KeepsFirstSize, Rule::Body),
        (Fault::EndsEarly, Rule::Body),
        (Fault::HidesEnd, Rule::Body),
        (Fault::ForgetsWaiters, Rule::Concurrency),
    ] {
        let contract = contract!(FaultyLayer::new(fault));
        check(&contract.violations().await, rule, &format!("{fault:?}"));
    }
}

#[test]
fn sees_a_lock_that_is_held_while_others_work() {
    let check_one = |fault| {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let contract = contract!(FaultyLayer::new(fault));
        let violations = runtime.block_on(contract.violations());
        check(&violations, Rule::Locks, &format!("{fault:?}"));
    };
    // It takes real time to tell a lock from a slow machine, so all at once.
    thread::scope(|scope| {
        for fault in
            [Fault::LocksInReady, Fault::LocksInCall, Fault::LocksInPoll, Fault::LocksInBody]
        {
            scope.spawn(move || check_one(fault));
        }
    });
}

#[tokio::test(start_paused = true)]
async fn hears_of_an_error_of_readiness_that_is_swallowed() {
    let contract = contract!(FaultyLayer::new(Fault::SwallowsReadinessError));
    let violations = contract.violations().await;
    // Nothing is left but to call what is not ready.
    let expected = BTreeSet::from([Rule::Instance, Rule::Readiness]);
    assert_eq!(rules(&violations), expected);
}

#[tokio::test(start_paused = true)]
async fn sees_answers_that_are_mixed_up() {
    let contract = contract!(FaultyLayer::new(Fault::MixesAnswers)).allocations(8);
    check(&contract.violations().await, Rule::Concurrency, "MixesAnswers");
}

#[tokio::test(start_paused = true)]
async fn sees_a_task_that_goes_on_alone() {
    let contract = Contract::new(|| SpawningLayer, || SpawningLayer).allocations(8);
    check(&contract.violations().await, Rule::Cancellation, "spawns");
}

#[tokio::test(start_paused = true)]
async fn sees_a_large_pool_run_dry() {
    for permits in [105, 500] {
        let contract = contract!(LeakingLayer::new(permits));
        check(&contract.violations().await, Rule::Endurance, "leaks");
    }
}

#[tokio::test(start_paused = true)]
async fn counts_each_allocation() {
    let contract = contract!(BoxingLayer);
    check(&contract.violations().await, Rule::Allocations, "boxes");
}

#[tokio::test(start_paused = true)]
async fn measures_the_future() {
    let contract = contract!(FaultyLayer::new(Fault::Nothing)).future_size(8);
    check(&contract.violations().await, Rule::FutureSize, "larger");
}

#[tokio::test(start_paused = true)]
async fn wants_readiness_forwarded_unless_told() {
    let contract = contract!(LateLayer).allocations(1);
    check(&contract.violations().await, Rule::Readiness, "late");
}

#[tokio::test(start_paused = true)]
async fn finds_the_limit_of_tower_that_each_route_has_for_itself() {
    let contract = contract!(ConcurrencyLimitLayer::new(1));
    check(&contract.violations().await, Rule::SharedState, "limit");
}

#[tokio::test(start_paused = true)]
async fn asks_whether_state_in_line_is_shared() {
    let contract = contract!(CountingLayer).shares(|mut one, other, _| async move {
        ready(&mut one).await.unwrap();
        one.call(probe_request(1)).await.unwrap();
        other.calls() == 1
    });
    let violations = contract.violations().await;
    assert_eq!(rules(&violations), BTreeSet::from([Rule::SharedState]));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a call that succeeds at once must not allocate more than it says: \
                           1 instead of 0 (inner error type: BoxError)")]
async fn panics_with_a_sentence() {
    contract!(BoxingLayer).check().await;
}

#[tokio::test]
#[should_panic(expected = "time is not frozen")]
async fn wants_time_paused() {
    contract!(BoxingLayer).check().await;
}

/// Both kinds of inner error must show the one rule, and nothing else.
pub(super) fn check(violations: &[Violation], rule: Rule, what: &str) {
    let found: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert_eq!(rules(violations), BTreeSet::from([rule]), "{what}: {found:#?}");
    assert_eq!(violations.len(), 2, "{what}: {found:#?}");
}

fn rules(violations: &[Violation]) -> BTreeSet<Rule> {
    violations.iter().map(Violation::rule).collect()
}
