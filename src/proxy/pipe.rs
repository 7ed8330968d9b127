//! From a task that asks the application to the client who began it: informational heads, then what there is to tell, then a
//! body in parts.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context as Poller, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::context::Trail;
use super::downstream::Downstream;
use super::wait::{Supervised, supervise};
use crate::http1::AnswerHead;
use crate::refusal::{Reason, Refusal};
use crate::timer::Timer;

/// So many informational heads wait for a client; more than that are dropped.
const INTERIM: usize = 8;

/// Between a task and the client who began it. `T`: what it tells.
pub(super) struct Pipe<T>(Mutex<Inner<T>>);

struct Inner<T> {
    interim: VecDeque<Box<AnswerHead>>,
    told: Option<T>,
    trail: Option<Trail>,
    chunks: VecDeque<Bytes>,
    queued: usize,
    ended: Option<Result<(), Refusal>>,
    left: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<T> Default for Pipe<T> {
    fn default() -> Self {
        Pipe(Mutex::new(Inner {
            interim: VecDeque::new(),
            told: None,
            trail: None,
            chunks: VecDeque::new(),
            queued: 0,
            ended: None,
            left: false,
            reader: None,
            writer: None,
        }))
    }
}

/// What comes next for the client.
enum Next<T> {
    Interim(Box<AnswerHead>),
    Told(T),
}

/// The task's end.
impl<T> Pipe<T> {
    /// Hands over an informational head.
    pub(super) fn inform(&self, head: &AnswerHead) {
        self.change(|pipe| {
            if pipe.interim.len() < INTERIM {
                pipe.interim.push_back(Box::new(head.clone()));
            }
        });
    }

    /// Tells the client.
    pub(super) fn tell(&self, told: T) {
        self.change(|pipe| pipe.told = Some(told));
    }

    /// Hands over a part of the body.
    pub(super) fn push(&self, chunk: Bytes) {
        self.change(|pipe| {
            pipe.queued += chunk.len();
            pipe.chunks.push_back(chunk);
        });
    }

    /// The body has ended, or broke off; what was said first holds.
    pub(super) fn end(&self, ended: Result<(), Refusal>) {
        self.change(|pipe| {
            pipe.ended.get_or_insert(ended);
        });
    }

    /// Leaves what the exchange was like.
    pub(super) fn leave_trail(&self, trail: Trail) {
        self.0.lock().trail = Some(trail);
    }

    fn change(&self, change: impl FnOnce(&mut Inner<T>)) {
        let reader = {
            let mut pipe = self.0.lock();
            if pipe.left {
                return;
            }
            change(&mut pipe);
            pipe.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Whether the client is gone.
    pub(super) fn has_left(&self) -> bool {
        self.0.lock().left
    }

    /// Bytes that the client has not taken yet.
    pub(super) fn queued(&self) -> usize {
        self.0.lock().queued
    }

    /// Ready when at most `most` bytes wait for the client, or it is gone.
    pub(super) fn poll_taken(&self, cx: &mut Poller<'_>, most: usize) -> Poll<()> {
        let mut pipe = self.0.lock();
        if pipe.queued <= most || pipe.left {
            return Poll::Ready(());
        }
        pipe.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The client's end.
impl<T> Pipe<T> {
    /// Waits for what there is to tell, for as long as its client is there. What is informational goes on to it at once.
    pub(super) async fn told(
        &self,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        deadline: Instant,
    ) -> Supervised<Result<T, Refusal>> {
        loop {
            match supervise(poll_fn(|cx| self.poll_next(cx)), down, timer, deadline, true).await {
                Supervised::Done(Ok(Next::Interim(head))) => down.inform(head.status, Some(&head)),
                Supervised::Done(Ok(Next::Told(told))) => return Supervised::Done(Ok(told)),
                Supervised::Done(Err(refusal)) => return Supervised::Done(Err(refusal)),
                Supervised::Left => return Supervised::Left,
                Supervised::Late => return Supervised::Late,
            }
        }
    }

    fn poll_next(&self, cx: &mut Poller<'_>) -> Poll<Result<Next<T>, Refusal>> {
        let mut pipe = self.0.lock();
        if let Some(head) = pipe.interim.pop_front() {
            return Poll::Ready(Ok(Next::Interim(head)));
        }
        match (pipe.told.take(), &pipe.ended) {
            (Some(told), _) => Poll::Ready(Ok(Next::Told(told))),
            (None, Some(Err(refusal))) => Poll::Ready(Err(refusal.clone())),
            (None, Some(Ok(()))) => Poll::Ready(Err(Reason::Internal.into())),
            (None, None) => {
                pipe.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// A part of the body; none at its end.
    pub(super) fn poll_chunk(&self, cx: &mut Poller<'_>) -> Poll<Result<Option<Bytes>, Refusal>> {
        let (chunk, writer) = {
            let mut pipe = self.0.lock();
            let Some(chunk) = pipe.chunks.pop_front() else {
                if let Some(ended) = &pipe.ended {
                    return Poll::Ready(ended.clone().map(|()| None));
                }
                pipe.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            pipe.queued -= chunk.len();
            (chunk, pipe.writer.take())
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Ok(Some(chunk)))
    }

    /// What the exchange was like, once it is over.
    pub(super) fn trail(&self) -> Option<Trail> {
        self.0.lock().trail.take()
    }

    /// The client leaves, or needs no more.
    pub(super) fn leave(&self) {
        let writer = {
            let mut pipe = self.0.lock();
            pipe.left = true;
            (pipe.chunks, pipe.queued) = (VecDeque::new(), 0);
            pipe.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}
