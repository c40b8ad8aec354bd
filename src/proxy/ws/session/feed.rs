//! What one piece from a side comes to: what passes, what is looked at, how it ends.

use super::redial::Heard;
use super::slots::{Message, Pass};
use super::{Session, Who};
use crate::canon::{Fault, Phase};
use crate::detect::Coded;
use crate::proxy::ws::close::{CloseMessage, SessionErrors};
use crate::proxy::ws::first_message::FirstMessages;
use crate::proxy::ws::frames::{Look, Unit, Violation};
use crate::telemetry::metrics::Direction;
use crate::wire::frame::Opcode;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::Context;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// What one piece from a side came to.
pub(super) struct Fed {
    at: Instant,
    pub(super) length: usize,
    /// A close: as it came, its code, its reason.
    close: Option<(Vec<u8>, Option<u16>, String)>,
    outcome: Result<(), Violation>,
    /// The client's first message has no place for the route's credentials.
    unfit: bool,
    /// All there was is an answer to our own ping.
    pong_only: bool,
    /// There was a message or a part of one.
    spoke: bool,
    /// A generation was silent, and the session ends with it.
    silence: Option<CloseMessage>,
    /// Pings of the client's that no provider can answer.
    pings: Vec<Vec<u8>>,
    /// The provider said that its socket ends because nothing was said: frames and text.
    parted: Option<(Vec<u8>, Vec<u8>)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Passes on what came from one side, as far as it may pass.
    pub(super) fn feed(&mut self, who: Who, input: &[u8], cx: &mut Context<'_>) -> Fed {
        let may_part = who == Who::Provider && self.may_part(true);
        let Session { client, provider, errors, first_messages, slots, route, redial, .. } = self;
        let (from, to, direction) = match who {
            Who::Client => (client, provider, Direction::Upstream),
            Who::Provider => (provider, client, Direction::Downstream),
        };
        let at = Instant::now();
        from.hear(at);
        let mut fed = Fed {
            at,
            length: input.len(),
            close: None,
            outcome: Ok(()),
            unfit: false,
            pong_only: false,
            spoke: false,
            silence: None,
            pings: Vec::new(),
            parted: None,
        };
        if from.close_seen.is_some() {
            return fed;
        }
        let (over, nonce) = (to.close_sent, from.nonce());
        let profile = &route.config.profile;
        let slots = RefCell::new(slots.as_mut());
        let redial = RefCell::new(redial.as_mut());
        let sees = first_messages.sees();
        let last = errors.last().filter(|_| who == Who::Provider);
        let mut suspect = |opcode: Opcode, text: &[u8]| {
            let mut slots = slots.borrow_mut();
            match (who, opcode) {
                // No message has this: one goes on that was too long to be held.
                (_, Opcode::Continuation) => {
                    match who {
                        Who::Client => {
                            redial.borrow_mut().iter_mut().for_each(|redial| redial.openings.is_unknown());
                            slots.iter_mut().for_each(|slots| slots.client_unread(text));
                        }
                        Who::Provider => slots.iter_mut().for_each(|slots| slots.unseen()),
                    }
                    false
                }
                (Who::Client, Opcode::Binary) => slots.as_mut().is_some_and(|slots| {
                    slots.client_binary(text);
                    false
                }),
                (Who::Client, _) => slots.as_mut().is_some_and(|slots| slots.looks_at(text)) || sees(text),
                (Who::Provider, Opcode::Binary) => slots.as_mut().is_some_and(|slots| {
                    slots.provider_binary(text);
                    false
                }),
                (Who::Provider, _) => {
                    let matters = slots.as_mut().is_some_and(|slots| slots.may_matter(text));
                    let answers = || redial.borrow().as_ref().is_some_and(|redial| redial.openings.may_answer(text));
                    let ends = || last.as_ref().is_some_and(|last| last.may_end(text));
                    matters || answers() || profile.may_be_error(Phase::Frame, text) || ends()
                }
            }
        };
        let stop = Cell::new(false);
        let taken = from.frames.feed(input, &mut suspect, &stop, &mut |unit| match unit {
            Unit::Close(frame, code, reason) => fed.close = Some((frame.to_vec(), code, reason.to_owned())),
            Unit::Control(frame, payload) if payload == nonce => {
                fed.pong_only = frame.len() == input.len();
                if who == Who::Provider {
                    redial.borrow_mut().iter_mut().for_each(|redial| redial.is_heard());
                }
            }
            _ if over || fed.unfit || fed.parted.is_some() => {}
            Unit::Control(frame, payload) if !to.is_there() => {
                if is_ping(frame) {
                    fed.pings.push(payload.to_vec());
                }
            }
            Unit::Control(frame, payload) => {
                if let Some(redial) = redial.borrow_mut().as_mut() {
                    match (who, is_ping(frame)) {
                        (Who::Client, true) => redial.client_pings(payload),
                        (Who::Provider, false) => redial.provider_pongs(payload),
                        _ => {}
                    }
                }
                to.send(cx, frame);
            }
            Unit::Pass(frames) => {
                fed.spoke = true;
                if who == Who::Provider {
                    errors.passed();
                }
                if let Some(redial) = redial.borrow_mut().as_mut() {
                    redial.is_heard();
                    if who == Who::Client {
                        redial.openings.said_other();
                    }
                }
                to.send(cx, frames);
            }
            Unit::Suspect(frames, text) if who == Who::Client => {
                fed.spoke = true;
                let Some((opened, keyed)) = open(first_messages, errors, text) else { return fed.unfit = true };
                let message = Message { frames, text, replaced: opened.as_deref() };
                let opens = redial
                    .borrow_mut()
                    .as_mut()
                    .is_some_and(|redial| redial.said(text, message.replaced.unwrap_or(text), keyed));
                let ran = slots.borrow().as_ref().is_some_and(|slots| slots.any_run());
                let pass = slots.borrow_mut().as_mut().map_or(Pass::Now, |slots| slots.client(&message, errors));
                match pass {
                    Pass::Now => {
                        let runs = slots.borrow().as_ref().is_some_and(|slots| slots.any_run());
                        if let Some(redial) = redial.borrow_mut().as_mut().filter(|_| runs && !opens) {
                            redial.asked(!ran, &message).send(to, cx);
                        }
                        message.send(to, cx);
                    }
                    Pass::Never => {}
                    Pass::Later => stop.set(true),
                }
            }
            Unit::Suspect(frames, text) => {
                fed.spoke = true;
                let message = Coded::message(errors.codec(), text);
                if let Some(redial) = redial.borrow_mut().as_mut() {
                    let quiet = slots.borrow().as_ref().is_some_and(|slots| !slots.any_run()) || redial.has_crossed();
                    let quiet = may_part && quiet;
                    match redial.heard(&message, errors, quiet && !errors.is_blamed()) {
                        Heard::Passes => redial.is_heard(),
                        Heard::Again => return,
                        Heard::Ends => {
                            fed.parted = Some((frames.to_vec(), text.to_vec()));
                            return stop.set(true);
                        }
                    }
                }
                let replaced = errors.message(&message);
                if let Some(slots) = slots.borrow_mut().as_mut() {
                    let failed = errors.take_failed();
                    slots.provider(message.body(), failed.as_ref(), &errors.call);
                    if let Some(redial) = redial.borrow_mut().as_mut().filter(|_| slots.any_run()) {
                        redial.openings.said_other();
                    }
                    // Before the message, which may tell the client that all is well.
                    for (silent, id) in slots.take_silent() {
                        let told = errors.silent(silent, &id);
                        told.message.iter().for_each(|message| to.tell(cx, message));
                        fed.silence = fed.silence.take().or(told.closing);
                    }
                }
                match replaced {
                    Some(message) => to.tell(cx, &message),
                    None => to.send(cx, frames),
                }
                if let Some(refusal) = errors.refusal() {
                    to.tell(cx, &refusal);
                }
            }
        });
        match taken {
            Ok(taken) => fed.length = taken,
            Err(violation) => fed.outcome = Err(violation),
        }
        let input = input.get(..fed.length).unwrap_or(input);
        route.metrics.websocket_passed(direction, from.frames.count(), input.len() as u64);
        if let Some(slots) = slots.borrow_mut().as_mut() {
            slots.charge_unread(&errors.call);
        }
        if who == Who::Client && first_messages.sees_nothing() && slots.borrow().is_none() {
            from.frames.look(Look::Nothing);
        }
        self.over |= errors.is_fatal();
        match who {
            Who::Client => errors.call.received(input.len()),
            Who::Provider => errors.call.sent(input.len()),
        }
        fed
    }

    pub(super) fn settle(&mut self, who: Who, fed: Fed, cx: &mut Context<'_>) {
        if !fed.pong_only {
            self.active = fed.at;
            self.closing_moves(who.other());
        }
        for payload in &fed.pings {
            self.client.send_own(cx, Opcode::Pong, payload);
        }
        if fed.spoke {
            if let Some(redial) = self.redial.as_mut().filter(|_| who == Who::Client) {
                redial.is_used();
            }
            self.last_word = Some(who);
            if who == Who::Client {
                self.errors.asked();
            }
            if let Some(keeps) = self.keeps_open.as_mut().filter(|_| who == Who::Client) {
                keeps.spoke(fed.at);
            }
        }
        if let Err(violation) = fed.outcome {
            return self.violated(who, violation, cx);
        }
        if fed.unfit {
            return self.fail(Fault::FirstMessageUnfit, None, None, cx);
        }
        if let Some(closing) = fed.silence {
            return self.end_in_silence(&closing, cx);
        }
        if self.tell_silences(cx) {
            return;
        }
        if let Some((frames, text)) = fed.parted {
            return self.parts_told(frames, text, cx);
        }
        let Some((frame, code, reason)) = fed.close else { return };
        if who == Who::Provider && self.parts_with((&frame, code, &reason), cx) {
            return;
        }
        let client_stays = self.client.close_seen.is_none() && !self.client.close_sent;
        if who == Who::Provider && client_stays && self.errors.is_cut(code) {
            return self.cut(code, cx);
        }
        if who == Who::Provider && self.breaks_off(code, &reason, cx) {
            return;
        }
        self.closes_with(who, code);
        if self.tell_silences(cx) {
            return;
        }
        match who {
            Who::Client if !self.provider.is_there() => self.answer_closes(cx),
            Who::Client => self.provider.pass_close(cx, &frame),
            // The answer to the client's own close tells nothing.
            Who::Provider if self.client.close_seen.is_some() => self.client.pass_close(cx, &frame),
            Who::Provider if self.client.close_sent => {}
            Who::Provider => self.provider_closed(&frame, code, &reason, cx),
        }
    }
}

/// Whether a control frame is a ping.
fn is_ping(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 0x0f == 0x9)
}

/// Looks at one of the client's first messages. What goes on in its place, if it does not go on as it came; none when it has no
/// place for what the route puts into it. And whether there is a key in it.
fn open(
    first_messages: &mut FirstMessages,
    errors: &mut SessionErrors,
    text: &[u8],
) -> Option<(Option<Vec<u8>>, bool)> {
    if first_messages.is_over() {
        return Some((first_messages.without_gateway_keys(text), false));
    }
    let route = Arc::clone(&errors.call.route);
    let member = route.headers.first_message(errors.call.destination);
    let opened = first_messages.message(text, member.map(|(name, value)| (name, value.reveal()))).ok()?;
    errors.call.hide(opened.secrets);
    Some((opened.replaced, opened.keyed))
}
