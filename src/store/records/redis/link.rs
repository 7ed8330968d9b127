//! Connections to the server, each used by one operation at a time.
//!
//! They are not multiplexed: WAIT holds up everything behind it on its connection, so that one slow replica would let
//! every other key time out. And they are not handed on after a failure: an operation that gives up, or whose caller
//! does, takes its connection with it, so that a late answer finds nobody to be given to.

use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, RedisResult, Value};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::dial::Dial;
use super::error::{Error, lost, refused, set_up};
use super::scripts::{self, Transition};

/// So many operations run at once. More wait for one of them, within their own time.
const MOST: usize = 64;

/// So many connections are kept while nobody uses them.
const IDLE: usize = 16;

/// The way to the server.
pub(super) struct Link {
    dial: Dial,
    timeout: Duration,
    /// What must not stand in an error.
    secrets: Vec<String>,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

/// A run of a script.
pub(super) struct Call<'a> {
    pub(super) script: &'a Transition,
    pub(super) keys: &'a [&'a str],
    pub(super) args: &'a [&'a [u8]],
    /// Whether a replica is to confirm it, and how long that may take.
    pub(super) wait: Option<Duration>,
}

/// What the server answered.
pub(super) struct Reply {
    pub(super) value: Value,
    /// How many replicas have it, where that was asked for.
    pub(super) replicas: Option<Result<i64, Error>>,
}

struct Connection {
    inner: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    /// Closes it now. Left alone, its task would wait for answers that are owed.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Connects when it is first used.
    pub(super) fn new(dial: Dial, timeout: Duration) -> Link {
        let secrets = [dial.settings.password(), dial.settings.username()];
        let secrets = secrets.into_iter().flatten().filter(|secret| !secret.is_empty()).map(str::to_owned).collect();
        Link { dial, timeout, secrets, permits: Semaphore::new(MOST), idle: Mutex::default() }
    }

    /// Where the server is, without credentials.
    pub(super) fn address(&self) -> String {
        self.dial.to_string()
    }

    /// How long an operation may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Runs a script within the time of an operation.
    pub(super) async fn run(&self, call: &Call<'_>) -> Result<Reply, Error> {
        self.run_within(self.timeout, call).await
    }

    /// The same within another time.
    pub(super) async fn run_within(&self, limit: Duration, call: &Call<'_>) -> Result<Reply, Error> {
        let mut values = self.within(limit, |in_full| commands(call, in_full)).await?.into_iter();
        let value = self.accepted(values.next())?;
        let replicas = call.wait.map(|_| match self.accepted(values.next())? {
            Value::Int(replicas) => Ok(replicas),
            _ => Err(Error::Unexpected("expected a number of replicas")),
        });
        Ok(Reply { value, replicas })
    }

    /// Runs a command that is no script.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Error> {
        let values = self.within(self.timeout, |_| vec![command.clone()]).await?;
        self.accepted(values.into_iter().next())
    }

    fn accepted(&self, value: Option<Value>) -> Result<Value, Error> {
        match value {
            Some(Value::ServerError(error)) => Err(refused(&error, &self.secrets)),
            Some(value) => Ok(value),
            None => Err(Error::Unexpected("expected more answers")),
        }
    }

    async fn within(&self, limit: Duration, commands: impl Fn(bool) -> Vec<Cmd>) -> Result<Vec<Value>, Error> {
        let result = timeout(limit, self.attempt(&commands)).await.unwrap_or(Err(Error::Timeout(limit)));
        if matches!(result, Err(Error::Timeout(_) | Error::Lost(_))) {
            // What is wrong with one connection is wrong with its neighbours. A new one must be answered to before
            // anything is asked on it, so that nothing is queued in a server that hangs.
            self.idle.lock().clear();
        }
        result
    }

    async fn attempt(&self, commands: &impl Fn(bool) -> Vec<Cmd>) -> Result<Vec<Value>, Error> {
        let _permit = self.permits.acquire().await.map_err(|_| Error::Lost("closed".to_owned()))?;
        let mut broken = None;
        if let Some(mut connection) = self.idle() {
            match connection.exchange(commands).await {
                Ok(values) => return Ok(self.keep(connection, values)),
                // It ended while nobody used it, as after a restart of the server, or while it was used. Every script
                // may be run again with the same arguments: it does nothing twice and answers the same.
                Err(error) => broken = Some(lost(&error, &self.secrets)),
            }
            self.idle.lock().clear();
        }
        let mut connection = match (self.connect().await, broken) {
            // The first time it may have been carried out: that must not be taken for a server that was never asked.
            (Err(Error::Connect { .. }), Some(lost)) => return Err(lost),
            (connected, _) => connected?,
        };
        let values = connection.exchange(commands).await.map_err(|error| lost(&error, &self.secrets))?;
        Ok(self.keep(connection, values))
    }

    /// A connection that nobody uses and that was not closed.
    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        std::iter::from_fn(|| idle.pop()).find(|connection| !connection.driver.is_finished())
    }

    /// Takes a connection back that owes no answer. One that was refused something is let go: the server may not be
    /// the one it was, and the next connection may find another behind the name.
    fn keep(&self, connection: Connection, values: Vec<Value>) -> Vec<Value> {
        let mut idle = self.idle.lock();
        if values.iter().any(|value| matches!(value, Value::ServerError(_))) {
            idle.clear();
        } else if idle.len() < IDLE {
            idle.push(connection);
        }
        values
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let failed = |cause: std::io::Error| Error::Connect { address: self.address(), cause: cause.to_string() };
        let stream = self.dial.open().await.map_err(failed)?;
        let failed = |error| set_up(&error, &self.address(), &self.secrets);
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (inner, driver) =
            MultiplexedConnection::new_with_config(&self.dial.settings, stream, config).await.map_err(failed)?;
        let mut connection = Connection { inner, driver: tokio::spawn(driver) };
        // A server that hangs accepts, and would carry out later what it is sent now. The scripts go along, as one that
        // is not known would let its WAIT run for nothing; who may not load them sends them in full.
        // Not PING: a server that cannot write its disk refuses that, and can still be asked for answers.
        let mut echo = redis::cmd("ECHO");
        echo.arg("outboard");
        let greeting = [echo].into_iter().chain(scripts::awaited().map(Transition::load));
        let greeted = connection.send(greeting.collect()).await.map_err(failed)?;
        self.accepted(greeted.into_iter().next()).map(|_| connection)
    }
}

impl Connection {
    async fn exchange(&mut self, commands: &impl Fn(bool) -> Vec<Cmd>) -> RedisResult<Vec<Value>> {
        let values = self.send(commands(false)).await?;
        match values.first() {
            // It has not run, so it is not run again.
            Some(Value::ServerError(error)) if error.code() == "NOSCRIPT" => self.send(commands(true)).await,
            _ => Ok(values),
        }
    }

    /// In one pipeline, as WAIT speaks of the writes of its own connection.
    async fn send(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<Value>> {
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        let count = commands.len();
        for command in commands {
            pipeline.add_command(command);
        }
        self.inner.req_packed_commands(&pipeline, 0, count).await
    }
}

fn commands(call: &Call<'_>, in_full: bool) -> Vec<Cmd> {
    let mut commands = vec![call.script.command(in_full, call.keys, call.args)];
    if let Some(wait) = call.wait {
        let mut command = redis::cmd("WAIT");
        // 0 would be for ever.
        command.arg(1).arg(wait.as_millis().max(1) as u64);
        commands.push(command);
    }
    commands
}
