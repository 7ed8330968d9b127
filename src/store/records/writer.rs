//! The one thread that writes: what waits is written together and synced once (group commit).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::disk::{Disk, Op};
use super::{Clock, StoreError};
use crate::policy::idempotency::Hash;

/// How often it is looked whether something has ended, and how many records are removed at a time: between two commits, which
/// wait for it. Where there are more, the next go after the next commit.
const SWEEP: Duration = Duration::from_secs(1);
const SWEPT: usize = 256;

/// A disk that takes longer than this for one commit hangs: nothing more is begun meanwhile.
const HANGS: u64 = 5_000;

/// How long the end waits for a disk that hangs.
const LAST: Duration = Duration::from_secs(5);

/// A step to be made durable.
pub(super) enum Order {
    Open(Hash, Vec<u8>),
    Done(Hash, u64, Vec<u8>),
    Remove(Hash),
}

impl Order {
    fn op(&self) -> Op<'_> {
        match self {
            Order::Open(hash, record) => Op::Open(*hash, record),
            Order::Done(hash, expires, record) => Op::Done(*hash, *expires, record),
            Order::Remove(hash) => Op::Remove(*hash),
        }
    }
}

type Told = oneshot::Sender<Result<(), StoreError>>;

#[derive(Default)]
struct Queue {
    orders: Vec<Order>,
    told: Vec<Option<Told>>,
    /// Nothing more is taken.
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// The thread has ended.
    ended: Mutex<bool>,
    told: Condvar,
    /// Why nothing can be written; none while it can.
    broken: Mutex<Option<Arc<str>>>,
    /// The same, for a look that costs one load.
    works: AtomicBool,
    /// When the commit that runs began, in milliseconds of the clock; 0 where none does.
    began: AtomicU64,
}

/// Writes to a database.
pub(super) struct Writer {
    shared: Arc<Shared>,
    clock: Clock,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Begins to write to `disk`.
    pub(super) fn start(disk: Arc<Disk>, clock: Clock) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            ended: Mutex::default(),
            told: Condvar::new(),
            broken: Mutex::default(),
            works: AtomicBool::new(true),
            began: AtomicU64::new(0),
        });
        let work = Work { shared: shared.clone(), disk, clock: clock.clone() };
        let thread = std::thread::Builder::new().name("outboard-records".to_owned()).spawn(move || work.run())?;
        Ok(Writer { shared, clock, thread: Mutex::new(Some(thread)) })
    }

    /// Asks for a step; told once it is on the disk, or is not.
    pub(super) fn submit(&self, order: Order) -> oneshot::Receiver<Result<(), StoreError>> {
        let (told, when) = oneshot::channel();
        let mut queue = self.shared.queue.lock();
        if !queue.closed {
            queue.orders.push(order);
            queue.told.push(Some(told));
            drop(queue);
            self.shared.filled.notify_one();
        }
        when
    }

    /// Why nothing can be written now.
    pub(super) fn broken(&self) -> Option<Arc<str>> {
        let began = self.shared.began.load(Ordering::Relaxed);
        if began != 0 && (self.clock)().saturating_sub(began) > HANGS {
            return Some("the disk does not answer".into());
        }
        if self.shared.works.load(Ordering::Acquire) {
            return None;
        }
        self.shared.broken.lock().clone()
    }

    /// Writes what waits, and ends. A disk that hangs is not waited for: what it did not take is unknown to the next process.
    pub(super) fn close(&self) {
        self.shared.queue.lock().closed = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            let mut ended = self.shared.ended.lock();
            if !*ended {
                self.shared.told.wait_for(&mut ended, LAST);
            }
            if *ended {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct Work {
    shared: Arc<Shared>,
    disk: Arc<Disk>,
    clock: Clock,
}

impl Drop for Work {
    /// Also where the thread dies: nobody waits for what is never written.
    fn drop(&mut self) {
        self.breaks("the thread that writes the records has ended".into());
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        (queue.orders, queue.told) = (Vec::new(), Vec::new());
        drop(queue);
        *self.shared.ended.lock() = true;
        self.shared.told.notify_all();
    }
}

impl Work {
    fn run(self) {
        let (mut orders, mut told) = (Vec::new(), Vec::new());
        let mut swept = (self.clock)();
        let mut more = false;
        loop {
            let closed = {
                let mut queue = self.shared.queue.lock();
                if queue.orders.is_empty() && !queue.closed && !more {
                    self.shared.filled.wait_for(&mut queue, SWEEP);
                }
                std::mem::swap(&mut queue.orders, &mut orders);
                std::mem::swap(&mut queue.told, &mut told);
                queue.closed
            };
            if !orders.is_empty() {
                let done = self.commit(&orders);
                for told in told.drain(..).flatten() {
                    let _ = told.send(done.clone());
                }
                orders.clear();
            }
            if closed {
                return;
            }
            let now = (self.clock)();
            if more || now.saturating_sub(swept) >= SWEEP.as_millis() as u64 {
                swept = now;
                more = self.look_after(now);
            }
        }
    }

    fn commit(&self, orders: &[Order]) -> Result<(), StoreError> {
        let ops: Vec<Op<'_>> = orders.iter().map(Order::op).collect();
        self.shared.began.store((self.clock)().max(1), Ordering::Relaxed);
        let done = self.disk.commit(&ops);
        self.shared.began.store(0, Ordering::Relaxed);
        match done {
            Ok(()) => {
                self.works();
                Ok(())
            }
            Err(cause) => {
                let cause: Arc<str> = cause.to_string().into();
                self.breaks(cause.clone());
                Err(StoreError::Unavailable(cause))
            }
        }
    }

    /// Removes what has ended; finds out whether a disk that could not be written can be again. Tells whether there is more
    /// to remove.
    fn look_after(&self, now: u64) -> bool {
        self.disk.saw(now);
        if !self.shared.works.load(Ordering::Acquire) && self.commit(&[]).is_err() {
            return false;
        }
        match self.disk.expire(now, SWEPT) {
            Ok(gone) => gone == SWEPT,
            Err(cause) => {
                self.breaks(cause.to_string().into());
                false
            }
        }
    }

    fn works(&self) {
        if !self.shared.works.swap(true, Ordering::AcqRel) {
            *self.shared.broken.lock() = None;
        }
    }

    fn breaks(&self, cause: Arc<str>) {
        *self.shared.broken.lock() = Some(cause);
        self.shared.works.store(false, Ordering::Release);
    }
}
