//! The connection to the backend: one for the process, made anew for as long as it takes.
//!
//! `redis` multiplexes: requests of all threads go through one connection, and a request that is given up takes nothing with
//! it. It does not reconnect in this form, and that is wanted: after a failure nobody waits for a connection here.

use super::dial::{Connection, Dial};
use super::inbox::{Inboxes, Notice};
use super::setup::Setup;
use super::tally::Tally;
use arc_swap::ArcSwapOption;
use redis::{PushInfo, PushKind, RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// How long a connection may take to be made and greeted.
const CONNECT: Duration = Duration::from_secs(2);
/// The first pause before another connection is tried; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The way to the backend.
pub(super) struct Link {
    dial: Arc<dyn Dial>,
    setup: Setup,
    live: ArcSwapOption<Live>,
    inboxes: Arc<Inboxes>,
    tally: Arc<Tally>,
}

/// A connection that was made.
pub(super) struct Live {
    connection: Connection,
    /// Whether the last request was answered in time. If not, nobody else waits until one is.
    answers: AtomicBool,
    trouble: Arc<Trouble>,
}

/// What is wrong with a connection.
#[derive(Default)]
struct Trouble {
    broken: AtomicBool,
    seen: Notify,
}

impl Link {
    /// A link that is not connected yet.
    pub(super) fn new(dial: Arc<dyn Dial>, setup: Setup, inboxes: Arc<Inboxes>, tally: Arc<Tally>) -> Link {
        Link { dial, setup, live: ArcSwapOption::empty(), inboxes, tally }
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
                Ok(Err(error)) => self.tally.unreachable(&error.to_string()),
                Err(_) => self.tally.unreachable("no answer in time"),
            }
            // Gateways that lost it at the same moment do not all come back at the same moment.
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn connect(&self) -> RedisResult<Live> {
        let trouble = Arc::new(Trouble::default());
        let (inboxes, noticed) = (Arc::clone(&self.inboxes), Arc::clone(&trouble));
        let pushes = Arc::new(move |push: &PushInfo| pushed(push, &inboxes, &noticed));
        let connection = self.dial.dial(self.setup.channel(), pushes).await?;
        Ok(Live { connection, answers: AtomicBool::new(true), trouble })
    }

    /// Offers a connection until it breaks.
    async fn serve(&self, live: Arc<Live>) {
        self.live.store(Some(Arc::clone(&live)));
        self.tally.connected();
        self.inboxes.rouse();
        loop {
            live.trouble.seen.notified().await;
            // Somebody waited in vain: if it was only slow it answers this, and is used again.
            if live.trouble.broken.load(Ordering::Acquire) || !live.answers_within(self.setup.patience()).await {
                break;
            }
            live.answers.store(true, Ordering::Release);
        }
        self.live.store(None);
        self.tally.disconnected();
        self.inboxes.rouse();
    }
}

impl Live {
    /// To send something.
    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Whether an answer can be expected in time.
    pub(super) fn answers(&self) -> bool {
        self.answers.load(Ordering::Acquire)
    }

    /// A request was not answered in time: the next ones do not wait until another was.
    pub(super) fn slow(&self) {
        self.answers.store(false, Ordering::Release);
        self.trouble.seen.notify_one();
    }

    /// It is of no use any more.
    pub(super) fn give_up(&self) {
        self.answers.store(false, Ordering::Release);
        self.trouble.broken();
    }

    async fn answers_within(&self, patience: Duration) -> bool {
        let mut connection = self.connection();
        let ping = redis::cmd("PING");
        matches!(timeout(patience, ping.query_async::<Value>(&mut connection)).await, Ok(Ok(_)))
    }
}

impl Trouble {
    fn broken(&self) {
        self.broken.store(true, Ordering::Release);
        self.seen.notify_one();
    }
}

/// What the backend says without being asked.
fn pushed(push: &PushInfo, inboxes: &Inboxes, trouble: &Trouble) {
    match push.kind {
        PushKind::Disconnection => trouble.broken(),
        PushKind::Message => {
            if let Some(Value::BulkString(text)) = push.data.get(1)
                && let Some((name, notice)) = Notice::read(text)
            {
                inboxes.deliver(name, notice);
            }
        }
        _ => {}
    }
}
