//! The connection to the backend: one per process, reconnected for ever.
//!
//! `redis` multiplexes: requests of all threads share one connection, and abandoning a request does not disturb the others. In this
//! form `redis` does not reconnect by itself, which is what we want: after a failure no request waits for a connection.

use super::courier::Courier;
use super::dial::Dial;
use super::inbox::{Inboxes, Notice};
use super::live::{Live, Trouble};
use super::scripts::Scripts;
use super::seed::Seed;
use super::setup::Setup;
use super::tally::Tally;
use arc_swap::ArcSwapOption;
use redis::{PushInfo, PushKind, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Deadline for connecting and the greeting.
const CONNECT: Duration = Duration::from_secs(2);
/// The first pause before reconnecting; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The way to the backend.
pub(super) struct Link {
    dial: Arc<dyn Dial>,
    setup: Setup,
    live: ArcSwapOption<Live>,
    pub(super) inboxes: Arc<Inboxes>,
    tally: Arc<Tally>,
    scripts: Arc<Scripts>,
    pub(super) seed: Arc<Seed>,
    pub(super) courier: Courier,
}

impl Link {
    /// A link that is not connected yet.
    pub(super) fn new(
        dial: Arc<dyn Dial>,
        setup: Setup,
        inboxes: Arc<Inboxes>,
        tally: Arc<Tally>,
        scripts: Arc<Scripts>,
    ) -> Link {
        let (live, courier, seed) = (ArcSwapOption::empty(), Courier::default(), Arc::new(Seed::new()));
        Link { dial, setup, live, inboxes, tally, scripts, seed, courier }
    }

    /// The connection, while there is one.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full()
    }

    /// Connects, and connects again, for ever.
    pub(super) async fn run(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match timeout(CONNECT, self.connect()).await {
                Ok(Ok(live)) => {
                    pause = FIRST_PAUSE;
                    self.serve(Arc::new(live)).await;
                }
                // What the backend refuses of a greeting is about the seed, and what is registered beside it.
                Ok(Err(error)) if error.code().is_some() => {
                    let keys = format!("{}, {}", self.setup.seed(), self.setup.members());
                    self.tally.unreachable(&format!("{error}, asked for {keys}"));
                }
                Ok(Err(error)) => self.tally.unreachable(&error.to_string()),
                Err(_) => self.tally.unreachable("no answer in time"),
            }
            // Jitter: gateways that lost the connection together must not all reconnect together.
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn connect(&self) -> RedisResult<Live> {
        let trouble = Arc::<Trouble>::default();
        let (inboxes, noticed) = (Arc::clone(&self.inboxes), Arc::clone(&trouble));
        let (roll_call, names, seed) = (self.setup.roll_call(), self.setup.seed(), Arc::clone(&self.seed));
        let channels = vec![self.setup.channel(), roll_call.clone()];
        let pushes = Arc::new(move |push: &PushInfo| match (&push.kind, push.data.as_slice()) {
            (PushKind::Disconnection, _) => noticed.broken(),
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(text)]) => {
                if channel != roll_call.as_bytes() {
                    deliver(text, &inboxes);
                } else if text == names.as_bytes() {
                    seed.wanted.notify_one();
                } else {
                    inboxes.call(&String::from_utf8_lossy(text));
                }
            }
            _ => {}
        });
        let mut connection = self.dial.dial(channels, pushes).await?;
        // Without the fleet's names nothing could be shared.
        if !self.seed.learn(&mut connection, &self.scripts, &self.setup, false).await? {
            sleep(self.setup.soon()).await;
            let _ = self.seed.learn(&mut connection, &self.scripts, &self.setup, true).await?;
        }
        Ok(Live::new(connection, trouble))
    }

    /// Makes sure that the backend holds the fleet's seed, and that this gateway uses the same one.
    async fn keep_seed(&self, live: &Live) {
        loop {
            // If the seed does not arrive, the next connection asks again.
            let _ = timeout(self.setup.renewal(), self.seed.wanted.notified()).await;
            let (mut connection, before) = (live.connection(), self.seed.changes());
            let learns = self.seed.learn(&mut connection, &self.scripts, &self.setup, false);
            // A backend that does not answer is handled by the courier.
            let _ = timeout(self.setup.patience(), learns).await;
            if self.seed.changes() != before {
                self.inboxes.rouse();
            }
        }
    }

    /// Offers a connection until it breaks.
    async fn serve(&self, live: Arc<Live>) {
        self.courier.open(true);
        self.live.store(Some(Arc::clone(&live)));
        self.tally.connected();
        self.inboxes.rouse();
        tokio::select! {
            biased;
            () = live.breaks(self.setup.patience()) => {}
            () = self.courier.work(&live, &self.scripts, &self.setup, &self.tally) => {}
            () = self.keep_seed(&live) => {}
        }
        self.live.store(None);
        self.courier.open(false);
        self.tally.disconnected();
        self.inboxes.rouse();
    }
}

/// A message about a limiter, for the agent that it names.
fn deliver(text: &[u8], inboxes: &Inboxes) {
    if let Some((name, notice)) = Notice::read(text) {
        inboxes.deliver(name, notice);
    }
}
