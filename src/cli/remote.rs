//! The running proxy, as the commands reach it: its administration, with the token where it can be found.

use std::path::PathBuf;
use std::time::Duration;

use super::Failure;
use crate::admin::client::Client;
use crate::admin::token::{RuntimeDirs, find_token};
use crate::config::load_file;

/// Where the running proxy's administration is.
#[derive(Debug, clap::Args)]
pub(super) struct Remote {
    /// The administration's address
    #[arg(long, env = "OUTBOARD_ADMIN", default_value = "127.0.0.1:9901")]
    admin: String,
    /// The proxy's configuration file: the address and the token file are taken from it
    #[arg(short, long, env = "OUTBOARD_CONFIG")]
    config: Option<PathBuf>,
    /// The file the token is in
    #[arg(long, env = "OUTBOARD_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Remote {
    /// A client for it; `with_token` for what needs one.
    pub(super) fn client(&self, with_token: bool, timeout: Duration) -> Result<Client, Failure> {
        let (mut address, mut token_file) = (self.admin.clone(), self.token_file.clone());
        if let Some(config) = &self.config {
            match load_file(config) {
                Ok(loaded) => {
                    address = loaded.config.admin.address;
                    token_file = token_file.or(loaded.config.admin.token_file);
                }
                // The process runs on with the one before: who has to drain it must not be kept from it by a bad edit.
                Err(errors) => eprintln!("outboard: {errors}\noutboard: asking {address} all the same"),
            }
        }
        let token = if with_token {
            find_token(&address, token_file.as_deref(), &RuntimeDirs::from_env())
                .map_err(|e| Failure::Remote(e.to_string()))?
        } else {
            None
        };
        Ok(Client::new(&address, token, timeout))
    }
}

/// Runs a short task of a command.
pub(super) fn block_on<T>(task: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(task))
}
