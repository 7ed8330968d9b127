//! What never stands in a log line: card numbers, credentials, secrets in a query.

mod settings;

pub use settings::Settings;
