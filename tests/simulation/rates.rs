//! Rates that gateways share: never more than the quota in any stretch of time, and never shut for longer than it takes to pay
//! for a burst. Each request is counted as `proxy::limits::shared` does it: by the backend, or without an answer by this
//! gateway's part of the quota.

use super::network::{Server, Way, Weather};
use super::world::{Log, between};
use fastrand::Rng;
use speechgate::config::secret::Secret;
use speechgate::config::types::Limits;
use speechgate::fleet::{Check, Fleet};
use speechgate::limit::Rate;
use speechgate::limit::rate::{Quota, Refused};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};

/// One gateway.
struct Gateway {
    fleet: Arc<Fleet>,
    /// Its own part, for when there is no answer.
    own: Rate,
}

struct World {
    log: Arc<Log>,
    quota: Quota,
    gateways: Vec<Gateway>,
    /// What was given, and when; how much of it without the backend.
    given: Mutex<Vec<(Instant, u32, bool)>>,
}

/// Runs one world.
pub(crate) async fn run(mut rng: Rng, log: Arc<Log>) {
    let weather = Weather { delay: Duration::from_micros(rng.u64(0..1500)), slow: 0, lost: 0, reorders: false };
    let server = Server::new(Rng::with_seed(rng.u64(..)), weather);
    let number = |rng: &mut Rng, most| NonZeroU32::new(rng.u32(1..=most)).unwrap_or(NonZeroU32::MIN);
    let (amount, burst) = (number(&mut rng, 40), number(&mut rng, 20));
    let quota = Quota { amount, per: Duration::from_secs([1, 10, 60][rng.usize(0..3)]), burst };
    let count = rng.usize(1..=3);
    log.note(|| format!("{count} gateways, {quota:?}, {weather:?}"));
    let gateways = (0..count).map(|index| gateway(&server, index, quota)).collect();
    let world = Arc::new(World { log, quota, gateways, given: Mutex::default() });
    // Connected.
    sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    let mut calls: Vec<Duration> = (0..rng.usize(20..80)).map(|_| between(&mut rng, 0, 6000)).collect();
    calls.sort_unstable();
    // One kind of fault in a world, so that what it excuses is clear.
    let fault = rng.u32(0..5);
    let at = calls.len() / 2;
    for (number, call) in calls.into_iter().enumerate() {
        sleep_until(begun + call).await;
        if number == at {
            world.fault(fault, &server, &mut rng).await;
        }
        let gateway = rng.usize(0..count);
        let cost = NonZeroU32::new(rng.u32(1..=2)).unwrap_or(NonZeroU32::MIN).min(burst);
        let _ = world.asks(gateway, cost).await;
        if world.log.is_broken() {
            return;
        }
    }
    world.reopens(&mut rng).await;
}

fn gateway(server: &Arc<Server>, index: usize, quota: Quota) -> Gateway {
    let limits = Limits {
        state: None,
        backend: Some(Secret::new("redis://simulated".to_owned())),
        ca_file: None,
        // Long, so that gateways seldom come by while all wait for a burst to be paid for: rates have no lease.
        lease: Duration::from_secs(20),
        timeout: Duration::from_millis(5),
        prefix: "t".to_owned(),
    };
    let dial = Arc::new(Way { server: Arc::clone(server), gateway: index });
    let fleet = Fleet::start_over(dial, &limits, &format!("g{index}"), Arc::default, &Handle::current());
    Gateway { fleet, own: Rate::new(quota, Instant::now().into_std()) }
}

impl World {
    async fn fault(&self, fault: u32, server: &Server, rng: &mut Rng) {
        match fault {
            0 => {
                let step = [300_000, 5_000_000, 3_600_000_000][rng.usize(0..3)];
                self.log.note(|| format!("the server's clock steps by -{step} us"));
                server.steps(-step);
            }
            1 => {
                self.log.note(|| "the server hangs".to_owned());
                server.hangs(true);
                sleep(Duration::from_millis(100)).await;
                server.hangs(false);
            }
            _ => {}
        }
    }

    /// One request; gives how long to wait where it is refused.
    async fn asks(&self, index: usize, cost: NonZeroU32) -> Result<(), Duration> {
        let Gateway { fleet, own } = &self.gateways[index];
        let check = Check { limit: 1, of_account: false, key: 7, name: 7, quota: self.quota, cost };
        let counted = fleet.count("r", &[check]).await;
        let alone = counted.is_err();
        let refused = match counted {
            Ok(counted) => counted.refused.map(|(_, wait)| wait),
            Err(_) => {
                let (part, now) = (fleet.local_quota(&self.quota), Instant::now().into_std());
                own.reconfigure(part, now);
                match own.check(7, cost.min(part.burst), now) {
                    Ok(_) => None,
                    Err(Refused::Later { retry_after, .. }) => Some(retry_after),
                    Err(Refused::NeverFits { .. }) => Some(Duration::MAX),
                }
            }
        };
        self.log.note(|| {
            format!("g{index} asks for {cost}: {}", refused.map_or("given".to_owned(), |wait| format!("wait {wait:?}")))
        });
        match refused {
            None => {
                self.given.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), cost.get(), alone));
                self.look();
                Ok(())
            }
            Some(wait) => {
                let whole = self.unit() * self.quota.burst.get();
                if wait > whole * 2 && !alone {
                    self.log.violated(|| {
                        format!("a request is told to wait {wait:?}, and a burst is paid for in {whole:?}")
                    });
                }
                Err(wait)
            }
        }
    }

    fn unit(&self) -> Duration {
        self.quota.per / self.quota.amount.get()
    }

    /// Not more was given than the quota allows, in any stretch of time that ends now; what gateways gave alone is their part, and comes
    /// on top while the backend did not answer.
    fn look(&self) {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((now, ..)) = given.last() else { return };
        let mut sum = 0;
        for (at, cost, alone) in given.iter().rev() {
            if *alone {
                break;
            }
            sum += cost;
            let most = f64::from(self.quota.burst.get()) + (*now - *at).as_secs_f64() / self.unit().as_secs_f64();
            // An answer comes a little later than it was given.
            let slack = 0.01 / self.unit().as_secs_f64() + 0.001;
            if f64::from(sum) > most + slack {
                self.log.violated(|| {
                    format!("{sum} were given within {:?} of a burst of {}", *now - *at, self.quota.burst)
                });
                return;
            }
        }
    }

    /// When nobody has asked for long enough, a whole burst can be had again; and before, one who waits as long as it was told.
    async fn reopens(&self, rng: &mut Rng) {
        let one = NonZeroU32::MIN;
        for _ in 0..3 {
            let index = rng.usize(0..self.gateways.len());
            if let Err(wait) = self.asks(index, one).await {
                sleep(wait + Duration::from_millis(2)).await;
                if let Err(again) = self.asks(index, one).await {
                    self.log.violated(|| {
                        format!("after the wait of {wait:?} that it was told, one has to wait {again:?} more")
                    });
                    return;
                }
            }
        }
        sleep(self.unit() * (self.quota.burst.get() + 1)).await;
        if self.asks(0, self.quota.burst).await.is_err() {
            self.log.violated(|| "nobody has asked for the time of a whole burst, and it cannot be had".to_owned());
        }
    }
}
