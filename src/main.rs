//! The command `outboard`: parses the arguments and calls. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match outboard::cli::Cli::try_parse() {
        Ok(cli) => outboard::cli::run(cli),
        Err(error) => {
            // Help and version come this way too, and are no error.
            let code = if error.use_stderr() { outboard::cli::EXIT_CONFIG } else { 0 };
            let _ = error.print();
            ExitCode::from(code)
        }
    }
}
