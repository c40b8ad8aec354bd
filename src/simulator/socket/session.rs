//! What is sent on one socket, and when. Every context has a queue of actions of its own, and the queues are played side by side.

mod failure;
mod silence;

use crate::simulator::audio::{Chunks, Format};
use crate::simulator::dialect::{ClientMessage, Reaction, SocketEndpoint};
use crate::simulator::engine::Engine;
use crate::simulator::fault::{Failure, RequestedFault, Timing};
use crate::simulator::plan::Slot;
use crate::simulator::script::{Action, Actions};
use crate::simulator::speech::timing;
use crate::simulator::success::{SPEED, timed};
use crate::simulator::template::{CloseTemplate, Vars, fill};
use crate::simulator::token;
use serde_json::Value;
use silence::Hush;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a close reason may be, in bytes.
const REASON: usize = 123;
/// How long it takes until the first word of an answer.
const THINKING: Duration = Duration::from_millis(30);
/// As much of an answer as is good when it fails in the middle: two chunks and the pause between them.
const GOOD: usize = 3;

/// The handshake, as far as the session cares.
pub(crate) struct Opened {
    pub(crate) vars: Vars,
    pub(crate) format: Option<Value>,
    pub(crate) legacy: bool,
    pub(crate) authorised: bool,
    pub(crate) fault: Option<RequestedFault>,
}

/// One socket.
pub(crate) struct Session {
    engine: Arc<Engine>,
    endpoint: &'static SocketEndpoint,
    opened: Opened,
    answered: Vec<bool>,
    pending: Vec<Pending>,
    tracks: Vec<Track>,
    silences: Vec<Hush>,
}

/// A failure that waits for its moment.
struct Pending {
    fault: RequestedFault,
    /// A failure chosen by a message concerns the context of that message; one chosen by the handshake concerns any.
    chosen_in: Option<Option<String>>,
}

/// What one context still has to send.
struct Track {
    context: Option<String>,
    actions: VecDeque<Actions>,
    due: Instant,
    slot: Option<Slot>,
    spoke: bool,
    ending: bool,
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>, endpoint: &'static SocketEndpoint, mut opened: Opened) -> Session {
        let fault = opened.fault.take();
        let answered = vec![false; endpoint.on.len()];
        let mut session = Session {
            engine,
            endpoint,
            opened,
            answered,
            pending: Vec::new(),
            tracks: Vec::new(),
            silences: Vec::new(),
        };
        match fault {
            Some(fault) if fault.timing == Some(Timing::Open) => {
                let actions = session.fail(fault.failure, &None, false);
                session.push(&None, boxed(actions));
                session.hush(fault.failure, None, true);
            }
            fault => {
                let greeting = endpoint.greeting.iter().map(|text| Action::Text(fill(text, &session.opened.vars)));
                let greeting: Vec<Action> = greeting.collect();
                if !greeting.is_empty() {
                    session.push(&None, boxed(greeting));
                }
                session.pending.extend(fault.map(|fault| Pending { fault, chosen_in: None }));
            }
        }
        session
    }

    /// When there is something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.tracks.iter().filter(|track| !track.actions.is_empty()).map(|track| track.due).min()
    }

    /// What is to be done now.
    pub(crate) fn next(&mut self) -> Option<Action> {
        let busy = self.tracks.iter().enumerate().filter(|(_, track)| !track.actions.is_empty());
        let (at, _) = busy.min_by_key(|(_, track)| track.due)?;
        let track = &mut self.tracks[at];
        match track.actions.front_mut()?.next() {
            Some(Action::Pause(time)) => {
                track.due = Instant::now() + time.mul_f64(self.engine.pace);
                None
            }
            Some(Action::Wait(time)) => {
                track.due = Instant::now() + time;
                None
            }
            Some(act) => {
                // The other tracks are played in between.
                track.due = track.due.max(Instant::now());
                Some(act)
            }
            None => {
                let _ = track.actions.pop_front();
                if track.actions.is_empty() {
                    if let Some(slot) = track.slot.take() {
                        slot.end(true);
                    }
                    if track.ending {
                        let _ = self.tracks.remove(at);
                    }
                }
                None
            }
        }
    }

    /// Takes a message from the client: a text, or none when it is binary.
    pub(crate) fn receive(&mut self, text: Option<&[u8]>) {
        let message = read(text);
        let context = self.context_of(&message);
        if let Some(name) = text.and_then(token::find) {
            let fault = RequestedFault::parse(self.engine.provider, &name).filter(RequestedFault::on_socket);
            match fault {
                Some(fault) => {
                    if !self.engine.count_fault(&name, fault.once, "socket") {
                        self.pending.push(Pending { fault, chosen_in: Some(context.clone()) });
                    }
                }
                None => {
                    let text = serde_json::json!({"simulator": format!("there is no fault-{name} on this socket")});
                    return self.push(
                        &None,
                        boxed(vec![Action::Text(text.to_string()), Action::Close(4501, "no such fault".into())]),
                    );
                }
            }
        }
        if !self.opened.authorised {
            self.opened.authorised = self.endpoint.first_message_auth.iter().any(|key| message.text(key).is_some());
            if !self.opened.authorised && self.pending.is_empty() {
                let missing = self.named_failure(&self.engine.dialect.auth.missing);
                return self.push(&context, boxed(missing));
            }
        }
        if let (Some(contexts), Some(_)) = (&self.endpoint.contexts, &context) {
            let open = self.tracks.iter().filter(|track| track.context.is_some() && !track.ending);
            if open.clone().all(|track| track.context != context) && open.count() >= contexts.max {
                let refusal = self.named_failure(&contexts.fault);
                return self.push(&context, boxed(refusal));
            }
        }
        self.answer(&message, &context);
    }

    /// Queues what the message leads to, or the failure that was asked for.
    fn answer(&mut self, message: &ClientMessage, context: &Option<String>) {
        let fits = |(at, row): &(usize, &Reaction)| row.matches(message) && !(row.first && self.answered[*at]);
        let row = self.endpoint.on.iter().enumerate().find(fits).map(|(at, row)| {
            self.answered[at] = true;
            row
        });
        let vars = self.vars(message, context);
        let (good, end) = match row {
            Some(row) => match self.success(row, message, context, &vars) {
                Some(success) => success,
                None => {
                    let full = self.named_failure(&self.engine.dialect.plan.fault);
                    return self.push(context, boxed(full));
                }
            },
            None => (boxed(Vec::new()), Vec::new()),
        };
        let words = row.and_then(|row| row.words(message)).is_some();
        let before = row.map_or(0, |row| row.before.len());
        self.silences_begin(context);
        if let Some(at) = self.silence_of(context) {
            let actions = self.silenced(at, (good, end), words, before);
            self.mark_ending(row, context);
            return self.push(context, actions);
        }
        let mine = |pending: &Pending| pending.chosen_in.as_ref().is_none_or(|chosen| chosen == context);
        let Some(at) = self.pending.iter().position(mine) else {
            self.mark_ending(row, context);
            return self.push(context, Box::new(good.chain(end)));
        };
        let (fault, in_message) = (self.pending[at].fault, self.pending[at].chosen_in.is_some());
        // In the middle of an utterance, where there are any; else in the middle of what is sent.
        let (middle, utterance) = if words { (before + GOOD, true) } else { (GOOD, !self.endpoint.speaks()) };
        let mut good = good.peekable();
        let good: Actions = match fault.timing {
            Some(Timing::Middle) if utterance && good.peek().is_some() => Box::new(good.take(middle)),
            Some(Timing::Middle) if utterance && !end.is_empty() => boxed(end.into_iter().take(1).collect()),
            Some(Timing::End) if !end.is_empty() => Box::new(good),
            // It happens later.
            Some(Timing::Middle | Timing::End) => {
                self.mark_ending(row, context);
                return self.push(context, Box::new(good.chain(end)));
            }
            None | Some(_) => boxed(Vec::new()),
        };
        let _ = self.pending.remove(at);
        let failure = self.fail(fault.failure, context, in_message);
        self.push(context, Box::new(good.chain(failure)));
        self.hush(fault.failure, Some(context.clone()), true);
        if let (Some(track), Failure::Provider(_)) = (self.track(context), fault.failure) {
            track.ending = context.is_some();
        }
    }

    /// A success: what is spoken, and what ends it. None when the plan has no slot for it.
    fn success(
        &mut self,
        row: &'static Reaction,
        message: &ClientMessage,
        context: &Option<String>,
        vars: &Vars,
    ) -> Option<(Actions, Vec<Action>)> {
        let text = |text: &String| Action::Text(fill(text, vars));
        let words = row.words(message);
        if row.cancel
            && let Some(track) = self.track(context)
        {
            track.actions.clear();
        }
        let good: Vec<Action> = row.before.iter().map(text).collect();
        let mut end: Vec<Action> = row.after.iter().map(text).collect();
        end.extend(row.close.as_ref().map(|end| close(end, vars)));
        let Some(words) = words else { return Some((boxed(good), end)) };
        let asked = match message {
            ClientMessage::Json(json) => json.get("output_format").filter(|value| !value.is_null()).cloned(),
            _ => None,
        };
        let asked = asked.or_else(|| self.opened.format.clone()).unwrap_or_else(|| self.endpoint.format.clone().into());
        let mut format = Format::read(&asked);
        let (metered, plan) = (self.endpoint.metered, self.engine.plan.clone());
        let track = self.track_or_new(context);
        if metered && track.slot.is_none() {
            track.slot = Some(plan.take().ok()?);
        }
        // One WAV header for all that the context says.
        format.wav &= !std::mem::replace(&mut track.spoke, true);
        let timestamps = vars.get("add_timestamps") == Some(&Value::Bool(true));
        let speech = speech(self.endpoint, words, format, timestamps, vars.clone());
        Some((Box::new(good.into_iter().chain(speech)), end))
    }

    /// Marks the context as ending when the row says so.
    fn mark_ending(&mut self, row: Option<&'static Reaction>, context: &Option<String>) {
        if row.is_some_and(|row| row.ends) {
            self.track_or_new(context).ending = context.is_some();
        }
    }

    fn push(&mut self, context: &Option<String>, actions: Actions) {
        let thinking = std::iter::once(Action::Pause(THINKING));
        self.track_or_new(context).actions.push_back(Box::new(thinking.chain(actions)));
    }

    fn track(&mut self, context: &Option<String>) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.context == *context)
    }

    fn track_or_new(&mut self, context: &Option<String>) -> &mut Track {
        let at = self.tracks.iter().position(|track| track.context == *context).unwrap_or_else(|| {
            self.tracks.push(Track {
                context: context.clone(),
                actions: VecDeque::new(),
                due: Instant::now(),
                slot: None,
                spoke: false,
                ending: false,
            });
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[at];
        if track.actions.is_empty() {
            track.due = Instant::now();
        }
        track
    }

    fn context_of(&self, message: &ClientMessage) -> Option<String> {
        message.text(self.endpoint.context.as_deref()?).map(str::to_owned)
    }

    fn vars(&mut self, message: &ClientMessage, context: &Option<String>) -> Vars {
        let fields = message.fields();
        for key in &self.endpoint.remember {
            if let Some(value) = fields.get(key) {
                self.opened.vars.insert(key.clone(), value.clone());
            }
        }
        let mut vars = fields;
        vars.extend(self.opened.vars.clone());
        if let Some(key) = &self.endpoint.context {
            vars.insert(key.clone(), context.clone().into());
        }
        vars
    }
}

fn read(text: Option<&[u8]>) -> ClientMessage {
    let Some(bytes) = text else { return ClientMessage::Binary };
    match serde_json::from_slice(bytes) {
        Ok(json @ Value::Object(_)) => ClientMessage::Json(json),
        _ => ClientMessage::Text(String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn boxed(actions: Vec<Action>) -> Actions {
    Box::new(actions.into_iter())
}

fn close(end: &CloseTemplate, vars: &Vars) -> Action {
    Action::Close(end.code, cut(&fill(&end.reason, vars)))
}

/// As much of a reason as a close frame holds.
fn cut(reason: &str) -> String {
    reason[..reason.floor_char_boundary(REASON)].to_owned()
}

/// Audio, a tenth of a second at a time.
fn speech(endpoint: &'static SocketEndpoint, text: &str, format: Format, timestamps: bool, mut vars: Vars) -> Actions {
    let timed_template = endpoint.timed.as_ref().filter(|_| timestamps);
    Box::new(Chunks::new(timing(text), format).flat_map(move |chunk| {
        vars.extend(timed(&chunk, 0));
        let sent = if endpoint.binary {
            Action::Binary(chunk.audio.clone())
        } else {
            Action::Text(fill(&endpoint.chunk, &vars))
        };
        let timed = timed_template.filter(|_| !chunk.spoken.is_empty()).map(|text| Action::Text(fill(text, &vars)));
        let pause = Action::Pause(Duration::from_secs_f64(chunk.seconds / SPEED));
        [Some(sent), timed, Some(pause)].into_iter().flatten()
    }))
}
