//! Plans, sabotage and the end.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn the_plan_is_enforced_to_the_last_byte() {
    for provider in Provider::ALL {
        let options = Options { plan: Some(1), ..Options::instant() };
        let simulator = Simulator::start(provider, options).await.unwrap();
        let (job, _) = main_job(provider);
        let asked = request(&simulator, Method::POST, job).header(FAULT_HEADER, "mid-net-hang");
        let held = begin(Version::HTTP_11, asked, "{}").await.unwrap();
        let refused = send(Version::HTTP_11, request(&simulator, Method::POST, job), "{}").await.unwrap();
        let plan = &Dialect::of(provider).plan;
        let fault = find(provider, &plan.fault).unwrap();
        assert_eq!((refused.status, refused.text()), (fault.status, fault.body.clone()), "{provider}");
        if let Some(name) = &plan.limit_header {
            assert_eq!(refused.header(name), Some("1"), "{provider}");
            assert_eq!(refused.header(plan.current_header.as_ref().unwrap()), Some("1"), "{provider}");
        }
        assert_eq!(simulator.stats().in_use, 1);
        drop(held);
        // That the client has left is noticed when its connection is gone.
        let freed = async {
            while simulator.stats().in_use > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, freed).await.unwrap();
        assert!(
            send(Version::HTTP_11, request(&simulator, Method::POST, job), "{}").await.unwrap().status < 300,
            "{provider}"
        );
        let stats = simulator.stats();
        assert_eq!((stats.served, stats.refused, stats.unfinished, stats.peak), (2, 1, 1, 1), "{provider}");
        simulator.stop().await;
    }
}

/// Sends one request on a bare socket and reads until the end or for a moment.
async fn bare(simulator: &Simulator, name: &str) -> (Vec<u8>, &'static str) {
    let mut socket = TcpStream::connect(simulator.address()).await.unwrap();
    let head = format!(
        "GET /v1/voices/x HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\nxi-api-key: k\r\n{FAULT_HEADER}: net-{name}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let patience = if name.contains("hang") { Duration::from_millis(300) } else { PATIENCE };
    let end = loop {
        let mut buffer = [0; 64 * 1024];
        match timeout(patience, socket.read(&mut buffer)).await {
            Err(_) => break "silent",
            Ok(Err(_)) => break "reset",
            Ok(Ok(0)) => break "closed",
            Ok(Ok(len)) => all.extend_from_slice(&buffer[..len]),
        }
        if name.contains("slow") && all.len() > 40 {
            break "dripping";
        }
        // What ends by itself and keeps the connection is over when its length is there.
        if let Some(at) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&all[..at]).to_ascii_lowercase();
            let length =
                head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
            if length.is_some_and(|length| all.len() >= at + 4 + length) {
                break "complete";
            }
        }
    };
    (all, end)
}

#[tokio::test]
async fn the_network_fails_in_every_way_it_promises() {
    for provider in [Provider::ElevenLabs, Provider::ZenHire] {
        let simulator = instant(provider).await;
        for fault in NET_FAULTS {
            let (bytes, end) = bare(&simulator, fault.name).await;
            let status =
                bytes.get(9..12).map(|status| String::from_utf8_lossy(status).into_owned()).unwrap_or_default();
            let expected = match fault.name {
                "reset" => ("", "reset"),
                "empty" => ("", "closed"),
                "hang" => ("", "silent"),
                "slow-head" => ("200", "dripping"),
                "garbage" => (status.as_str(), "closed"),
                "head-cut" => ("200", "closed"),
                "body-cut" | "chunk-cut" => ("200", "closed"),
                "body-hang" => ("200", "silent"),
                "error-cut" => ("500", "closed"),
                "error-hang" => ("503", "silent"),
                "html-502" => ("502", "complete"),
                "bad-gzip" | "gzip-bomb" | "10mb" | "nested" => ("500", "complete"),
                other => panic!("what does {other} promise?"),
            };
            assert_eq!(
                (status.as_str(), end),
                expected,
                "{}: {}",
                fault.name,
                String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
            );
            match fault.name {
                "garbage" => assert!(!bytes.starts_with(b"HTTP") && !bytes.is_empty()),
                "head-cut" => assert!(!bytes.windows(4).any(|four| four == b"\r\n\r\n")),
                "chunk-cut" => assert!(!bytes.ends_with(b"0\r\n\r\n")),
                "10mb" => assert!(bytes.len() > 10_000_000),
                "gzip-bomb" => assert!(bytes.len() < 200_000),
                _ => {}
            }
        }
        simulator.stop().await;
    }
}

#[tokio::test]
async fn http2_connections_can_be_sabotaged_too() {
    let simulator = instant(Provider::Corti).await;
    for name in ["reset", "empty", "garbage", "head-cut"] {
        let asked = request(&simulator, Method::GET, "/v2/interactions/").header(FAULT_HEADER, format!("net-{name}"));
        assert!(send(Version::HTTP_2, asked, "").await.is_err(), "{name}");
    }
    let well = send(Version::HTTP_2, request(&simulator, Method::GET, "/v2/interactions/"), "").await.unwrap();
    assert_eq!(well.status, 200);
    simulator.stop().await;
}

#[tokio::test]
async fn a_simulator_that_stops_lets_go_of_everything() {
    let simulator = instant(Provider::Cartesia).await;
    let asked = request(&simulator, Method::POST, "/tts/bytes").header(FAULT_HEADER, "mid-net-hang");
    let mut held = begin(Version::HTTP_11, asked, "{}").await.unwrap();
    let (address, plan) = (simulator.address(), simulator.plan.clone());
    timeout(PATIENCE, simulator.stop()).await.unwrap();
    assert_eq!(plan.stats().in_use, 0);
    let rest = async { while let Some(Ok(_)) = held.frame().await {} };
    timeout(PATIENCE, rest).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
