//! What the tests of these rules share, and whole exchanges: an answer is stored, another request comes.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A head of these fields.
pub(super) fn head(fields: &[(&str, &str)]) -> HeaderMap {
    fields.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        map
    })
}

/// A date so many seconds after the epoch, as HTTP writes it.
pub(super) fn date(at: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(at))
}
