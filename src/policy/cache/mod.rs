//! What is kept of the application's answers, for whom, for how long, and what ends it.

mod invalidate_settings;
mod settings;

pub use invalidate_settings::Settings as InvalidateSettings;
pub use settings::{Coalesce, ErrorStatus, Freshness, Partition, Settings, Tags};
