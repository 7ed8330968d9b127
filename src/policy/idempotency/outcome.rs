//! What an answer of the application says of the request that it answers.

use super::settings::Outcomes;

/// How a request that was sent has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an answer.
    Answered {
        /// Its status.
        status: u16,
        /// All of it came: its length was met, its last chunk came, or its stream was ended.
        whole: bool,
        /// It is no longer than is kept.
        fits: bool,
    },
    /// Without one, and the application provably has nothing of the request.
    Unseen,
    /// Without one.
    Unanswered,
}

/// What becomes of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is done: later tries get its answer.
    Kept,
    /// It is done, but there is no answer to give to later tries.
    NotKept,
    /// It was not carried out: the next try is a first one.
    Released,
    /// Nobody knows whether it was carried out.
    Unknown,
}

/// What becomes of the record of a request that has ended so.
pub fn end(ended: Ended, outcomes: &Outcomes) -> End {
    match ended {
        Ended::Unseen => End::Released,
        Ended::Unanswered => End::Unknown,
        // That it was refused stands in the head: what is missing of the body says nothing else.
        Ended::Answered { status, .. } if outcomes.released.contains(&status) => End::Released,
        Ended::Answered { status, .. } if outcomes.unknown.contains(&status) => End::Unknown,
        Ended::Answered { whole: false, .. } => End::Unknown,
        Ended::Answered { fits: false, .. } => End::NotKept,
        Ended::Answered { .. } => End::Kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_record_is_a_table() {
        let outcomes = Outcomes::default();
        let answered = |status, whole, fits| end(Ended::Answered { status, whole, fits }, &outcomes);
        for status in [200, 201, 204, 302, 400, 402, 404, 422, 500, 501, 505] {
            assert_eq!(answered(status, true, true), End::Kept, "{status}");
            assert_eq!(answered(status, true, false), End::NotKept, "{status}");
            assert_eq!(answered(status, false, true), End::Unknown, "{status}");
        }
        for status in [401, 403, 409, 425, 429] {
            assert_eq!(answered(status, true, true), End::Released, "{status}");
            assert_eq!(answered(status, false, false), End::Released, "{status}");
        }
        for status in [408, 502, 503, 504] {
            assert_eq!(answered(status, true, true), End::Unknown, "{status}");
        }
        assert_eq!(end(Ended::Unseen, &outcomes), End::Released);
        assert_eq!(end(Ended::Unanswered, &outcomes), End::Unknown);
    }
}
