//! Histories made by hand: the good one passes, and each kind of wrong is found.

use std::time::Duration;

use super::*;
use crate::history::Charge;

const KEY: &str = "k";

fn at(millis: u64) -> At {
    Duration::from_millis(millis)
}

fn said(status: u16, charge: Option<u64>) -> Said {
    let body = format!("{{\"charge\":{}}}\nmore", charge.map_or("null".to_owned(), |id| id.to_string()));
    Said::new(status, "text/plain", body.as_bytes())
}

fn answer(from: u64, said: Said, replayed: bool) -> Try {
    Try { from: at(from), to: at(from + 5), got: Got::Answer { said, replayed, whole: true } }
}

fn refusal(from: u64, status: u16, reason: &str) -> Try {
    let got = Got::Refusal { status, reason: reason.to_owned(), retry_after: true };
    Try { from: at(from), to: at(from + 5), got }
}

fn nothing(from: u64) -> Try {
    Try { from: at(from), to: at(from + 5), got: Got::Nothing("cut") }
}

fn receipt(millis: u64, verdict: Verdict, said: Option<Said>) -> Receipt {
    let done = said.is_some().then(|| at(millis + 2));
    Receipt { at: at(millis), did: "did", verdict, said, done }
}

fn charge(id: u64) -> Charge {
    Charge { key: KEY.to_owned(), id, amount: 10, at: at(11) }
}

fn event(millis: u64, what: What) -> Event {
    Event { from: at(millis), to: at(millis + 10), what }
}

/// Of one key with an amount of 10.
fn history(tries: Vec<Try>, receipts: Vec<Receipt>, ledger: Vec<Charge>, events: Vec<Event>) -> History {
    let of = |key: &str| key.to_owned();
    History {
        tries: HashMap::from([(of(KEY), tries)]),
        amounts: HashMap::from([(of(KEY), 10)]),
        receipts: HashMap::from([(of(KEY), receipts)]),
        ledger,
        events,
    }
}

/// A client that left, came back, was sent back, and had its charge once and its answer three times.
fn good() -> History {
    let (busy, done) = (said(429, None), said(201, Some(7)));
    let tries = vec![
        nothing(0),
        answer(20, busy.clone(), false),
        refusal(40, 409, "idempotency_in_flight"),
        answer(60, done.clone(), false),
        answer(80, done.clone(), true),
        refusal(90, 503, "draining"),
        answer(100, done.clone(), true),
    ];
    let receipts = vec![receipt(10, Verdict::Released, Some(busy)), receipt(30, Verdict::Kept, Some(done))];
    history(tries, receipts, vec![charge(7)], vec![event(50, What::Killed)])
}

fn rules(history: &History) -> Vec<Rule> {
    check(history).into_iter().map(|violation| violation.rule).collect()
}

#[track_caller]
fn finds(rule: Rule, history: &History) {
    let rules = rules(history);
    assert!(rules.contains(&rule), "{rules:?}\n{}", story(history, KEY));
}

#[test]
fn a_good_history_passes() {
    let history = good();
    assert!(check(&history).is_empty(), "{:?}", check(&history));
    assert!(unknown(&history).is_empty());
}

#[test]
fn a_double_charge_is_found() {
    let mut history = good();
    history.ledger.push(charge(8));
    finds(Rule::ChargedTwice, &history);
    finds(Rule::ChargedOtherwise, &history);
}

#[test]
fn a_charge_that_nobody_asked_for_is_found() {
    let mut history = good();
    history.ledger[0].amount = 11;
    finds(Rule::ChargedOtherwise, &history);
    let mut history = good();
    history.ledger.push(Charge { key: "another".to_owned(), ..charge(8) });
    finds(Rule::ChargedOtherwise, &history);
}

#[test]
fn an_answer_that_lies_is_found() {
    let mut history = good();
    history.ledger.clear();
    finds(Rule::ChargedOtherwise, &history);
}

#[test]
fn a_request_that_is_forwarded_again_is_found_even_if_it_charged_nothing() {
    let mut history = good();
    history.receipts.get_mut(KEY).unwrap().push(receipt(70, Verdict::Kept, Some(said(402, None))));
    finds(Rule::ForwardedAgain, &history);
}

#[test]
fn a_replay_that_differs_is_found() {
    for other in
        [said(202, Some(7)), said(201, Some(8)), Said { content_type: "text/html".to_owned(), ..said(201, Some(7)) }]
    {
        let mut history = good();
        history.tries.get_mut(KEY).unwrap().push(answer(120, other.clone(), true));
        assert!(!rules(&history).is_empty());
        // Also where the application had said so, another time.
        history.receipts.get_mut(KEY).unwrap().push(receipt(70, Verdict::Kept, Some(other)));
        finds(Rule::ReplayDiffers, &history);
    }
}

#[test]
fn an_answer_that_the_application_never_gave_is_found() {
    let mut history = good();
    history.receipts.clear();
    finds(Rule::NotWhatTheApplicationSaid, &history);
}

#[test]
fn a_replay_that_is_not_marked_is_found() {
    let mut history = good();
    history.tries.get_mut(KEY).unwrap().push(answer(120, said(201, Some(7)), false));
    finds(Rule::NotMarkedAsReplay, &history);
}

#[test]
fn a_replay_of_what_is_not_kept_is_found() {
    let mut history = good();
    history.tries.get_mut(KEY).unwrap().insert(2, answer(30, said(429, None), true));
    finds(Rule::ReplayOfWhatIsNotKept, &history);
}

#[test]
fn an_answer_that_is_forgotten_is_found() {
    for reason in ["idempotency_unknown", "idempotency_in_flight", "idempotency_not_kept"] {
        let mut history = good();
        history.tries.get_mut(KEY).unwrap().push(refusal(120, 409, reason));
        finds(Rule::Forgotten, &history);
    }
}

#[test]
fn an_answer_that_the_store_could_not_take_may_be_unknown_once_its_sidecar_is_gone() {
    let with = |events: Vec<Event>| {
        let receipts = vec![receipt(10, Verdict::Kept, Some(said(201, Some(7))))];
        let tries = vec![answer(10, said(201, Some(7)), false), refusal(5000, 409, "idempotency_unknown")];
        history(tries, receipts, vec![charge(7)], events)
    };
    let (store, killed) = (event(8, What::Store), event(500, What::Killed));
    let excused = with(vec![store.clone(), killed.clone()]);
    assert!(check(&excused).is_empty(), "{:?}", check(&excused));
    // Not the one without the other, nor long after, nor before.
    finds(Rule::Forgotten, &with(vec![store.clone()]));
    finds(Rule::Forgotten, &with(vec![killed.clone()]));
    finds(Rule::Forgotten, &with(vec![store, event(4900, What::Killed)]));
    finds(Rule::Forgotten, &with(vec![event(100, What::Store), killed]));
}

#[test]
fn an_answer_that_comes_after_its_key_was_given_up_changes_nothing() {
    let tries = vec![nothing(0), refusal(7000, 409, "idempotency_unknown"), answer(8000, said(201, Some(7)), false)];
    let receipts = vec![receipt(10, Verdict::Kept, Some(said(201, Some(7))))];
    let mut history = history(tries, receipts, vec![charge(7)], vec![event(20, What::Paused)]);
    history.tries.get_mut(KEY).unwrap().push(refusal(9000, 409, "idempotency_unknown"));
    assert!(check(&history).is_empty(), "{:?}", check(&history));
}

#[test]
fn refusals_need_a_reason_that_exists_and_fits() {
    let cases = [
        (409, "", Rule::RefusalWithoutReason),
        (409, "no_such_reason", Rule::RefusalWithoutReason),
        (500, "internal", Rule::RefusedWrongly),
        (404, "no_route", Rule::RefusedWrongly),
        (200, "draining", Rule::RefusedWrongly),
    ];
    for (status, reason, rule) in cases {
        let mut history = good();
        history.tries.get_mut(KEY).unwrap().push(refusal(120, status, reason));
        finds(rule, &history);
    }
    let mut history = good();
    let got = Got::Refusal { status: 503, reason: "idempotency_store".to_owned(), retry_after: false };
    history.tries.get_mut(KEY).unwrap().push(Try { from: at(120), to: at(121), got });
    finds(Rule::NoRetryAfter, &history);
}

/// A key that was sent and of which its client is told that nobody knows.
fn lost(receipts: Vec<Receipt>, events: Vec<Event>) -> History {
    let tries = vec![nothing(0), refusal(2000, 409, "idempotency_unknown"), refusal(2100, 409, "idempotency_unknown")];
    history(tries, receipts, vec![charge(7)], events)
}

#[test]
fn what_is_unknown_has_a_cause() {
    let whole = || vec![receipt(10, Verdict::Kept, Some(said(201, Some(7))))];
    let caused = [
        lost(vec![receipt(10, Verdict::Unknown, None)], vec![]),
        lost(vec![receipt(10, Verdict::Unknown, Some(said(503, Some(7))))], vec![]),
        // The answer could not be written to its end.
        lost(vec![Receipt { done: None, ..whole().remove(0) }], vec![]),
        // It came too late.
        lost(vec![Receipt { done: Some(at(1000)), ..whole().remove(0) }], vec![]),
        lost(whole(), vec![event(20, What::Killed)]),
        lost(whole(), vec![event(20, What::Store)]),
        lost(whole(), vec![event(20, What::Paused)]),
        lost(whole(), vec![event(20, What::Network(Some(KEY.to_owned())))]),
        lost(vec![], vec![event(20, What::Network(None))]),
    ];
    for history in caused {
        let found: Vec<_> = check(&history).into_iter().filter(|v| v.rule == Rule::UnknownWithoutCause).collect();
        assert!(found.is_empty(), "{found:?}\n{}", story(&history, KEY));
        assert_eq!(unknown(&history), [KEY]);
    }
    let uncaused = [
        lost(whole(), vec![]),
        lost(vec![], vec![]),
        // Others were cut, or it was asked to end, or it was killed before or long after.
        lost(whole(), vec![event(20, What::Network(Some("another".to_owned())))]),
        lost(whole(), vec![event(20, What::Network(None))]),
        lost(whole(), vec![event(20, What::Ended)]),
        lost(whole(), vec![event(2200, What::Killed)]),
        lost(vec![receipt(10, Verdict::Released, Some(said(429, None)))], vec![]),
    ];
    for history in uncaused {
        finds(Rule::UnknownWithoutCause, &history);
    }
}

#[test]
fn what_was_finished_long_before_a_kill_is_not_unknown_by_it() {
    let receipts = vec![receipt(10, Verdict::Kept, Some(said(201, Some(7))))];
    let mut history = lost(receipts, vec![event(5000, What::Killed)]);
    history.tries.get_mut(KEY).unwrap().push(refusal(5001, 409, "idempotency_unknown"));
    finds(Rule::UnknownWithoutCause, &history);
}

#[test]
fn what_is_not_kept_was_too_long() {
    let long = said(201, Some(7));
    let tries = vec![answer(0, long.clone(), false), refusal(20, 409, "idempotency_not_kept")];
    let verdict =
        |verdict| history(tries.clone(), vec![receipt(1, verdict, Some(long.clone()))], vec![charge(7)], vec![]);
    assert!(check(&verdict(Verdict::NotKept)).is_empty(), "{:?}", check(&verdict(Verdict::NotKept)));
    finds(Rule::NotKeptWithoutCause, &verdict(Verdict::Unknown));
    finds(Rule::Forgotten, &verdict(Verdict::Kept));
}

#[test]
fn a_key_without_an_answer_is_found() {
    let (tries, busy) = (vec![nothing(0), refusal(20, 409, "idempotency_in_flight")], said(201, Some(7)));
    finds(Rule::NeverAnswered, &history(tries, vec![receipt(1, Verdict::Kept, Some(busy))], vec![charge(7)], vec![]));
}
