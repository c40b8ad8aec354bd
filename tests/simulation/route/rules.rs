//! The rules that every world of a route keeps.

use super::*;

impl World {
    /// Nobody asks before a wait is over that the provider said to it, unless it is the probe that may.
    pub(super) fn arrives(&self, state: &State, call: &Call, probe: bool, now: Instant) {
        let binds = |said: &&Said| {
            said.key == call.key
                && match said.code {
                    Code::RateLimited => true,
                    Code::Unavailable => said.path == call.path,
                    _ => false,
                }
        };
        for said in state.said.iter().filter(binds) {
            // At the moment of the refusal others may have passed the door already.
            let early = now > said.at && now < said.at + said.wait;
            if early && !(probe && now >= said.at + PROBE_EVERY.min(said.wait)) {
                self.log.violated(|| {
                    format!(
                        "{call} is sent {:?} after {} said to wait {:?}",
                        now - said.at,
                        said.code.as_str(),
                        said.wait
                    )
                });
            }
        }
    }

    /// A client was refused here because of what a provider said: to this key, and not too long ago.
    pub(super) fn held(&self, call: &Call, denied: &Denied) {
        let Denied::Limit(refusal) = denied else { return };
        let (code, now) = (refusal.error.code, Instant::now());
        self.log.note(|| format!("{call}: held, {}", code.as_str()));
        let state = self.lock();
        let said: Vec<&Said> = state.said.iter().filter(|said| said.key == call.key && said.code == code).collect();
        let binding = said.iter().filter(|one| {
            // An outage binds its own path, and every path when another is out as well.
            one.code != Code::Unavailable
                || one.path == call.path
                || said.iter().any(|other| {
                    other.path != one.path && other.at < one.at + one.wait && one.at < other.at + other.wait
                })
        });
        let Some(until) = binding.clone().map(|said| said.at + said.wait).max() else {
            self.log.violated(|| format!("{call} is held for {}, which nobody said to it", code.as_str()));
            return;
        };
        let key = &state.keys[call.key];
        if now > until.max(key.began) + PROBE_DEADLINE {
            self.log.violated(|| format!("{call} is held {:?} after the end of the wait", now - until));
        }
        if now > until && key.running == 0 && now > key.idle.max(until) + STARVING {
            self.log.violated(|| {
                format!("{call} is held {:?} after the end of the wait, and nobody is trying", now - until)
            });
        }
    }

    /// What is learned of a plan is never less than the plan.
    pub(super) fn learned(&self, call: &Call, runtime: &RouteRuntime, credential: Credential) {
        let Some(gate) = runtime.limits.gate(credential).filter(|_| self.own_keys) else { return };
        let (learned, key) = (gate.learned(0), self.lock().keys[call.key]);
        let plan = key.least.min(MAX);
        if learned < plan {
            self.log.violated(|| format!("{learned} slots are learned of {}, whose plan has {plan}", KEYS[call.key]));
        }
    }

    /// Whether a slot of this key is free that somebody waits for, and no pause explains it.
    pub(super) fn look(&self, index: usize) {
        let now = Instant::now();
        let mut state = self.lock();
        let key = &mut state.keys[index];
        let free = key.counted < MAX.min(key.least) && key.paused.is_none_or(|until| until <= now);
        if let Some(since) = key.starving
            && now - since > STARVING
        {
            let (starved, counted) = (now - since, key.counted);
            self.log.violated(|| {
                format!("a call of {} waited for {starved:?} while {counted} of {MAX} slots were in use", KEYS[index])
            });
        }
        key.starving = if free && key.waiting > 0 { key.starving.or(Some(now)) } else { None };
    }
}
