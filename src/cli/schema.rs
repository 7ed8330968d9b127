//! `outboard schema`: the JSON Schema of the configuration.

use std::io::Write;

use super::Failure;

/// Prints the schema.
pub(super) fn run(out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "{:#}", crate::config::schema())?;
    Ok(())
}
