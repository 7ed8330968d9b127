//! The commands, one file each.

mod answers;
mod check;
#[cfg(feature = "demo")]
mod demo;
mod drain;
mod explain;
mod health;
mod inject;
mod policies;
mod purge;
mod remote;
mod run;
mod schema;
mod webhook;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code of a wrong configuration or a wrong use.
pub const EXIT_CONFIG: u8 = 64;
/// Exit code of everything else that kept a command from its work.
pub const EXIT_FAILED: u8 = 1;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "outboard", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Run(run::Args),
    /// Check configuration files: every error at once, then what each route does
    Check(check::Args),
    /// Say which route a request takes, which others lost, and why
    Explain(explain::Args),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Show what the proxy does to a sample payment application, measured here and now
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    /// Exit 0 if the running proxy is ready, for probes where there is no shell
    Health(health::Args),
    /// Drain the running proxy, for a preStop hook where there is no shell
    Drain(drain::Args),
    /// Put the sidecar into Kubernetes manifests, or take it out
    Inject(inject::Args),
    /// Put the sidecar into what a Kubernetes API server is about to create: a mutating admission webhook
    Webhook(webhook::Args),
    /// Purge what the running proxy has stored: one of a URL, a prefix, a tag, a route, everything
    Purge(purge::Args),
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A configuration is wrong; everything about it has been said.
    #[error("the configuration is wrong")]
    Config,
    /// The proxy could not start.
    #[error(transparent)]
    Start(#[from] crate::server::StartError),
    /// The running proxy said no, or there is none.
    #[error("{0}")]
    Remote(String),
    /// The webhook could not start.
    #[error(transparent)]
    Webhook(#[from] crate::webhook::WebhookError),
    /// A manifest cannot be read.
    #[error("{0}")]
    Manifest(String),
    /// The demonstration broke off.
    #[cfg(feature = "demo")]
    #[error("demo")]
    Demo(#[from] crate::demo::Error),
    /// The output could not be written.
    #[error("could not write")]
    Output(#[from] io::Error),
}

/// Runs a command. Whatever went wrong is printed once, with its causes.
pub fn run(cli: Cli) -> ExitCode {
    // Locked by who writes: a running proxy logs to it from a thread of its own.
    let mut out = io::BufWriter::new(io::stdout());
    let done = match cli.command {
        Command::Check(args) => check::run(&args, &mut out, &mut io::stderr().lock()),
        Command::Schema => schema::run(&mut out),
        Command::Run(args) => run::run(args),
        Command::Explain(args) => explain::run(&args, &mut out, &mut io::stderr().lock()),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args),
        Command::Health(args) => health::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Inject(args) => inject::run(&args, &mut out, &mut io::stderr().lock()),
        Command::Webhook(args) => webhook::run(args),
        Command::Purge(args) => purge::run(&args, &mut out),
    };
    match done.and_then(|()| out.flush().map_err(Failure::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config) => ExitCode::from(EXIT_CONFIG),
        Err(Failure::Manifest(message)) => {
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(Failure::Start(crate::server::StartError::Config(errors))) => {
            let _ = writeln!(io::stderr(), "{errors}");
            ExitCode::from(EXIT_CONFIG)
        }
        // `outboard schema | head` is no failure.
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "outboard: {}", chain(&failure));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
