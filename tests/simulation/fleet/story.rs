//! What happens in a world, and when: drawn from its seed.

use super::*;

/// What happens in a world, and when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Call { gateway: usize, hold: Duration, patience: Duration, claim: Claim, by_route: bool },
    Starts(usize),
    Leaves(usize),
    IsKilled(usize),
    Resized(u32),
    Resets(usize),
    Cuts(usize, bool),
    Hangs(bool),
    Dies { loses_data: bool },
    ComesBack,
    Forgets,
    ClockSteps(i64),
    RefusesWrites(bool),
    PausedUntil(usize, Duration),
}

/// Tenants with weights, some with a maximum or a reserve.
pub(super) fn shares(rng: &mut Rng, max: u32) -> Vec<(u64, TenantShare)> {
    let share = |tenant| {
        let most = (rng.u32(0..3) == 0).then(|| rng.u32(1..=max));
        let reserve = if rng.u32(0..3) == 0 { rng.u32(0..=max / 2).min(most.unwrap_or(max)) } else { 0 };
        (tenant, TenantShare { weight: rng.u32(1..4), reserve, max: most })
    };
    (0..TENANTS as u64).map(share).collect()
}

/// What happens, in order.
pub(super) fn story(rng: &mut Rng, gateways: usize, lease: Duration, max: u32, count: usize) -> Vec<(Duration, Event)> {
    let mut events: Vec<(Duration, Event)> =
        (0..gateways).map(|gateway| (between(rng, 0, 100), Event::Starts(gateway))).collect();
    let calm = lease / 2 + Duration::from_millis(500);
    let whole = Duration::from_secs(5);
    for _ in 0..count {
        let patience = if rng.u32(0..5) == 0 { between(rng, 5, 800) } else { FOR_EVER };
        let priority = [Priority::High, Priority::Normal, Priority::Low][rng.usize(0..3)];
        let claim = Claim { priority, tenant: Some(rng.u64(0..TENANTS as u64)) };
        // Most come in crowds, so that there are waits and then none.
        let at = calm + whole.mul_f64(rng.f64().powi(2));
        let (gateway, hold) = (rng.usize(0..gateways), between(rng, 1, 400));
        let by_route = rng.u32(0..3) == 0;
        events.push((at, Event::Call { gateway, hold, patience, claim, by_route }));
    }
    let faults = [0, 0, 1, 2][rng.usize(0..4)];
    for _ in 0..faults {
        let at = calm + whole.mul_f64(rng.f64());
        let (gateway, long) = (rng.usize(0..gateways), between(rng, 10, 3000));
        let more = match rng.u32(0..11) {
            0 => vec![(at, Event::IsKilled(gateway)), (at + long, Event::Starts(gateway))],
            1 => vec![(at, Event::Leaves(gateway)), (at + long, Event::Starts(gateway))],
            2 => vec![(at, Event::Resized(rng.u32(1..=max + 2)))],
            3 => vec![(at, Event::Resets(gateway))],
            4 => vec![(at, Event::Cuts(gateway, true)), (at + long, Event::Cuts(gateway, false))],
            5 => vec![(at, Event::Hangs(true)), (at + long, Event::Hangs(false))],
            6 => vec![(at, Event::Dies { loses_data: rng.bool() }), (at + long, Event::ComesBack)],
            7 => vec![(at, Event::Forgets)],
            8 => {
                let step = [300_000, 2_000_000, 60_000_000, 3_600_000_000][rng.usize(0..4)];
                vec![(at, Event::ClockSteps(if rng.bool() { step } else { -step }))]
            }
            9 => vec![(at, Event::RefusesWrites(true)), (at + long, Event::RefusesWrites(false))],
            _ => vec![(at, Event::PausedUntil(gateway, long))],
        };
        events.extend(more);
    }
    events.sort_by_key(|(at, _)| *at);
    events
}
