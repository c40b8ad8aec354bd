//! A message of the client's that waits for its slot, and what the client says behind it.

use super::super::{BUFFER, READ, Session, Who};
use super::{Message, Waiting, now};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Sends the message that waits, when it has its slot; tells the client, when it has none. Whether anything moved.
    pub(in crate::proxy::ws::session) fn poll_slot(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(slots) = &mut self.slots else { return false };
        let Some(waiting) = &mut slots.waiting else { return false };
        let denied = match waiting.denied.take() {
            Some(denied) => denied,
            None => match waiting.slot.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Err(denied)) => denied,
                Poll::Ready(Ok(permit)) => {
                    let Some(Waiting { beginning, frames, replaced, .. }) = slots.waiting.take() else { return false };
                    slots.tracker.watch(slots.route.watch(self.errors.call.destination.upstream));
                    let first = !slots.tracker.any_run();
                    slots.tracker.began(beginning, permit, now());
                    let message = Message { frames: &frames, text: &[], replaced: replaced.as_deref() };
                    if let Some(redial) = &mut self.redial {
                        redial.asked(first, &message).send(&mut self.provider, cx);
                    }
                    message.send(&mut self.provider, cx);
                    return true;
                }
            },
        };
        // In the middle of a message of the provider's nothing else can be said.
        if !self.provider.frames.is_between_messages() {
            waiting.denied = Some(denied);
            return false;
        }
        let Some(Waiting { beginning, .. }) = slots.waiting.take() else { return false };
        let message = self.errors.denied(denied, &beginning.id);
        slots.tracker.refuse(beginning);
        if let Some(message) = message {
            self.client.tell(cx, &message);
        }
        true
    }

    /// Keeps what came behind a message that waits.
    pub(in crate::proxy::ws::session) fn keep(&mut self, rest: &[u8]) {
        if let Some(slots) = self.slots.as_mut().filter(|_| !rest.is_empty()) {
            slots.ahead.extend_from_slice(rest);
        }
    }

    /// While a message waits, reads on for the one reason that a client that leaves is noticed; when it waits no more, what was
    /// kept is taken before anything else. None when there is neither.
    pub(in crate::proxy::ws::session) fn read_ahead(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        let slots = self.slots.as_mut()?;
        if slots.waiting.is_none() {
            let kept = std::mem::take(&mut slots.ahead);
            if kept.is_empty() {
                return None;
            }
            let fed = self.feed(Who::Client, &kept, cx);
            self.keep(kept.get(fed.length..).unwrap_or_default());
            self.settle(Who::Client, fed, cx);
            return Some(true);
        }
        if slots.ahead.len() >= READ {
            return Some(false);
        }
        let client = &mut self.client;
        let read = BUFFER.with_borrow_mut(|buffer| match client.poll_read(cx, buffer) {
            Poll::Pending => None,
            Poll::Ready(Ok(length @ 1..)) => {
                slots.ahead.extend_from_slice(buffer.get(..length).unwrap_or_default());
                Some(Ok(()))
            }
            Poll::Ready(Ok(_)) => Some(Err(None)),
            Poll::Ready(Err(error)) => Some(Err(Some(error))),
        });
        match read {
            None => return Some(false),
            Some(Ok(())) => client.hear(Instant::now()),
            Some(Err(error)) => self.ended(Who::Client, error.as_ref(), cx),
        }
        Some(true)
    }
}
