//! The scripts that run at the backend, and their words.

use super::dial::Connection;
use super::inbox::{Learned, read_crowd};
use super::setup::{ACCOUNTS, Setup};
use crate::limit::budgets::Report;
use crate::limit::rate::{Left, Quota};
use crate::limit::{Crowd, Demand, TenantDemand, TenantShare, TenantStats};
use redis::{RedisResult, Script};
use ring::rand::SecureRandom as _;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How long a budget's hash outlives its period: clocks of gateways differ.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The scripts. They are loaded when the backend does not know them.
pub(super) struct Scripts {
    slots: Script,
    rates: Script,
    seed: Script,
    budgets: Script,
}

/// What one gateway reports about one limiter, and what it asks for.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) number: u64,
    /// The size of the fleet that this gateway last heard of; zero when it never did.
    pub(super) known: u32,
    pub(super) demand: Demand,
    /// What its tenants hold and wait for, and what a call takes of late.
    pub(super) tenants: (Vec<TenantDemand>, Duration),
    /// What this gateway has learned of the account since it last reported, and the version of the fleet's knowledge that this is
    /// based on.
    pub(super) learned: Option<u32>,
    pub(super) version: u64,
    pub(super) leaving: bool,
}

impl Update {
    /// The last update of a name. Its number is the largest integer that a script, which computes in doubles, can tell from the one before.
    pub(super) fn last(key: String, name: String) -> Update {
        let demand = Demand::default();
        let tenants = (Vec::new(), Duration::ZERO);
        Update { key, name, number: 1 << 53, known: 0, demand, tenants, learned: None, version: 0, leaving: true }
    }
}

/// The answer to an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Slots that this gateway may use.
    pub(super) share: u32,
    /// Whether other gateways wait for slots.
    pub(super) contested: bool,
    /// Gateways that share this limiter, zero when that is not known yet, and the place of this one among them.
    pub(super) size: u32,
    pub(super) rank: u32,
    /// How long no slots are handed out, because the backend has lost what it knew.
    pub(super) grace: Duration,
    pub(super) fleet: Learned,
    pub(super) crowd: Crowd,
}

/// One rate limit that a request counts against.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The index of the limit among those of its route.
    pub limit: usize,
    /// It is one of the account of its route, which all routes of that account share.
    pub of_account: bool,
    /// The key that it counts by in this process.
    pub key: u64,
    /// The same for all processes, as made by the fleet's `keys`.
    pub name: u64,
    /// The limit.
    pub quota: Quota,
    /// How many units the request takes, at most a burst.
    pub cost: NonZeroU32,
}

impl Check {
    /// Whose limit it is, in names.
    pub(super) fn whose<'r>(&self, route: &'r str) -> &'r str {
        if self.of_account { ACCOUNTS } else { route }
    }
}

/// One limit that a request is counted by.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    pub(super) key: String,
    /// Its key in this process, which does not depend on the seed.
    pub(super) own: u64,
    pub(super) quota: Quota,
    /// How many units; a negative number gives units back.
    pub(super) cost: i64,
    /// What was admitted here while the backend could not be asked; it is counted in any case.
    pub(super) passed: u32,
}

/// The verdict of all limits on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The first limit that refuses, and how long until none would refuse. Then nothing was counted.
    pub refused: Option<(usize, Duration)>,
    /// What is left of each.
    pub left: Vec<Left>,
}

impl Scripts {
    pub(super) fn new() -> Scripts {
        Scripts {
            slots: Script::new(include_str!("slots.lua")),
            rates: Script::new(include_str!("rates.lua")),
            seed: Script::new(include_str!("seed.lua")),
            budgets: Script::new(include_str!("budgets.lua")),
        }
    }

    /// Reads the fleet's seed, or restores the one that this gateway remembers. `None` when other gateways have been asked for it.
    pub(super) async fn seed(
        &self,
        connection: &mut Connection,
        setup: &Setup,
        remembered: &str,
        alone: bool,
    ) -> RedisResult<Option<String>> {
        let mut random = [0; 16];
        let filled = ring::rand::SystemRandom::new().fill(&mut random);
        filled.map_err(|_| std::io::Error::other("there are no random numbers"))?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut call = self.seed.key(setup.seed());
        let call = call.key(setup.members()).arg(remembered).arg(random).arg(setup.roll_call()).arg(u32::from(alone));
        call.invoke_async(connection).await
    }

    /// Sends an update. None when a later one has arrived.
    pub(super) async fn update(
        &self,
        connection: &mut Connection,
        setup: &Setup,
        update: &Update,
        now: Instant,
    ) -> RedisResult<Option<Answer>> {
        let demand = &update.demand;
        let waited = demand.oldest_wait_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let mut call = self.slots.key(&update.key);
        type Words = (u64, u64, u64, u64, u64, u64, u64, u64, u64, String);
        let (accepted, share, contested, size, rank, grace, learned, version, others, crowd): Words = call
            .key(setup.members())
            .arg(&update.name)
            .arg(update.number)
            .arg(demand.share.unwrap_or(0))
            .arg(demand.in_use)
            .arg(demand.waiting)
            .arg(micros(waited))
            .arg(demand.max)
            .arg(micros(setup.lease))
            .arg(update.known)
            .arg(setup.channels())
            .arg(u32::from(update.leaving))
            .arg(update.learned.unwrap_or(0))
            .arg(update.version)
            .arg(text_of(&update.tenants.0, now))
            .arg(micros(update.tenants.1))
            .arg(demand.part.0)
            .arg(demand.part.1)
            .invoke_async(connection)
            .await?;
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let answer = Answer {
            share: small(share),
            contested: contested == 1,
            size: small(size),
            rank: small(rank),
            grace: Duration::from_micros(grace),
            fleet: Learned { cap: (learned > 0).then(|| small(learned)), version, others: small(others) },
            crowd: read_crowd(&crowd).unwrap_or_default(),
        };
        Ok((accepted == 1).then_some(answer))
    }

    /// Tells what this process has used of budgets, each with its key. Gives the sum of each, and the epoch of its hash.
    pub(super) async fn spend(
        &self,
        connection: &mut Connection,
        process: &str,
        reports: &[(String, Report)],
    ) -> RedisResult<Vec<(f64, String)>> {
        let mut call = self.budgets.prepare_invoke();
        let _ = call.arg(process);
        for (key, report) in reports {
            let kept = micros(report.left + KEPT) / 1000;
            let call = call.key(key).arg(report.number).arg(report.used).arg(report.before).arg(report.known);
            let _ = call.arg(&report.epoch).arg(kept);
        }
        let words: Vec<String> = call.invoke_async(connection).await?;
        let sum = |word: &str| word.parse::<f64>().ok().filter(|sum| sum.is_finite());
        let sums = words.chunks_exact(2).map(|pair| Some((sum(&pair[0])?, pair[1].clone())));
        let sums: Option<Vec<_>> = sums.collect();
        sums.filter(|sums| sums.len() == reports.len())
            .ok_or_else(|| std::io::Error::other("the backend answers something else").into())
    }

    /// Counts a request.
    pub(super) async fn count(&self, connection: &mut Connection, counters: &[Counter]) -> RedisResult<Counted> {
        let mut call = self.rates.prepare_invoke();
        for Counter { key, quota, cost, .. } in counters {
            let unit = quota.per.as_secs_f64() * 1e6 / f64::from(quota.amount.get());
            let _ = call.key(key).arg(unit).arg(quota.burst.get()).arg(*cost);
        }
        for Counter { passed, .. } in counters {
            let _ = call.arg(*passed);
        }
        let numbers: Vec<u64> = call.invoke_async(connection).await?;
        Ok(counted(&numbers, counters))
    }
}

/// `name:held:waiting:microseconds that the first has waited:weight:reserve:most`, and `;` after each.
fn text_of(tenants: &[TenantDemand], now: Instant) -> String {
    let mut text = String::new();
    for TenantDemand { stats: TenantStats { tenant, in_use, queued }, since, share } in tenants {
        let waited = since.map_or(0, |since| micros(now.saturating_duration_since(since)));
        let name = tenant.map_or_else(|| "-".to_owned(), |tenant| format!("{tenant:016x}"));
        let TenantShare { weight, reserve, max } = share;
        text.push_str(&format!("{name}:{in_use}:{queued}:{waited}:{weight}:{reserve}:{};", max.unwrap_or(0)));
    }
    text
}

fn counted(numbers: &[u64], counters: &[Counter]) -> Counted {
    let (verdict, left) = numbers.split_at(numbers.len().min(2));
    let refused = match verdict {
        [0, _] => None,
        [index, wait] => usize::try_from(index - 1).ok().map(|index| (index, Duration::from_micros(*wait))),
        _ => None,
    };
    let left = counters.iter().zip(left.chunks_exact(2)).map(|(counter, left)| Left {
        quota: counter.quota,
        remaining: u32::try_from(left[0]).unwrap_or(u32::MAX),
        reset: Duration::from_micros(left[1]),
    });
    Counted { refused, left: left.collect() }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
