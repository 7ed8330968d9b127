//! Both directions of an exchange: each takes what it has room for and says what happened.

use std::task::{Context as Poller, Poll};

use tokio::time::{Duration, Instant};

use super::endings::sent;
use super::{BURST, Event, Exchange, Gone, Reason, Stage, Upload, upload};

impl Exchange<'_, '_> {
    /// From the client to the application.
    pub(super) fn poll_upload(&mut self, cx: &mut Poller<'_>) -> Poll<Event> {
        let Some(origin) = &mut self.origin else { return Poll::Pending };
        if matches!(self.upload, Upload::Streaming) {
            for _ in 0..BURST {
                match origin.poll_room(cx) {
                    Poll::Ready(Ok(())) => {}
                    // It may have answered before it closed: what it wrote is still read.
                    Poll::Ready(Err(_)) => {
                        self.upload = Upload::Stopped;
                        return Poll::Pending;
                    }
                    Poll::Pending => {
                        self.upload_waits_for_client = false;
                        return Poll::Pending;
                    }
                }
                match self.down.poll_read(cx) {
                    Poll::Ready(Ok(Some(chunk))) => {
                        self.cx.request_bytes += chunk.len() as u64;
                        if self.cx.request_bytes > self.route.max_body {
                            return Poll::Ready(Event::Upload(upload::too_large(self.route.max_body)));
                        }
                        let now = Instant::now();
                        let waited =
                            if self.upload_waits_for_client { now - self.upload_moved } else { Duration::ZERO };
                        self.pace.came(chunk.len(), waited, self.cx.state.limits.min_send_rate, now);
                        self.upload_moved = now;
                        if origin.write(cx, chunk).is_err() {
                            self.upload = Upload::Stopped;
                            return Poll::Pending;
                        }
                    }
                    Poll::Ready(Ok(None)) => {
                        self.upload = Upload::Ending;
                        break;
                    }
                    Poll::Ready(Err(refusal)) => {
                        if refusal.reason == Reason::ClientLeft {
                            self.upload = Upload::Stopped;
                            return Poll::Ready(Event::Gone);
                        }
                        return Poll::Ready(Event::Upload(refusal));
                    }
                    Poll::Pending => {
                        if !std::mem::replace(&mut self.upload_waits_for_client, true) {
                            let now = Instant::now();
                            self.pace.was_blocked(now - self.upload_moved);
                            self.upload_moved = now;
                        }
                        return Poll::Pending;
                    }
                }
            }
            if matches!(self.upload, Upload::Streaming) {
                cx.waker().wake_by_ref();
            }
        }
        if matches!(self.upload, Upload::Ending) {
            match origin.poll_end(cx) {
                Poll::Ready(Ok(())) => {
                    self.upload = Upload::Done;
                    self.upload_moved = Instant::now();
                    self.answer_moved = self.upload_moved;
                    self.pace.took = Duration::ZERO;
                    if self.streamed {
                        // Its work begins: a place that was lent meanwhile is needed again.
                        self.cx.watch.waits_for_application();
                        if let Some(place) = &mut self.cx.place {
                            place.take_back();
                        }
                    }
                }
                Poll::Ready(Err(_)) => self.upload = Upload::Stopped,
                Poll::Pending => self.upload_waits_for_client = false,
            }
        }
        Poll::Pending
    }

    /// From the application to the client.
    pub(super) fn poll_answer(&mut self, cx: &mut Poller<'_>) -> Poll<Event> {
        if self.stage == Stage::End {
            if self.cx.client_left {
                return Poll::Ready(Event::Sent);
            }
            self.waits_for_client = true;
            return self.down.poll_end(cx, &mut self.trailers).map(sent);
        }
        let Some(origin) = &mut self.origin else { return Poll::Pending };
        if self.stage == Stage::Head {
            self.waits_for_client = false;
            return origin.poll_head(cx).map(Event::Head);
        }
        for _ in 0..BURST {
            if !self.cx.client_left {
                match self.down.poll_room(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(Gone)) => return Poll::Ready(Event::Gone),
                    Poll::Pending => {
                        if !self.waits_for_client {
                            self.waits_for_client = true;
                            self.answer_moved = Instant::now();
                        }
                        return Poll::Pending;
                    }
                }
            }
            if self.waits_for_client {
                self.waits_for_client = false;
                self.pace.took += self.answer_moved.elapsed();
                self.answer_moved = Instant::now();
            }
            // What came already stands for more.
            if !self.cx.client_left {
                match self.down.write_more(cx) {
                    Ok(false) => {}
                    Ok(true) => {
                        self.answer_moved = Instant::now();
                        continue;
                    }
                    Err(Gone) => return Poll::Ready(Event::Gone),
                }
            }
            let Poll::Ready(read) = origin.poll_body(cx) else {
                // Nothing more comes at once: what is there goes to the client now.
                if !self.cx.client_left && self.down.flush(cx).is_err() {
                    return Poll::Ready(Event::Gone);
                }
                return Poll::Pending;
            };
            match read {
                Ok(Some(chunk)) => {
                    self.answer_moved = Instant::now();
                    // For a client that was told the length this may be the end, whatever is still to come.
                    if let Some(change) = &self.cx.change {
                        change.goes_on();
                    }
                    if !self.cx.client_left && self.down.write(cx, chunk).is_err() {
                        return Poll::Ready(Event::Gone);
                    }
                }
                Ok(None) if self.down.is_http2() && origin.is_http2() => {
                    return origin.poll_trailers(cx).map(|trailers| match trailers {
                        Ok(trailers) => {
                            self.trailers = trailers;
                            Event::Answer(Ok(()))
                        }
                        Err(broken) => Event::Answer(Err(broken)),
                    });
                }
                Ok(None) => return Poll::Ready(Event::Answer(Ok(()))),
                Err(broken) => return Poll::Ready(Event::Answer(Err(broken))),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
