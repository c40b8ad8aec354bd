//! What is said on one socket, and when: every context has a track of its own, and the tracks are played side by side.

use super::row::{End, Heard, On, Socket};
use super::wish::{What, When, Wish, after_upgrade};
use crate::simulator::audio::{Chunks, Format};
use crate::simulator::choose;
use crate::simulator::engine::Engine;
use crate::simulator::fault::{self, Fault, Moment};
use crate::simulator::plan::Slot;
use crate::simulator::speech::timing;
use crate::simulator::success::{SPEED, timed};
use crate::simulator::template::{Vars, fill};
use bytes::Bytes;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Text(String),
    Binary(Bytes),
    Pause(Duration),
    /// Bytes beside the protocol.
    Raw(Bytes),
    Close(u16, String),
    /// End the connection without a word.
    Drop,
    Reset,
    /// Say nothing more; pings are still answered.
    Mute,
    /// Neither say nor read anything more.
    Dead,
}

type Acts = Box<dyn Iterator<Item = Act> + Send>;

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
    pub(crate) wish: Option<Wish>,
}

/// One socket.
pub(crate) struct Session {
    engine: Arc<Engine>,
    socket: &'static Socket,
    opened: Opened,
    heard: usize,
    answered: Vec<bool>,
    wishes: Vec<Pending>,
    tracks: Vec<Track>,
}

/// A failure that waits for its moment.
struct Pending {
    wish: Wish,
    /// A failure chosen by a message concerns the context of that message; one chosen by the handshake concerns any.
    chosen_in: Option<Option<String>>,
}

/// What one context still has to say.
struct Track {
    context: Option<String>,
    acts: VecDeque<Acts>,
    due: Instant,
    slot: Option<Slot>,
    spoke: bool,
    ending: bool,
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>, socket: &'static Socket, mut opened: Opened) -> Session {
        let wish = opened.wish.take();
        let answered = vec![false; socket.on.len()];
        let mut session =
            Session { engine, socket, opened, heard: 0, answered, wishes: Vec::new(), tracks: Vec::new() };
        match wish {
            Some(wish) if wish.when == When::Open => {
                let acts = session.failing(wish.what, &None, false);
                session.push(&None, boxed(acts));
            }
            wish => {
                let greeting = socket.greeting.iter().map(|text| Act::Text(fill(text, &session.opened.vars)));
                let greeting: Vec<Act> = greeting.collect();
                if !greeting.is_empty() {
                    session.push(&None, boxed(greeting));
                }
                session.wishes.extend(wish.map(|wish| Pending { wish, chosen_in: None }));
            }
        }
        session
    }

    /// When there is something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.tracks.iter().filter(|track| !track.acts.is_empty()).map(|track| track.due).min()
    }

    /// What is to be done now.
    pub(crate) fn next(&mut self) -> Option<Act> {
        let busy = self.tracks.iter().enumerate().filter(|(_, track)| !track.acts.is_empty());
        let (at, _) = busy.min_by_key(|(_, track)| track.due)?;
        let track = &mut self.tracks[at];
        match track.acts.front_mut()?.next() {
            Some(Act::Pause(time)) => {
                track.due = Instant::now() + time.mul_f64(self.engine.pace);
                None
            }
            Some(act) => {
                // The others get their turn.
                track.due = track.due.max(Instant::now());
                Some(act)
            }
            None => {
                let _ = track.acts.pop_front();
                if track.acts.is_empty() {
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

    /// Takes a message in: a text, or anything binary.
    pub(crate) fn hear(&mut self, text: Option<&[u8]>) {
        self.heard += 1;
        let heard = read(text);
        let context = self.context(&heard);
        if let Some(name) = text.and_then(choose::token) {
            match self.engine.socket_wish(&name) {
                Some(wish) => {
                    self.wishes.extend(wish.map(|wish| Pending { wish, chosen_in: Some(context.clone()) }));
                }
                None => {
                    let text = serde_json::json!({"simulator": format!("there is no fault-{name} on this socket")});
                    return self.push(
                        &None,
                        boxed(vec![Act::Text(text.to_string()), Act::Close(4501, "no such fault".into())]),
                    );
                }
            }
        }
        if !self.opened.authorised {
            self.opened.authorised = self.socket.first_message_auth.iter().any(|key| heard.text(key).is_some());
            if !self.opened.authorised && self.wishes.is_empty() {
                let missing = self.named(&self.engine.dialect.auth.missing);
                return self.push(&context, boxed(missing));
            }
        }
        if let (Some(contexts), Some(_)) = (&self.socket.contexts, &context) {
            let open = self.tracks.iter().filter(|track| track.context.is_some() && !track.ending);
            if open.clone().all(|track| track.context != context) && open.count() >= contexts.max {
                let refusal = self.named(&contexts.fault);
                return self.push(&context, boxed(refusal));
            }
        }
        self.answer(&heard, &context);
    }

    /// What the message leads to, or the failure that was asked for.
    fn answer(&mut self, heard: &Heard, context: &Option<String>) {
        let fits = |(at, row): &(usize, &On)| row.fits(heard) && !(row.first && self.answered[*at]);
        let row = self.socket.on.iter().enumerate().find(fits).map(|(at, row)| {
            self.answered[at] = true;
            row
        });
        let vars = self.vars(heard, context);
        let (good, end) = match row {
            Some(row) => match self.said(row, heard, context, &vars) {
                Some(said) => said,
                None => {
                    let full = self.named(&self.engine.dialect.plan.fault);
                    return self.push(context, boxed(full));
                }
            },
            None => (boxed(Vec::new()), Vec::new()),
        };
        let mine = |pending: &Pending| pending.chosen_in.as_ref().is_none_or(|chosen| chosen == context);
        let Some(at) = self.wishes.iter().position(mine) else {
            self.ends(row, context);
            return self.push(context, Box::new(good.chain(end)));
        };
        let (wish, in_message) = (self.wishes[at].wish, self.wishes[at].chosen_in.is_some());
        // In the middle of an utterance, where there are any; else in the middle of what is sent.
        let words = row.and_then(|row| row.words(heard)).is_some();
        let before = row.map_or(0, |row| row.before.len());
        let (middle, utterance) = if words { (before + GOOD, true) } else { (GOOD, !self.socket.speaks()) };
        let mut good = good.peekable();
        let good: Acts = match wish.when {
            When::Mid if utterance && good.peek().is_some() => Box::new(good.take(middle)),
            When::Mid if utterance && !end.is_empty() => boxed(end.into_iter().take(1).collect()),
            When::End if !end.is_empty() => Box::new(good),
            // Its moment is still to come.
            When::Mid | When::End => {
                self.ends(row, context);
                return self.push(context, Box::new(good.chain(end)));
            }
            When::Handshake | When::Open | When::Answer => boxed(Vec::new()),
        };
        let _ = self.wishes.remove(at);
        let failing = self.failing(wish.what, context, in_message);
        self.push(context, Box::new(good.chain(failing)));
        if let (Some(track), What::Fault(_)) = (self.track(context), wish.what) {
            track.ending = context.is_some();
        }
    }

    /// The good answer: what is spoken, and what ends it. None when the plan has no slot for it.
    fn said(
        &mut self,
        row: &'static On,
        heard: &Heard,
        context: &Option<String>,
        vars: &Vars,
    ) -> Option<(Acts, Vec<Act>)> {
        let text = |text: &String| Act::Text(fill(text, vars));
        let words = row.words(heard);
        if row.cancel
            && let Some(track) = self.track(context)
        {
            track.acts.clear();
        }
        let good: Vec<Act> = row.before.iter().map(text).collect();
        let mut end: Vec<Act> = row.after.iter().map(text).collect();
        end.extend(row.close.as_ref().map(|end| close(end, vars)));
        let Some(words) = words else { return Some((boxed(good), end)) };
        let asked = match heard {
            Heard::Json(json) => json.get("output_format").filter(|value| !value.is_null()).cloned(),
            _ => None,
        };
        let asked = asked.or_else(|| self.opened.format.clone()).unwrap_or_else(|| self.socket.format.clone().into());
        let mut format = Format::read(&asked);
        let (metered, plan) = (self.socket.metered, self.engine.plan.clone());
        let track = self.track_or_new(context);
        if metered && track.slot.is_none() {
            track.slot = Some(plan.take().ok()?);
        }
        // One head for all that the context says.
        format.wav &= !std::mem::replace(&mut track.spoke, true);
        let timestamps = vars.get("add_timestamps") == Some(&Value::Bool(true));
        let speech = speech(self.socket, words, format, timestamps, vars.clone());
        Some((Box::new(good.into_iter().chain(speech)), end))
    }

    /// Marks the context as ending when the row says so.
    fn ends(&mut self, row: Option<&'static On>, context: &Option<String>) {
        if row.is_some_and(|row| row.ends) {
            self.track_or_new(context).ending = context.is_some();
        }
    }

    fn push(&mut self, context: &Option<String>, acts: Acts) {
        let thinking = std::iter::once(Act::Pause(THINKING));
        self.track_or_new(context).acts.push_back(Box::new(thinking.chain(acts)));
    }

    fn track(&mut self, context: &Option<String>) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.context == *context)
    }

    fn track_or_new(&mut self, context: &Option<String>) -> &mut Track {
        let at = self.tracks.iter().position(|track| track.context == *context).unwrap_or_else(|| {
            self.tracks.push(Track {
                context: context.clone(),
                acts: VecDeque::new(),
                due: Instant::now(),
                slot: None,
                spoke: false,
                ending: false,
            });
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[at];
        if track.acts.is_empty() {
            track.due = Instant::now();
        }
        track
    }

    fn context(&self, heard: &Heard) -> Option<String> {
        heard.text(self.socket.context.as_deref()?).map(str::to_owned)
    }

    fn vars(&mut self, heard: &Heard, context: &Option<String>) -> Vars {
        let fields = heard.fields();
        for key in &self.socket.remember {
            if let Some(value) = fields.get(key) {
                self.opened.vars.insert(key.clone(), value.clone());
            }
        }
        let mut vars = fields;
        vars.extend(self.opened.vars.clone());
        if let Some(key) = &self.socket.context {
            vars.insert(key.clone(), context.clone().into());
        }
        vars
    }

    /// A failure of this provider's that nobody asked for.
    fn named(&self, name: &str) -> Vec<Act> {
        match fault::find(self.engine.provider, name) {
            Some(fault) => self.failing(What::Fault(fault), &None, false),
            None => vec![Act::Drop],
        }
    }

    fn failing(&self, what: What, context: &Option<String>, in_message: bool) -> Vec<Act> {
        match what {
            What::Wire(fault) => fault.acts(),
            What::Net(fault) => after_upgrade(fault),
            What::Close(code) => vec![Act::Close(code, String::new())],
            What::Fault(fault) => self.told(fault, context, in_message),
        }
    }

    /// The frame, and the close unless the session goes on.
    fn told(&self, fault: &Fault, context: &Option<String>, in_message: bool) -> Vec<Act> {
        let vars = self.wording(fault);
        let silent = fault.moment == Moment::Frame && fault.frame.is_none() && fault.close.is_some();
        let mut acts: Vec<Act> = (!silent).then(|| Act::Text(self.frame(fault, &vars, context))).into_iter().collect();
        let code = fault.code.as_deref().unwrap_or(&fault.name);
        // What befalls one context leaves the others alone.
        let alone = in_message && context.is_some();
        let goes_on = alone || self.socket.stays.iter().any(|stays| stays == "*" || stays == code);
        if let Some((code, reason)) = &fault.close {
            acts.push(Act::Close(*code, cut(reason)));
        } else if !goes_on {
            acts.push(close(&self.socket.close, &vars));
        }
        acts
    }

    fn wording(&self, fault: &Fault) -> Vars {
        let mut vars = self.opened.vars.clone();
        for (name, value) in [("title", "Error"), ("type", "error"), ("message", ""), ("legacy", "")] {
            vars.insert(name.to_owned(), value.into());
        }
        vars.extend(fault.vars.clone());
        vars.insert("legacy".into(), fault.legacy.clone().unwrap_or_default().into());
        vars
    }

    fn frame(&self, fault: &Fault, vars: &Vars, context: &Option<String>) -> String {
        let own = fault.frame.as_ref().filter(|_| self.socket.native.contains(&fault.shape));
        let legacy = self.socket.legacy_error.as_ref().filter(|_| self.opened.legacy);
        let text = own.cloned().unwrap_or_else(|| fill(legacy.unwrap_or(&self.socket.error), vars));
        let key = self.socket.context_in_error.as_ref().or(self.socket.context.as_ref());
        match (context, key, serde_json::from_str(&text)) {
            (Some(context), Some(key), Ok(Value::Object(mut json))) => {
                json.insert(key.clone(), context.clone().into());
                Value::Object(json).to_string()
            }
            _ => text,
        }
    }
}

fn read(text: Option<&[u8]>) -> Heard {
    let Some(bytes) = text else { return Heard::Binary };
    match serde_json::from_slice(bytes) {
        Ok(json @ Value::Object(_)) => Heard::Json(json),
        _ => Heard::Text(String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn boxed(acts: Vec<Act>) -> Acts {
    Box::new(acts.into_iter())
}

fn close(end: &End, vars: &Vars) -> Act {
    Act::Close(end.code, cut(&fill(&end.reason, vars)))
}

/// As much of a reason as a close frame holds.
fn cut(reason: &str) -> String {
    reason[..reason.floor_char_boundary(REASON)].to_owned()
}

/// Audio, a tenth of a second at a time.
fn speech(socket: &'static Socket, text: &str, format: Format, timestamps: bool, mut vars: Vars) -> Acts {
    let timed_template = socket.timed.as_ref().filter(|_| timestamps);
    Box::new(Chunks::new(timing(text), format).flat_map(move |chunk| {
        vars.extend(timed(&chunk, 0));
        let said = if socket.binary { Act::Binary(chunk.audio.clone()) } else { Act::Text(fill(&socket.chunk, &vars)) };
        let timed = timed_template.filter(|_| !chunk.spoken.is_empty()).map(|text| Act::Text(fill(text, &vars)));
        let pause = Act::Pause(Duration::from_secs_f64(chunk.seconds / SPEED));
        [Some(said), timed, Some(pause)].into_iter().flatten()
    }))
}
