//! A task that asks the application for others, and takes its answer in.

use std::task::{Context, Poll};

use bytes::Bytes;
use pingora::http::RequestHeader;

use super::Gone;
use crate::http1::AnswerHead;
use crate::proxy::caching::fill::Fill;
use crate::proxy::keyed::taking::Taking;

/// What takes an answer in.
pub(super) enum Task {
    /// A fetch of the cache.
    Fill(Box<Fill>),
    /// A keyed request.
    Taking(Box<Taking>),
}

impl Task {
    /// What is asked.
    pub(super) fn request(&self) -> &RequestHeader {
        match self {
            Task::Fill(fill) => fill.request(),
            Task::Taking(taking) => taking.request(),
        }
    }

    /// Takes an informational head.
    pub(super) fn inform(&self, head: &AnswerHead) {
        match self {
            Task::Fill(fill) => fill.inform(head),
            Task::Taking(taking) => taking.inform(head),
        }
    }

    /// Takes the final head. Tells whether a client has it: then there is no way back.
    pub(super) fn write_head(&mut self, head: Box<AnswerHead>) -> bool {
        match self {
            Task::Fill(fill) => fill.write_head(head),
            Task::Taking(taking) => taking.write_head(head),
        }
    }

    /// Ready when there is room for more of the body.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self {
            Task::Fill(fill) => fill.poll_room(cx),
            Task::Taking(taking) => taking.poll_room(cx),
        }
    }

    /// Takes a part of the body.
    pub(super) fn write(&mut self, chunk: Bytes) -> Result<(), Gone> {
        match self {
            Task::Fill(fill) => fill.write(chunk),
            Task::Taking(taking) => taking.write(chunk),
        }
    }

    /// Bytes that wait for a client.
    pub(super) fn pending(&self) -> usize {
        match self {
            Task::Fill(fill) => fill.pending(),
            Task::Taking(taking) => taking.pending(),
        }
    }
}
