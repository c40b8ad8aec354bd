//! What a socket sends when it fails: as the provider words it, or as the network does.

use super::{Session, close, cut};
use crate::simulator::fault::{self, Failure, Fault, Moment, NetFault, Silence, Silent};
use crate::simulator::script::Action;
use crate::simulator::template::{Vars, fill};
use serde_json::Value;

impl Session {
    /// A failure of this provider's that nobody asked for.
    pub(super) fn named_failure(&self, name: &str) -> Vec<Action> {
        match fault::find(self.engine.provider, name) {
            Some(fault) => self.fail(Failure::Provider(fault), &None, false),
            None => vec![Action::Drop],
        }
    }

    pub(super) fn fail(&self, failure: Failure, context: &Option<String>, in_message: bool) -> Vec<Action> {
        match failure {
            Failure::Wire(fault) => fault.actions(),
            Failure::Network(fault) => after_upgrade(fault),
            Failure::Silent(Silent::HalfOpen) => vec![Action::Dead],
            Failure::Silent(_) => Vec::new(),
            Failure::Close(code) => vec![Action::Close(code, String::new())],
            Failure::Provider(fault) => self.provider_failure(fault, context, in_message),
        }
    }

    /// The frame, and the close unless the session goes on.
    fn provider_failure(&self, fault: &Fault, context: &Option<String>, in_message: bool) -> Vec<Action> {
        let vars = self.wording_of(fault);
        let silent = fault.moment == Moment::Frame && fault.frame.is_none() && fault.close.is_some();
        let mut actions: Vec<Action> =
            (!silent).then(|| Action::Text(self.frame(fault, &vars, context))).into_iter().collect();
        let code = fault.code.as_deref().unwrap_or(&fault.name);
        // What befalls one context leaves the others alone.
        let alone = in_message && context.is_some();
        let goes_on = alone || self.endpoint.stays.iter().any(|stays| stays == "*" || stays == code);
        if let Some((code, reason)) = &fault.close {
            actions.push(Action::Close(*code, cut(reason)));
        } else if !goes_on {
            actions.push(close(&self.endpoint.close, &vars));
        }
        actions
    }

    fn wording_of(&self, fault: &Fault) -> Vars {
        let mut vars = self.opened.vars.clone();
        for (name, value) in [("title", "Error"), ("type", "error"), ("message", ""), ("legacy", "")] {
            vars.insert(name.to_owned(), value.into());
        }
        vars.extend(fault.vars.clone());
        vars.insert("legacy".into(), fault.legacy.clone().unwrap_or_default().into());
        vars
    }

    fn frame(&self, fault: &Fault, vars: &Vars, context: &Option<String>) -> String {
        let own = fault.frame.as_ref().filter(|_| self.endpoint.native.contains(&fault.shape));
        let legacy = self.endpoint.legacy_error.as_ref().filter(|_| self.opened.legacy);
        let text = own.cloned().unwrap_or_else(|| fill(legacy.unwrap_or(&self.endpoint.error), vars));
        let key = self.endpoint.context_in_error.as_ref().or(self.endpoint.context.as_ref());
        match (context, key, serde_json::from_str(&text)) {
            (Some(context), Some(key), Ok(Value::Object(mut json))) => {
                json.insert(key.clone(), context.clone().into());
                Value::Object(json).to_string()
            }
            _ => text,
        }
    }
}

/// What a failure of the network is once there is a socket.
fn after_upgrade(fault: &NetFault) -> Vec<Action> {
    vec![match fault.silence() {
        Silence::Reset => Action::Reset,
        Silence::Stays => Action::Mute,
        Silence::Ends => Action::Drop,
    }]
}
