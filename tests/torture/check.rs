//! What has to hold at the end, whatever happened: a pure function over the [`History`].

mod histories;

use std::collections::HashMap;
use std::time::Duration;

use outboard::refusal::Reason;

use super::history::{At, Charge, Event, Got, History, Receipt, Said, Try, Verdict, What};

/// How long an attempt may go on after its client has left: `in_flight.wait` and `timeouts.total` of the sidecars here,
/// and what a busy machine adds.
const ATTEMPT: Duration = Duration::from_millis(300 + 1500 + 1000);

/// How long it may take until an answer that the application has written is a finished record.
const FINISH: Duration = Duration::from_secs(2);

/// An answer that is written so long after it was asked for may have come too late: the machine was busy.
const LATE: Duration = Duration::from_millis(900);

/// How soon after a cut a connection is seen to be broken by everybody.
const NOTICED: Duration = Duration::from_millis(100);

/// Longer than what was done to the system in one piece.
const LONGEST: Duration = Duration::from_secs(15);

/// What a client does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Tries the same key again.
    Again,
    /// Has its answer.
    Answered,
    /// Is told that nobody knows.
    Unknown,
    /// Is told that it was answered, and that the answer is gone.
    NotKept,
    /// Was told what it must not be told.
    Wrong,
}

/// What follows from what a client got.
pub(super) fn next(got: &Got) -> Next {
    match got {
        Got::Nothing(_) | Got::Answer { whole: false, .. } => Next::Again,
        Got::Answer { said, .. } => match said.status {
            // Nothing was begun, or nobody knows: the same key will tell.
            401 | 403 | 409 | 425 | 429 | 408 | 502 | 503 | 504 => Next::Again,
            _ => Next::Answered,
        },
        Got::Refusal { status, reason, .. } => match (*status, reason.as_str()) {
            (409, "idempotency_unknown") => Next::Unknown,
            (409, "idempotency_not_kept") => Next::NotKept,
            (409, "idempotency_in_flight")
            | (502, "upstream_connect" | "upstream_reset")
            | (504, "upstream_timeout")
            | (408, "request_timeout")
            | (503, "idempotency_store" | "breaker_open" | "queue_full" | "queue_timeout" | "bulkhead_full")
            | (503, "draining" | "overloaded") => Next::Again,
            _ => Next::Wrong,
        },
    }
}

/// What may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    ChargedTwice,
    ForwardedAgain,
    ChargedOtherwise,
    NotWhatTheApplicationSaid,
    ReplayDiffers,
    NotMarkedAsReplay,
    ReplayOfWhatIsNotKept,
    Forgotten,
    RefusalWithoutReason,
    RefusedWrongly,
    NoRetryAfter,
    UnknownWithoutCause,
    NotKeptWithoutCause,
    NeverAnswered,
}

/// A rule that was broken.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) key: String,
    pub(super) detail: String,
}

/// All that is known of one key.
struct Case<'a> {
    key: &'a str,
    tries: &'a [Try],
    receipts: &'a [Receipt],
    charges: &'a [&'a Charge],
    events: &'a [Event],
    found: Vec<Violation>,
}

/// Everything that does not hold.
pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut ledger: HashMap<&str, Vec<&Charge>> = HashMap::new();
    for charge in &history.ledger {
        ledger.entry(&charge.key).or_default().push(charge);
    }
    let mut found = Vec::new();
    for (key, tries) in &history.tries {
        let receipts = history.receipts.get(key).map_or(&[][..], |receipts| receipts);
        let charges = ledger.remove(key.as_str()).unwrap_or_default();
        let events = &history.events;
        let mut case = Case { key, tries, receipts, charges: &charges, events, found: Vec::new() };
        case.charges(history.amounts.get(key).copied());
        case.answers();
        case.refusals();
        case.ends();
        found.append(&mut case.found);
    }
    for (key, charges) in ledger {
        let detail = format!("nobody asked for {charges:?}");
        found.push(Violation { rule: Rule::ChargedOtherwise, key: key.to_owned(), detail });
    }
    found.sort_by(|a, b| (a.rule, &a.key).cmp(&(b.rule, &b.key)));
    found
}

/// The keys of which somebody was told that nobody knows.
pub(super) fn unknown(history: &History) -> Vec<&str> {
    let told = history.tries.iter().filter(|(_, tries)| tries.iter().any(|t| next(&t.got) == Next::Unknown));
    told.map(|(key, _)| key.as_str()).collect()
}

impl Case<'_> {
    /// Why its outcome can be unknown: what happened between *sent* and *done* before a client was told so.
    fn causes(&self, told: At) -> Vec<String> {
        let mut causes = Vec::new();
        // An attempt lasts from its try until its answer is written down, or its time is over.
        let tries = self.tries.iter().filter(|t| t.from <= told);
        let windows: Vec<(At, At)> = tries.map(|t| (t.from, t.to.max(t.from + ATTEMPT))).collect();
        let receipts: Vec<&Receipt> = self.receipts.iter().filter(|r| r.at <= told).collect();
        for Receipt { at, did, verdict, done, .. } in &receipts {
            let asked = windows.iter().map(|w| w.0).filter(|from| from <= at).max();
            if *verdict == Verdict::Unknown || done.is_none() {
                causes.push(format!("at {at:?} the application {did}"));
            } else if let (Some(asked), Some(done)) = (asked, done)
                && *done > asked + LATE
            {
                causes.push(format!("at {done:?} an answer came late"));
            }
        }
        let done = receipts.last().and_then(|r| r.done);
        let begun = windows.iter().map(|w| w.0).min().unwrap_or_default();
        // They are sorted by their beginnings.
        let earliest = self.events.partition_point(|e| e.from + LONGEST < begun);
        for event in self.events[earliest..].iter().take_while(|e| e.from <= told) {
            let meets = |until: At| windows.iter().any(|(from, to)| *from <= until && event.from <= *to);
            let caused = match &event.what {
                What::Ended => false,
                What::Killed | What::Paused | What::Store => {
                    meets(event.to) && done.is_none_or(|done| event.from <= done + FINISH)
                }
                What::Network(Some(seen)) => seen == self.key && meets(event.to),
                // Nothing was seen of it: then the application has not seen it either.
                What::Network(None) => {
                    let until = event.to + NOTICED;
                    let unseen = |from: At| !receipts.iter().any(|r| from <= r.at && r.at <= until);
                    windows.iter().any(|(from, to)| *from <= until && event.from <= *to && unseen(*from))
                }
            };
            if caused {
                causes.push(format!("{:?} from {:?} to {:?}", event.what, event.from, event.to));
            }
        }
        causes
    }

    /// Whether an answer that a client had at `told` may not have been written down: the store was out of reach when it was to
    /// be, and the sidecar that would have tried again was gone before it could.
    fn unwritten(&self, told: At, later: At) -> bool {
        let Some(asked) = self.receipts.iter().map(|r| r.at).filter(|at| *at <= told).max() else { return false };
        let blows = self.events.iter().filter(|e| e.what == What::Store && e.from <= told && asked <= e.to);
        blows.into_iter().any(|blow| {
            let until = blow.to.max(told) + FINISH;
            let is_gone = |e: &&Event| matches!(e.what, What::Killed | What::Ended) && e.from <= later;
            self.events.iter().filter(is_gone).any(|end| asked <= end.to && end.from <= until)
        })
    }

    fn find(&mut self, rule: Rule, detail: String) {
        self.found.push(Violation { rule, key: self.key.to_owned(), detail });
    }

    /// Once, for what was asked, and forwarded once.
    fn charges(&mut self, amount: Option<u64>) {
        let charges = self.charges;
        if charges.len() > 1 {
            self.find(Rule::ChargedTwice, format!("{charges:?}"));
        }
        for charge in charges.iter().filter(|charge| Some(charge.amount) != amount) {
            self.find(Rule::ChargedOtherwise, format!("{amount:?} was asked for, the ledger has {charge:?}"));
        }
        let closed = self.receipts.iter().position(|r| r.verdict != Verdict::Released);
        if let Some(closed) = closed
            && closed + 1 < self.receipts.len()
        {
            self.find(Rule::ForwardedAgain, format!("after the application {}", self.receipts[closed].did));
        }
    }

    /// Each is what the application said, and what the ledger says; kept ones come again byte for byte, and marked.
    fn answers(&mut self) {
        let tries = self.tries;
        let (mut first, mut unmarked): (Option<(&Said, At)>, usize) = (None, 0);
        for (at, said, replayed, whole) in tries.iter().filter_map(|t| match &t.got {
            Got::Answer { said, replayed, whole } => Some((t, said, *replayed, *whole)),
            _ => None,
        }) {
            let like = |r: &&Receipt| match (&r.said, whole) {
                (Some(written), true) => written == said,
                (Some(written), false) => written.status == said.status,
                (None, _) => !whole,
            };
            let Some(receipt) = self.receipts.iter().find(like).cloned() else {
                self.find(Rule::NotWhatTheApplicationSaid, format!("{said:?}"));
                continue;
            };
            if !whole {
                continue;
            }
            let charged: Vec<u64> = self.charges.iter().map(|charge| charge.id).collect();
            let says: Vec<u64> = said.charge.into_iter().collect();
            if receipt.verdict != Verdict::Released && charged != says {
                self.find(Rule::ChargedOtherwise, format!("the answer says {says:?}, the ledger {charged:?}"));
            }
            if receipt.verdict != Verdict::Kept {
                if replayed {
                    self.find(Rule::ReplayOfWhatIsNotKept, format!("{:?}: {said:?}", receipt.verdict));
                }
                continue;
            }
            unmarked += usize::from(!replayed);
            match &first {
                Some((told, _)) if *told != said => {
                    self.find(Rule::ReplayDiffers, format!("{told:?}, then {said:?}"));
                }
                Some((_, to)) => first = first.map(|(told, _)| (told, (*to).min(at.to))),
                None => first = Some((said, at.to)),
            }
        }
        if unmarked > 1 {
            self.find(Rule::NotMarkedAsReplay, format!("{unmarked} answers without Idempotent-Replayed"));
        }
        // What was told once is told ever after.
        let Some((said, to)) = first else { return };
        // A sidecar that stood still may come back with an answer when nobody waits for it any more.
        let given_up = tries.iter().any(|t| t.to < to && next(&t.got) == Next::Unknown);
        for later in tries.iter().filter(|t| t.from > to) {
            let kept = match &later.got {
                Got::Nothing(_) => true,
                Got::Answer { said: again, .. } => again == said,
                Got::Refusal { reason, .. } => match next(&later.got) {
                    Next::Unknown => given_up || self.unwritten(to, later.from),
                    Next::NotKept => false,
                    // Nobody waits for what is done.
                    _ => reason != "idempotency_in_flight",
                },
            };
            if !kept {
                self.find(Rule::Forgotten, format!("answered at {to:?}, and then {later:?}"));
            }
        }
    }

    /// Each with a reason that exists, and that fits.
    fn refusals(&mut self) {
        for tried in self.tries {
            let Got::Refusal { status, reason, retry_after } = &tried.got else { continue };
            if !Reason::ALL.iter().any(|known| known.as_str() == reason) {
                self.find(Rule::RefusalWithoutReason, format!("{status} {reason:?}"));
            } else if next(&tried.got) == Next::Wrong {
                self.find(Rule::RefusedWrongly, format!("{status} {reason:?} at {:?}", tried.to));
            }
            if matches!(reason.as_str(), "idempotency_store" | "idempotency_in_flight") && !retry_after {
                self.find(Rule::NoRetryAfter, format!("{status} {reason:?}"));
            }
        }
    }

    /// Each key has an answer in the end, or a cause why it has none.
    fn ends(&mut self) {
        let ended = |what: Next| self.tries.iter().find(|t| next(&t.got) == what);
        if let Some(told) = ended(Next::Unknown) {
            if self.causes(told.to).is_empty() {
                self.find(Rule::UnknownWithoutCause, format!("told so at {:?}", told.to));
            }
        } else if let Some(told) = ended(Next::NotKept) {
            if !self.receipts.iter().any(|r| r.verdict == Verdict::NotKept) {
                self.find(Rule::NotKeptWithoutCause, format!("told so at {:?}", told.to));
            }
        } else if ended(Next::Answered).is_none() && ended(Next::Wrong).is_none() {
            let last = self.tries.last().map(|t| t.got.clone());
            self.find(Rule::NeverAnswered, format!("{} tries, the last {last:?}", self.tries.len()));
        }
    }
}

/// The story of a key, for people.
pub(super) fn story(history: &History, key: &str) -> String {
    let mut lines: Vec<(At, String)> = Vec::new();
    for t in history.tries.get(key).into_iter().flatten() {
        lines.push((t.from, format!("a try, until {:?}: {:?}", t.to, t.got)));
    }
    for r in history.receipts.get(key).into_iter().flatten() {
        lines.push((r.at, format!("the application {} ({:?}), done {:?}", r.did, r.verdict, r.done)));
    }
    for charge in history.ledger.iter().filter(|charge| charge.key == key) {
        lines.push((charge.at, format!("charged {} as {}", charge.amount, charge.id)));
    }
    let tries = history.tries.get(key).map_or(&[][..], |tries| tries);
    let meets = |event: &Event| tries.iter().any(|t| t.from <= event.to && event.from <= t.to.max(t.from + ATTEMPT));
    for event in history.events.iter().filter(|event| meets(event)) {
        let of_others = match &event.what {
            What::Network(Some(seen)) => seen != key,
            What::Network(None) => history.receipts.contains_key(key),
            _ => false,
        };
        if !of_others {
            lines.push((event.from, format!("until {:?}: {:?}", event.to, event.what)));
        }
    }
    lines.sort();
    // A cut is one of many connections.
    lines.dedup_by(|later, earlier| [later, earlier].iter().all(|(_, what)| what.ends_with("Network(None)")));
    let lines: Vec<String> = lines.iter().map(|(at, what)| format!("  {at:?} {what}")).collect();
    lines.join("\n")
}
