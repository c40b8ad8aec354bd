//! Two gateways and three routes of one account, which each gateway calls by another name; and tenants that share it.

use crate::server::{DEADLINE, Server};
use speechgate::app::{Handle, start};
use speechgate::config::load_str;
use speechgate::config::types::Listen;
use speechgate::proxy::gateway_key::{hash, make, shown};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A provider that takes its time, and what it has seen.
#[derive(Default)]
struct Provider {
    now: AtomicU32,
    most: AtomicU32,
    served: AtomicU32,
    /// The same of each tenant, by the last part of the path.
    tenants: Mutex<BTreeMap<String, [u32; 3]>>,
}

impl Provider {
    async fn start(takes: Duration) -> (SocketAddr, Arc<Provider>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, provider) = (listener.local_addr().expect("an address"), Arc::<Provider>::default());
        let seen = Arc::clone(&provider);
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(Arc::clone(&seen).serve(stream, takes)));
            }
        }));
        (address, provider)
    }

    fn count(&self, tenant: &str, change: impl FnOnce(&mut [u32; 3])) {
        change(self.tenants.lock().expect("no panic").entry(tenant.to_owned()).or_default());
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, takes: Duration) {
        let mut bytes = [0; 4096];
        // Requests without a body come whole.
        while let Ok(length @ 1..) = stream.read(&mut bytes).await {
            let head = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let tenant = path.rsplit('/').next().unwrap_or_default().to_owned();
            self.count(&tenant, |[now, most, _]| {
                *now += 1;
                *most = (*most).max(*now);
            });
            let now = self.now.fetch_add(1, SeqCst) + 1;
            let _ = self.most.fetch_max(now, SeqCst);
            tokio::time::sleep(takes).await;
            self.count(&tenant, |[now, _, served]| {
                *now -= 1;
                *served += 1;
            });
            let _ = (self.served.fetch_add(1, SeqCst), self.now.fetch_sub(1, SeqCst));
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
    }
}

struct Gateway {
    running: Handle,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Gateway {
    /// One with these routes of its account.
    fn start(server: &Server, provider: SocketAddr, name: &str, routes: &[&str], lines: &str) -> Gateway {
        let route = |route: &&str| {
            format!(
                "[[routes]]\nname = '{route}'\nmatch = {{ path = '/{route}' }}\nprovider = 'elevenlabs'\n\
                 upstream = 'http://{provider}'\naccount = '{name}'\n"
            )
        };
        let routes: String = routes.iter().map(route).collect();
        let text = format!(
            "[server]\nlisten = '127.0.0.1:0'\nworkers = 1\n[admin]\nlisten = '127.0.0.1:0'\n\
             [telemetry]\nlog = {{ level = 'error', access = false }}\n\
             [limits]\nbackend = '{}'\nlease = '2s'\ntimeout = '200ms'\n\
             [[accounts]]\nname = '{name}'\ncredentials = {{ header = 'xi-api-key', value = 'sk-one' }}\n{lines}\n{routes}",
            server.url()
        );
        let loaded = load_str(&[("gateway.toml", &text)], []).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let running = start(loaded, None).expect("a gateway");
        let tcp = |listen: &Listen| match listen {
            Listen::Tcp(address) => *address,
            Listen::Unix(path) => panic!("a TCP listener, not {path:?}"),
        };
        let (address, admin) = (tcp(running.address()), tcp(running.admin_address().expect("an admin listener")));
        Gateway { running, address, admin }
    }

    async fn ends(self) {
        self.running.stop();
        tokio::task::spawn_blocking(|| self.running.join()).await.expect("no panic");
    }
}

/// The whole answer to a request.
async fn ask(address: SocketAddr, path: &str) -> String {
    ask_with(address, path, "none").await
}

async fn ask_with(address: SocketAddr, path: &str, key: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nxi-api-key: {key}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("taken");
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await.expect("an answer");
    text
}

async fn two(server: &Server, provider: SocketAddr, lines: &str) -> [Gateway; 2] {
    let gateways = [
        Gateway::start(server, provider, "eleven", &["a", "b"], lines),
        Gateway::start(server, provider, "the-other-name", &["c"], lines),
    ];
    let start = Instant::now();
    for gateway in &gateways {
        while !ask(gateway.admin, "/metrics").await.contains("speechgate_fleet_size 2") {
            assert!(start.elapsed() < DEADLINE, "they have not met");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    gateways
}

#[tokio::test]
async fn gateways_and_routes_share_the_slots_of_an_account() {
    let Some(server) = Server::start() else { return };
    let (address, provider) = Provider::start(Duration::from_millis(20)).await;
    let gateways = two(&server, address, "concurrency = { max = 2, queue = 100, max_wait = '20s' }").await;
    let (one, other) = (gateways[0].address, gateways[1].address);
    let calls = (0..60).map(|number| {
        let (to, path) = [(one, "/a/x"), (one, "/b/x"), (other, "/c/x")][number % 3];
        tokio::spawn(async move { ask(to, path).await })
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        let answer = call.await.expect("no panic");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!((provider.most.load(SeqCst), provider.served.load(SeqCst)), (2, 60));
    for gateway in gateways {
        gateway.ends().await;
    }
}

#[tokio::test]
async fn gateways_and_routes_share_the_rates_of_an_account() {
    let Some(server) = Server::start() else { return };
    let (address, provider) = Provider::start(Duration::ZERO).await;
    let gateways = two(&server, address, "rate_limits = [{ requests = 7, per = '1h' }]").await;
    let mut passed = 0;
    for number in 0..18 {
        let (to, path) =
            [(gateways[0].address, "/a/x"), (gateways[0].address, "/b/x"), (gateways[1].address, "/c/x")][number % 3];
        let answer = ask(to, path).await;
        passed += u32::from(answer.starts_with("HTTP/1.1 200 "));
        assert_eq!(answer.contains("\"account-rate-1\""), !answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!((passed, provider.served.load(SeqCst)), (7, 7));
    for gateway in gateways {
        gateway.ends().await;
    }
}

/// One tenant wants far more than the others, by every route at both gateways; one may hold a single slot, and one has a route at one
/// gateway alone.
#[tokio::test]
async fn tenants_share_the_slots_of_an_account_over_routes_and_gateways() {
    let Some(server) = Server::start() else { return };
    let (address, provider) = Provider::start(Duration::from_millis(250)).await;
    let keys: [String; 3] = std::array::from_fn(|_| make().expect("random bytes"));
    let names = [("greedy", ""), ("modest", ""), ("single", "max = 1")];
    let table = |((name, lines), key): (&(&str, &str), &String)| {
        format!("[[tenants]]\nname = '{name}'\nkeys = ['{}']\n{lines}\n", shown(&hash(key.as_bytes())))
    };
    let tenants: String = names.iter().zip(&keys).map(table).collect();
    let lines = format!("concurrency = {{ max = 5, queue = 200, max_wait = '60s' }}\n{tenants}");
    let gateways = two(&server, address, &lines).await;
    let (one, other) = (gateways[0].address, gateways[1].address);
    let places = [(one, "/a"), (one, "/b"), (other, "/c")];
    let end = Instant::now() + Duration::from_secs(6);
    let mut clients = Vec::new();
    for (tenant, count, places) in [(0, 18, &places[..]), (1, 4, &places[2..]), (2, 3, &places[..])] {
        for number in 0..count {
            let ((to, route), key) = (places[number % places.len()], keys[tenant].clone());
            let path = format!("{route}/x/{}", names[tenant].0);
            clients.push(tokio::spawn(async move {
                while Instant::now() < end {
                    let answer = ask_with(to, &path, &key).await;
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                }
            }));
        }
    }
    for client in clients {
        client.await.expect("no panic");
    }
    let seen = provider.tenants.lock().expect("no panic").clone();
    println!("now, most, served: {seen:?}");
    assert_eq!(provider.most.load(SeqCst), 5);
    assert_eq!(seen["single"][1], 1, "its maximum is that of the fleet and of all routes");
    let [greedy, modest] = ["greedy", "modest"].map(|name| f64::from(seen[name][2]));
    let jain = (greedy + modest).powi(2) / (2.0 * (greedy * greedy + modest * modest));
    assert!(jain >= 0.95, "{seen:?}");
    for gateway in gateways {
        gateway.ends().await;
    }
}
