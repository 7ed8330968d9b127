//! What can go wrong with Redis, in words that hold no credentials.

use std::path::PathBuf;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerError};

/// Why an operation has no result. Nothing of a URL's credentials, of a record or of an answer stands in it.
///
/// An operation that ends in [`Error::Connect`] was not carried out. Of the others that is not certain: it may have been, or
/// may yet be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The URL cannot be used.
    #[error("redis url: {0}")]
    Url(&'static str),
    /// The trusted certificates cannot be used.
    #[error("{}: {cause}", file.display())]
    Ca {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: String,
    },
    /// What was asked for makes no sense.
    #[error("redis: expected {0}")]
    Invalid(&'static str),
    /// There is no connection, so nothing was asked.
    #[error("redis at {address}: cannot connect: {cause}")]
    Connect {
        /// Host and port, or the socket.
        address: String,
        /// Why.
        cause: String,
    },
    /// No answer in time.
    #[error("redis did not answer within {0:?}")]
    Timeout(Duration),
    /// The connection ended before the answer.
    #[error("the connection to redis broke before the answer: {0}")]
    Lost(String),
    /// The server is a replica: it takes no writes.
    #[error("redis is a replica, expected a master: it takes no writes (READONLY)")]
    Replica,
    /// The server is part of a cluster, whose slots keep a record and the index apart.
    #[error("redis is in cluster mode, expected a single master")]
    Cluster,
    /// The server refused.
    #[error("redis refused: {code} {detail}")]
    Refused {
        /// The first word of its answer: `OOM`, `MISCONF`, `NOAUTH`.
        code: String,
        /// The rest of it.
        detail: String,
    },
    /// It was written, and no replica said in time that it has it too.
    #[error("no replica of redis has confirmed the write in time")]
    NotReplicated,
    /// A record of a version that this process does not know.
    #[error("redis holds a record of format {found}, this process reads format {known}: run one version on both")]
    Format {
        /// What its version field says.
        found: String,
        /// What is known.
        known: &'static str,
    },
    /// The server's answer is none that the script gives.
    #[error("redis answered what was not asked for: {0}")]
    Unexpected(&'static str),
}

/// The most that is taken over of a server's own words.
const DETAIL: usize = 200;

/// What the server said, without the secrets.
pub(super) fn refused(error: &ServerError, secrets: &[String]) -> Error {
    said(error.code(), error.details().unwrap_or_default(), secrets)
}

/// What went wrong while a connection was set up: an answer, or the connection itself.
pub(super) fn set_up(error: &RedisError, address: &str, secrets: &[String]) -> Error {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return said("WRONGPASS", "the user or the password is refused", secrets);
    }
    match error.code() {
        Some(code) => said(code, error.detail().unwrap_or_default(), secrets),
        None => Error::Connect { address: address.to_owned(), cause: masked(&error.to_string(), secrets) },
    }
}

/// What broke a connection.
pub(super) fn lost(error: &RedisError, secrets: &[String]) -> Error {
    Error::Lost(masked(&error.to_string(), secrets))
}

fn said(code: &str, detail: &str, secrets: &[String]) -> Error {
    if code == "READONLY" {
        return Error::Replica;
    }
    // The server quotes the arguments of a command it does not know: those are keys, answers and passwords.
    let quoted = ["with args", "args beginning"].iter().filter_map(|words| detail.find(words)).min();
    let detail = masked(detail.get(..quoted.unwrap_or(detail.len())).unwrap_or_default(), secrets);
    Error::Refused { code: masked(code, secrets), detail: detail.trim_end_matches([' ', ',']).to_owned() }
}

fn masked(text: &str, secrets: &[String]) -> String {
    let text = secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"));
    text.chars().take(DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_quotes_is_cut_and_what_is_secret_is_masked() {
        let secrets = ["hunter2".to_owned()];
        let said = |code, detail| said(code, detail, &secrets).to_string();
        assert_eq!(
            said("ERR", "unknown command 'AUTH', with args beginning with: 'me' 'secret'"),
            "redis refused: ERR unknown command 'AUTH'"
        );
        assert_eq!(said("ERR", "user hunter2 is not known"), "redis refused: ERR user *** is not known");
        assert!(said("READONLY", "You can't write").contains("replica"));
        assert!(said("ERR", &"é".repeat(1000)).len() < 600);
    }
}
