//! Silence on a socket: what a context, or all of the socket, does not send although nothing went wrong.

use super::{GOOD, Session, boxed};
use crate::simulator::fault::{Failure, Silent};
use crate::simulator::script::{Action, Actions};

/// A silence that was asked for.
pub(super) struct Hush {
    silent: Silent,
    /// The context that is silent; all of them without it.
    context: Option<Option<String>>,
    /// The first utterance has been silenced.
    begun: bool,
}

impl Session {
    /// From now on a context is silent, or all of them are, if that is what the failure is.
    pub(super) fn hush(&mut self, failure: Failure, context: Option<Option<String>>, begun: bool) {
        if let Failure::Silent(silent) = failure {
            self.silences.push(Hush { silent, context, begun });
        }
    }

    /// Silences that need no moment of their own begin with the message that chose them, or with the first one.
    pub(super) fn silences_begin(&mut self, context: &Option<String>) {
        let mine = |chosen: &Option<Option<String>>| chosen.as_ref().is_none_or(|chosen| chosen == context);
        let begins = self.pending.iter().position(|pending| {
            matches!(pending.fault.failure, Failure::Silent(_))
                && pending.fault.timing.is_none()
                && mine(&pending.chosen_in)
        });
        if let Some(at) = begins {
            let pending = self.pending.remove(at);
            self.hush(pending.fault.failure, pending.chosen_in, false);
        }
    }

    /// The silence in which a context is.
    pub(super) fn silence_of(&self, context: &Option<String>) -> Option<usize> {
        self.silences.iter().position(|hush| hush.context.as_ref().is_none_or(|silent| silent == context))
    }

    /// What is left of an answer in a silence: it has so many messages before its `words`, if there are any. A socket that does not speak is
    /// silent in everything that it answers.
    pub(super) fn silenced(
        &mut self,
        at: usize,
        (good, end): (Actions, Vec<Action>),
        words: bool,
        before: usize,
    ) -> Actions {
        let speaks = self.endpoint.speaks();
        let utterance = words || !speaks;
        let Some(hush) = self.silences.get_mut(at) else { return boxed(Vec::new()) };
        let first = utterance && !hush.begun;
        hush.begun |= utterance;
        let (nothing, wait) = (|| boxed(Vec::new()), |time| std::iter::once(Action::Wait(time)));
        let mut good = good;
        match hush.silent {
            // That it has begun may be said all the same.
            Silent::Never if first && words => Box::new(good.take(before)),
            Silent::Never if hush.begun => nothing(),
            Silent::Late(time) if first => Box::new(wait(time).chain(good).chain(end)),
            Silent::Stall(time) if first => {
                let some = if speaks { before + GOOD } else { 1 };
                let some: Vec<Action> = good.by_ref().take(some).collect();
                match time {
                    Some(time) => Box::new(some.into_iter().chain(wait(time)).chain(good).chain(end)),
                    None => boxed(some),
                }
            }
            Silent::Stall(None) if hush.begun => nothing(),
            Silent::Empty if speaks => Box::new(good.take(before).chain(end)),
            Silent::Empty => boxed(end),
            Silent::HalfOpen if first => boxed(vec![Action::Dead]),
            Silent::Never | Silent::Late(_) | Silent::Stall(_) | Silent::HalfOpen => Box::new(good.chain(end)),
        }
    }
}
