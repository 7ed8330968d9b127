//! SQLite behind ten connections, as far away as a remote database.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::schema;
use crate::demo::Error;

/// As many as a small application server usually has. It is what the sample application saturates on.
pub(super) const CONNECTIONS: usize = 10;

/// The database: ten connections, who waits for one, and how many queries were made.
pub(super) struct Pool {
    places: Semaphore,
    idle: Mutex<Vec<Arc<Mutex<Connection>>>>,
    latency: Duration,
    queries: AtomicU64,
    seed: u64,
    /// After the connections: they are closed before their files are removed.
    _folder: Folder,
}

impl Pool {
    /// A new database in a folder of its own, with the seeded rows in it.
    pub(super) fn open(latency: Duration, seed: u64) -> Result<Self, Error> {
        let folder = Folder::create()?;
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let connection = Connection::open(folder.0.join("payments.db"))?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")?;
            connections.push(connection);
        }
        if let Some(first) = connections.first_mut() {
            schema::create(first)?;
            schema::seed(first, seed)?;
        }
        Ok(Pool {
            places: Semaphore::new(CONNECTIONS),
            idle: Mutex::new(connections.into_iter().map(|c| Arc::new(Mutex::new(c))).collect()),
            latency,
            queries: AtomicU64::new(0),
            seed,
            _folder: folder,
        })
    }

    /// A connection, in the order in which they were asked for.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, Error> {
        let permit = self.places.acquire().await.map_err(|_| Error::Closed)?;
        let connection = self.idle.lock().pop().ok_or(Error::Closed)?;
        Ok(Lease { pool: self, connection, _permit: permit })
    }

    /// Where its files are.
    #[cfg(test)]
    pub(super) fn folder(&self) -> &std::path::Path {
        &self._folder.0
    }

    /// The rows as they were at the start. Waits for whoever has a connection.
    pub(super) async fn reset(&self) -> Result<(), Error> {
        let _all = self.places.acquire_many(CONNECTIONS as u32).await.map_err(|_| Error::Closed)?;
        let connection = self.idle.lock().last().cloned().ok_or(Error::Closed)?;
        let seed = self.seed;
        tokio::task::spawn_blocking(move || schema::seed(&mut connection.lock(), seed)).await??;
        Ok(())
    }

    /// SQL statements so far.
    pub(super) fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }
}

/// A connection that is given back when this is dropped.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    /// Shared, because a statement runs to its end on its thread even if its request was dropped meanwhile.
    connection: Arc<Mutex<Connection>>,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// One statement that takes as long as `weight` round trips: 1 for a row by its key, more for what a database has
    /// to work for.
    pub(super) async fn query<T, F>(&mut self, weight: u32, statement: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.take_time(1, weight).await;
        let connection = self.connection.clone();
        Ok(tokio::task::spawn_blocking(move || statement(&connection.lock())).await??)
    }

    /// Several statements, a round trip each, all or nothing. Their round trips come first, so that the one writer SQLite allows is not
    /// held for them and a request that is dropped leaves no transaction open.
    pub(super) async fn transaction<T, F>(&mut self, statements: u32, body: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.take_time(statements, statements).await;
        let connection = self.connection.clone();
        let work = move || -> rusqlite::Result<T> {
            let mut connection = connection.lock();
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let result = body(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        Ok(tokio::task::spawn_blocking(work).await??)
    }

    async fn take_time(&self, statements: u32, weight: u32) {
        self.pool.queries.fetch_add(statements.into(), Ordering::Relaxed);
        tokio::time::sleep(self.pool.latency * weight).await;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pool.idle.lock().push(self.connection.clone());
    }
}

/// A folder in the system's temporary folder, only ours, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!("outboard-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| Error::Folder { path: path.clone(), source })?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing is left to do about a temporary folder that cannot be removed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
