// SPDX-License-Identifier: Apache-2.0
//! A registry starts on a free port and is gone when its handle is.
#![expect(clippy::unwrap_used, reason = "a test's helper may stop the test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use wharf_test_support::FakeRegistry;
use wharf_test_support::registry::Endpoint;

fn get(addr: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(addr).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_registry_answers_a_caller_that_blocks_its_own_runtime_and_logs_the_request() {
    let registry = FakeRegistry::start().await;
    let answer = get(registry.addr(), "/v2/");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    let requests = registry.requests_to(Endpoint::Ping);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].status, Some(200));
    assert_eq!(requests[0].authorization, None);
}

#[tokio::test]
async fn the_port_is_closed_after_a_shutdown() {
    let registry = FakeRegistry::start().await;
    let addr = registry.addr();
    registry.shutdown();
    assert!(TcpStream::connect(addr).is_err());
}

#[tokio::test]
async fn the_port_is_closed_after_a_panic() {
    let (tell, told) = std::sync::mpsc::channel();
    let panicked = tokio::spawn(async move {
        let registry = FakeRegistry::start().await;
        tell.send(registry.addr()).unwrap();
        panic!("as a failing assertion does");
    });
    assert!(panicked.await.is_err());
    assert!(TcpStream::connect(told.recv().unwrap()).is_err());
}

#[tokio::test]
async fn a_port_in_use_is_an_error_and_not_a_panic() {
    let first = FakeRegistry::start().await;
    let second = FakeRegistry::builder().bind(first.addr()).start().await;
    let kind = second.err().map(|error| error.kind());
    assert_eq!(kind, Some(std::io::ErrorKind::AddrInUse));
}
