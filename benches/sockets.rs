//! WebSockets that carry audio: memory that stays flat, memory of a socket that waits, latency and processor time of a message.
//!
//! ```text
//! cargo bench --bench sockets              a few seconds, to see that it works
//! cargo bench --bench sockets -- --full    what RESULTS.md shows
//! ```
//!
//! The gateway is the real program in a process of its own; the provider and the clients share this one, a thread for each.
//! A client sends a frame of audio every 20 ms and the provider sends as much back, so that the time between is that of both
//! ways; the same is measured without the gateway, and the difference is what the gateway adds.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// 20 ms of 16 kHz audio in 16 bits.
const AUDIO: usize = 640;
const EVERY: Duration = Duration::from_millis(20);
/// A binary frame of that length from a client, under a mask that changes nothing.
const UP: [u8; 8] = [0x82, 0x80 | 126, (AUDIO >> 8) as u8, (AUDIO & 255) as u8, 0, 0, 0, 0];
/// The same from a server.
const DOWN: [u8; 4] = [0x82, 126, (AUDIO >> 8) as u8, (AUDIO & 255) as u8];
const HANDSHAKE: &str = "GET /r/audio HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// How much is measured.
struct Plan {
    idle: usize,
    sockets: usize,
    time: Duration,
    direct: Duration,
}

const QUICK: Plan = Plan { idle: 100, sockets: 20, time: Duration::from_secs(3), direct: Duration::from_secs(1) };
const FULL: Plan = Plan { idle: 1000, sockets: 500, time: Duration::from_secs(60), direct: Duration::from_secs(20) };

fn main() {
    let plan = if std::env::args().any(|argument| argument == "--full") { FULL } else { QUICK };
    let provider = provider();
    let clients = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let gateway = Gateway::start(provider);
    println!("| what | value |\n|---|---|");
    // What the program needs once and for all is not what a socket needs.
    drop(talk(&clients, gateway.address, 8, Duration::from_millis(200)));
    idle(&clients, &gateway, plan.idle);
    for sockets in [1, plan.sockets] {
        let direct = talk(&clients, provider, sockets, plan.direct);
        let before = gateway.vital_signs();
        let (through, most) = watched(&gateway, || talk(&clients, gateway.address, sockets, plan.time));
        let after = gateway.vital_signs();
        report(sockets, &plan, &direct, &through);
        let messages = 2 * through.len() as u32;
        let cpu = after.cpu.saturating_sub(before.cpu);
        show("processor time of the gateway per message", format!("{:.1} µs", micros(cpu) / f64::from(messages)));
        show("the same, of one core", format!("{:.0} %", 100.0 * cpu.as_secs_f64() / plan.time.as_secs_f64()));
        show("resident before, most during, after", format!("{}, {}, {}", kib(before.rss), kib(most), kib(after.rss)));
    }
}

/// Memory of sockets on which nothing happens, fresh ones and such as have been spoken on.
fn idle(clients: &Runtime, gateway: &Gateway, count: usize) {
    let before = gateway.vital_signs().rss;
    let mut sockets = clients.block_on(open(gateway.address, count));
    let fresh = gateway.vital_signs().rss;
    clients.block_on(async {
        for socket in &mut sockets {
            let _ = exchange(socket, Instant::now()).await.expect("an echo");
        }
    });
    let used = gateway.vital_signs().rss;
    let each = |rss: usize| format!("{:.1} KiB", rss.saturating_sub(before) as f64 / 1024.0 / count as f64);
    show(&format!("resident memory per idle socket, of {count}"), each(fresh));
    show("the same after a message each way", each(used));
    drop(sockets);
}

/// Runs `work`, and looks at the gateway's memory in the meantime.
fn watched<T>(gateway: &Gateway, work: impl FnOnce() -> T) -> (T, usize) {
    let (done, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let mut most = 0;
            while ended.recv_timeout(Duration::from_millis(250)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                most = most.max(gateway.vital_signs().rss);
            }
            most
        });
        let result = work();
        drop(done);
        (result, watch.join().expect("no panic"))
    })
}

fn report(sockets: usize, plan: &Plan, direct: &[Duration], through: &[Duration]) {
    let planned = sockets as f64 * plan.time.as_secs_f64() / EVERY.as_secs_f64();
    show(&format!("{sockets} sockets: messages each way"), format!("{} ({planned:.0} planned)", through.len()));
    for percent in [50, 99] {
        let (direct, through) = (percentile(direct, percent), percentile(through, percent));
        let added = micros(through) - micros(direct);
        let times = format!("{:.0} µs, {:.0} µs, {added:.0} µs", micros(direct), micros(through));
        show(&format!("there and back, p{percent}: direct, through the gateway, added"), times);
    }
}

fn show(what: &str, value: String) {
    println!("| {what} | {value} |");
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes / 1024)
}

/// The times there and back of everything that was said on so many sockets, in order.
fn talk(clients: &Runtime, to: SocketAddr, sockets: usize, time: Duration) -> Vec<Duration> {
    let mut all = clients.block_on(async {
        let sockets = open(to, sockets).await;
        let count = sockets.len();
        let start = Instant::now();
        let talks: Vec<_> = sockets
            .into_iter()
            .enumerate()
            .map(|(number, socket)| {
                // Clients do not speak all at the same moment.
                let first = start + EVERY.mul_f64(number as f64 / count as f64);
                tokio::spawn(speak(socket, first, start + time))
            })
            .collect();
        let mut all = Vec::new();
        for talk in talks {
            all.extend(talk.await.expect("no panic"));
        }
        all
    });
    all.sort_unstable();
    all
}

async fn open(to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = TcpStream::connect(to).await.expect("a connection");
        socket.set_nodelay(true).expect("a TCP socket");
        socket.write_all(HANDSHAKE.as_bytes()).await.expect("taken");
        let head = head(&mut socket).await.expect("a head");
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
        sockets.push(socket);
    }
    sockets
}

/// A byte at a time, so that nothing is read that stands behind it.
async fn head(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    Ok(head)
}

/// A frame every 20 ms; one that is not answered by then delays the next.
async fn speak(mut socket: TcpStream, first: Instant, until: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut next = first;
    while next < until {
        tokio::time::sleep_until(next.into()).await;
        times.push(exchange(&mut socket, Instant::now()).await.expect("an echo"));
        next += EVERY;
    }
    times
}

/// One frame there and one back.
async fn exchange(socket: &mut TcpStream, sent: Instant) -> std::io::Result<Duration> {
    let mut frame = [0x5a; UP.len() + AUDIO];
    frame[..UP.len()].copy_from_slice(&UP);
    socket.write_all(&frame).await?;
    let answer = &mut frame[..DOWN.len() + AUDIO];
    let _ = socket.read_exact(answer).await?;
    let time = sent.elapsed();
    assert_eq!(answer[..DOWN.len()], DOWN);
    Ok(time)
}

/// Accepts every handshake and answers each frame of audio with another.
fn provider() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("bound");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    // It ends with the process.
    drop(std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((socket, _)) = listener.accept().await {
                drop(tokio::spawn(echo(socket)));
            }
        });
    }));
    address
}

/// Until the other side leaves, which is how every one of these sockets ends.
async fn echo(mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let _ = head(&mut socket).await?;
    socket.write_all(SWITCHING.as_bytes()).await?;
    let (mut frame, mut answer) = ([0; UP.len() + AUDIO], [0; DOWN.len() + AUDIO]);
    answer[..DOWN.len()].copy_from_slice(&DOWN);
    loop {
        let _ = socket.read_exact(&mut frame).await?;
        socket.write_all(&answer).await?;
    }
}

/// The real program.
struct Gateway {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

struct VitalSigns {
    rss: usize,
    cpu: Duration,
}

impl Gateway {
    fn start(provider: SocketAddr) -> Gateway {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("gateway.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [telemetry]\nlog = {{ format = \"json\", level = \"info\", access = false }}\n\
             [[routes]]\nname = \"r\"\nmatch = {{ path = \"/r\" }}\nprovider = \"elevenlabs\"\n\
             upstream = \"http://{provider}\"\n"
        );
        fs::write(&file, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_speechgate"));
        let _ = command.args(["serve", "--config"]).arg(&file).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let (say, hear) = channel();
        watch(child.stdout.take().expect("piped"), say.clone());
        watch(child.stderr.take().expect("piped"), say);
        let address = hear.recv_timeout(Duration::from_secs(30)).expect("the program listens");
        Gateway { child, address, _directory: directory }
    }

    fn vital_signs(&self) -> VitalSigns {
        let of =
            |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).expect("it runs, on Linux");
        let status = of("status");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        let rss: usize = rss.trim().trim_end_matches(" kB").parse().expect("a number");
        let stat = of("stat");
        let fields = stat.rsplit_once(") ").expect("a name in brackets").1.split(' ');
        // User and system time, in hundredths of a second on every Linux.
        let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        VitalSigns { rss: rss * 1024, cpu: Duration::from_millis(ticks * 10) }
    }
}

/// Reads the log to its end; the line that says where the program listens is told.
fn watch(stream: impl std::io::Read + Send + 'static, say: std::sync::mpsc::Sender<SocketAddr>) {
    drop(std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            if line["message"] == "listening" {
                let address = line["address"].as_str().and_then(|address| address.parse().ok());
                let _ = say.send(address.expect("an address"));
            }
        }
    }));
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
