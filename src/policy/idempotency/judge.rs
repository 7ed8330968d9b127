//! What a try is told by the record that is there.

use super::digest::Hash;
use super::settings::ReplayTo;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A try has it; nothing was written to the application.
    Reserved,
    /// The application may have it.
    Sent,
    /// It was carried out, and this is kept of it.
    Done,
    /// Nobody knows whether it was carried out.
    Unknown,
}

impl State {
    /// The word in metrics, logs and the administration.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Reserved => "reserved",
            State::Sent => "sent",
            State::Done => "done",
            State::Unknown => "unknown",
        }
    }
}

/// What a record, or a try, says of its request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claim {
    /// The payload.
    pub fingerprint: Hash,
    /// Who asked.
    pub credential: Hash,
}

/// What a record says to a try of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'r> {
    /// What the record was made for.
    pub record: &'r Claim,
    /// What this try brings.
    pub try_: &'r Claim,
    /// Who gets an answer that is kept.
    pub replay_to: ReplayTo,
}

/// What a try is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Wait for the one that is at work.
    Wait,
    /// It gets the answer that is kept.
    Replay,
    /// It is refused: nobody knows whether the request was carried out.
    Unknown,
    /// It is refused: another credential than that of the first try.
    CredentialChanged,
    /// It is refused: another payload than that of the first try.
    Mismatch,
}

/// What a try is to do where there is a record. Whoever is not the one who asked first learns nothing but that: neither
/// whether the payload is the same, nor how it ended.
pub fn judge(state: State, asked: &Asked<'_>) -> Verdict {
    let Asked { record, try_, replay_to } = asked;
    if *replay_to == ReplayTo::SameCredential && record.credential != try_.credential {
        return Verdict::CredentialChanged;
    }
    if record.fingerprint != try_.fingerprint {
        return Verdict::Mismatch;
    }
    match state {
        State::Reserved | State::Sent => Verdict::Wait,
        State::Done => Verdict::Replay,
        State::Unknown => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 4] = [State::Reserved, State::Sent, State::Done, State::Unknown];

    fn verdict(state: State, same_payload: bool, same_credential: bool, replay_to: ReplayTo) -> Verdict {
        let record = Claim { fingerprint: [1; 16], credential: [1; 16] };
        let try_ = Claim {
            fingerprint: [if same_payload { 1 } else { 2 }; 16],
            credential: [if same_credential { 1 } else { 2 }; 16],
        };
        judge(state, &Asked { record: &record, try_: &try_, replay_to })
    }

    #[test]
    fn the_same_request_of_the_same_caller_gets_what_there_is() {
        let told = STATES.map(|state| verdict(state, true, true, ReplayTo::SameCredential));
        assert_eq!(told, [Verdict::Wait, Verdict::Wait, Verdict::Replay, Verdict::Unknown]);
    }

    #[test]
    fn another_credential_learns_nothing_else_in_any_state() {
        for state in STATES {
            for same_payload in [true, false] {
                let told = verdict(state, same_payload, false, ReplayTo::SameCredential);
                assert_eq!(told, Verdict::CredentialChanged, "{state:?}");
            }
        }
    }

    #[test]
    fn the_owner_may_come_with_another_credential_where_that_is_said() {
        let told = STATES.map(|state| verdict(state, true, false, ReplayTo::Owner));
        assert_eq!(told, [Verdict::Wait, Verdict::Wait, Verdict::Replay, Verdict::Unknown]);
    }

    #[test]
    fn another_payload_is_a_mismatch_in_every_state() {
        for state in STATES {
            assert_eq!(verdict(state, false, true, ReplayTo::SameCredential), Verdict::Mismatch);
            assert_eq!(verdict(state, false, false, ReplayTo::Owner), Verdict::Mismatch);
        }
    }
}
