// SPDX-License-Identifier: Apache-2.0
//! Each fault is on the wire what its name says. The client is a socket, so that no library is lenient in between.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helper may stop the test"
)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use wharf_test_support::FakeRegistry;
use wharf_test_support::registry::{Endpoint, Fault, Gate, Rule, sha256};

const CONTENT: &[u8] = b"0123456789";
const LONG: Duration = Duration::from_hours(1);

/// How an answer ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
    /// More came than was wanted.
    StillSending,
    /// Nothing more came for a while.
    Stalled,
}

struct Heard {
    head: String,
    body: Vec<u8>,
    end: End,
}

impl Heard {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

fn connect(registry: &FakeRegistry, request: &str) -> TcpStream {
    let mut socket = TcpStream::connect(registry.addr()).unwrap();
    write!(
        socket,
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    socket
}

/// Sends a request and reads up to `limit` bytes. `patience` ends a read only where nothing will ever come.
fn hear(registry: &FakeRegistry, request: &str, limit: usize, patience: Duration) -> Heard {
    let mut socket = connect(registry, request);
    socket.set_read_timeout(Some(patience)).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let end = loop {
        match socket.read(&mut piece) {
            Ok(0) => break End::Closed,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break End::Reset,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break End::Stalled,
            Err(error) => panic!("{error}"),
        }
        if bytes.len() > limit {
            break End::StillSending;
        }
    };
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let split = split.map_or(bytes.len(), |at| at + 4);
    Heard {
        head: String::from_utf8(bytes[..split].to_vec()).unwrap(),
        body: bytes[split..].to_vec(),
        end,
    }
}

/// What a GET of [`CONTENT`] hears under this fault.
async fn pulled_under(fault: Fault) -> Heard {
    let registry = FakeRegistry::start().await;
    registry.script(Rule::on(Endpoint::Blob).fault(fault));
    pull(&registry)
}

fn pull(registry: &FakeRegistry) -> Heard {
    let digest = registry.put_blob("app", CONTENT);
    let request = format!("GET /v2/app/blobs/{digest}");
    hear(registry, &request, 1 << 20, Duration::from_secs(30))
}

#[tokio::test]
async fn without_a_fault_the_answer_is_honest() {
    let heard = pulled_under(Fault::Honest).await;
    assert_eq!((heard.status(), heard.body.as_slice()), ("200", CONTENT));
    assert_eq!(
        heard.header("docker-content-digest"),
        Some(sha256(CONTENT).as_str())
    );
    assert_eq!(heard.end, End::Closed);
}

#[tokio::test]
async fn a_status_comes_with_its_headers_and_body() {
    let fault = Fault::status_with(429, &[("Retry-After", "garbage")], "slow down");
    let heard = pulled_under(fault).await;
    assert_eq!(
        (heard.status(), heard.body.as_slice()),
        ("429", &b"slow down"[..])
    );
    assert_eq!(heard.header("retry-after"), Some("garbage"));
}

#[tokio::test]
async fn a_wrong_digest_is_other_bytes_of_the_same_length_under_the_right_headers() {
    let heard = pulled_under(Fault::WrongDigest).await;
    assert_eq!(heard.body, b"0123456788");
    assert_eq!(heard.header("content-length"), Some("10"));
    assert_eq!(
        heard.header("docker-content-digest"),
        Some(sha256(CONTENT).as_str())
    );
}

#[tokio::test]
async fn another_body_tells_its_own_length() {
    let heard = pulled_under(Fault::OtherBody("hello".into())).await;
    assert_eq!(heard.body, b"hello");
    assert_eq!(heard.header("content-length"), Some("5"));
    assert_eq!(
        heard.header("docker-content-digest"),
        Some(sha256(CONTENT).as_str())
    );
}

#[tokio::test]
async fn a_wrong_digest_header_comes_with_the_right_body() {
    let heard = pulled_under(Fault::WrongDigestHeader).await;
    assert_eq!(heard.body, CONTENT);
    let told = heard.header("docker-content-digest").unwrap();
    assert!(
        told.starts_with("sha256:") && told != sha256(CONTENT),
        "{told}"
    );
}

#[tokio::test]
async fn a_length_may_be_told_as_more_or_less_than_is_sent() {
    for (delta, told) in [(3, "13"), (-4, "6")] {
        let heard = pulled_under(Fault::WrongLength(delta)).await;
        assert_eq!(heard.header("content-length"), Some(told));
        assert_eq!(heard.body, CONTENT);
        assert_eq!(heard.end, End::Closed);
    }
}

#[tokio::test]
async fn a_connection_is_reset_or_closed_at_the_byte_asked_for() {
    for byte in [0, 1, 9] {
        let reset = pulled_under(Fault::ResetAt(byte)).await;
        assert_eq!(
            (reset.body.as_slice(), reset.end),
            (&CONTENT[..byte], End::Reset)
        );
        assert_eq!(reset.head.matches("content-length: 10").count(), 1);

        let closed = pulled_under(Fault::CloseAt(byte)).await;
        assert_eq!(
            (closed.body.as_slice(), closed.end),
            (&CONTENT[..byte], End::Closed)
        );
        assert_eq!(closed.head.matches("content-length: 10").count(), 1);
    }
}

#[tokio::test]
async fn a_redirect_names_its_target_and_does_nothing_else() {
    let registry = FakeRegistry::start().await;
    let redirect = Fault::Redirect("http://elsewhere.example/x".to_owned(), 307);
    registry.script(Rule::on(Endpoint::Upload).fault(redirect));
    let request = "POST /v2/app/blobs/uploads/";
    let heard = hear(&registry, request, 1 << 20, Duration::from_secs(30));
    assert_eq!(heard.status(), "307");
    assert_eq!(heard.header("location"), Some("http://elsewhere.example/x"));
}

#[tokio::test]
async fn an_endless_body_has_no_length_and_goes_on() {
    let heard = pulled_under(Fault::Endless).await;
    assert_eq!(heard.header("content-length"), None);
    assert_eq!(heard.header("transfer-encoding"), None);
    assert_eq!(heard.end, End::StillSending);

    let heard = pulled_under(Fault::EndlessChunked).await;
    assert_eq!(heard.header("content-length"), None);
    assert_eq!(heard.header("transfer-encoding"), Some("chunked"));
    assert!(heard.body.starts_with(b"2000\r\nAAAA"));
    assert_eq!(heard.body[6 + 0x2000..][..8], *b"\r\n2000\r\n");
    assert_eq!(heard.end, End::StillSending);
}

#[tokio::test]
async fn a_dripping_body_comes_whole_in_the_end() {
    let every = Duration::from_millis(1);
    let heard = pulled_under(Fault::Drip { bytes: 3, every }).await;
    assert_eq!((heard.body.as_slice(), heard.end), (CONTENT, End::Closed));
}

#[tokio::test]
async fn a_dripping_body_pauses_after_each_piece() {
    let registry = FakeRegistry::start().await;
    let drip = Fault::Drip {
        bytes: 3,
        every: LONG,
    };
    registry.script(Rule::on(Endpoint::Blob).fault(drip));
    let digest = registry.put_blob("app", CONTENT);
    let mut socket = connect(&registry, &format!("GET /v2/app/blobs/{digest}"));
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b"\r\n\r\n012") {
        socket.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    assert_eq!(
        socket.read(&mut byte).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn silence_and_a_delay_leave_the_request_seen_and_unanswered() {
    for fault in [Fault::Silence, Fault::Delay(LONG)] {
        let registry = FakeRegistry::start().await;
        registry.script(Rule::on(Endpoint::Ping).fault(fault));
        let heard = hear(&registry, "GET /v2/", 1, Duration::from_millis(100));
        assert_eq!((heard.head.as_str(), heard.end), ("", End::Stalled));
    }
    let heard = pulled_under(Fault::Delay(Duration::from_millis(1))).await;
    assert_eq!(heard.body, CONTENT);
}

#[tokio::test]
async fn a_captive_portal_says_that_all_is_well_in_html() {
    let heard = pulled_under(Fault::Html).await;
    assert_eq!(heard.status(), "200");
    assert_eq!(heard.header("content-type"), Some("text/html"));
    assert!(heard.body.starts_with(b"<!DOCTYPE html>"));
}

#[tokio::test]
async fn the_answer_to_head_has_no_body_under_any_fault() {
    let reset = Fault::ResetAt(4);
    for fault in [
        Fault::Honest,
        Fault::Endless,
        Fault::WrongLength(1),
        reset,
        Fault::Html,
    ] {
        let registry = FakeRegistry::start().await;
        registry.script(Rule::on(Endpoint::Blob).fault(fault));
        let digest = registry.put_blob("app", CONTENT);
        let request = format!("HEAD /v2/app/blobs/{digest}");
        let heard = hear(&registry, &request, 1 << 20, Duration::from_secs(30));
        assert_eq!((heard.status(), heard.body.as_slice()), ("200", &b""[..]));
    }
}

#[tokio::test]
async fn a_sequence_is_played_once_and_then_the_registry_is_honest() {
    let registry = FakeRegistry::start().await;
    let sequence = [Fault::status(429), Fault::Honest, Fault::status(503)];
    registry.script(Rule::on(Endpoint::Blob).get().faults(sequence));
    let heard = [(); 4].map(|()| pull(&registry).status().to_owned());
    assert_eq!(heard, ["429", "200", "503", "200"]);
    let logged: Vec<_> = registry.requests().iter().map(|seen| seen.status).collect();
    assert_eq!(logged, [429, 200, 503, 200].map(Some));
}

#[tokio::test]
async fn a_rule_can_be_narrowed_and_taken_back() {
    let registry = FakeRegistry::start().await;
    let elsewhere = Rule::on(Endpoint::Blob)
        .repository("other")
        .fault(Fault::status(500));
    let other_method = Rule::on(Endpoint::Blob)
        .method(http::Method::PUT)
        .fault(Fault::status(501));
    let other_digest = Rule::on(Endpoint::Blob)
        .reference("sha256:0")
        .fault(Fault::status(502));
    for rule in [elsewhere, other_method, other_digest] {
        registry.script(rule);
    }
    assert_eq!(pull(&registry).status(), "200");

    registry.script(
        Rule::on(Endpoint::Blob)
            .skip(1)
            .times(1)
            .fault(Fault::status(503)),
    );
    let heard = [(); 3].map(|()| pull(&registry).status().to_owned());
    assert_eq!(heard, ["200", "503", "200"]);

    registry.script(Rule::on(Endpoint::Blob).fault(Fault::status(504)));
    assert_eq!(pull(&registry).status(), "504");
    registry.be_honest();
    assert_eq!(pull(&registry).status(), "200");
}

#[tokio::test]
async fn a_request_refused_for_want_of_credentials_is_not_counted() {
    let registry = FakeRegistry::builder()
        .basic("user", "pass")
        .start()
        .await
        .unwrap();
    registry.script(Rule::on(Endpoint::Ping).fault(Fault::status(503)));
    let heard = hear(&registry, "GET /v2/", 1 << 20, Duration::from_secs(30));
    assert_eq!(heard.status(), "401");
    // The value is "user:pass"; `hear` completes the last line with the protocol's version.
    let request = "GET /v2/ HTTP/1.1\r\nAuthorization: Basic dXNlcjpwYXNz\r\nX-Rest:";
    let heard = hear(&registry, request, 1 << 20, Duration::from_secs(30));
    assert_eq!(heard.status(), "503");
}

#[tokio::test]
async fn a_held_request_has_no_effect_until_it_is_released() {
    let registry = std::sync::Arc::new(FakeRegistry::start().await);
    let gate = Gate::new();
    registry.script(Rule::on(Endpoint::Upload).times(2).hold(&gate));
    let digest = sha256(b"");
    let push = |repository: &str| {
        let request = format!("POST /v2/{repository}/blobs/uploads/?digest={digest}");
        let registry = std::sync::Arc::clone(&registry);
        let forever = Duration::from_secs(30);
        tokio::task::spawn_blocking(move || hear(&registry, &request, 1 << 20, forever))
    };
    let first = push("first");
    gate.arrived(1).await;
    let second = push("second");
    gate.arrived(2).await;
    assert_eq!(registry.blob("first", &digest), None);

    gate.release_one();
    assert_eq!(first.await.unwrap().status(), "201");
    assert!(registry.blob("first", &digest).is_some());
    assert_eq!(registry.blob("second", &digest), None);

    gate.open();
    assert_eq!(second.await.unwrap().status(), "201");
    assert_eq!(push("third").await.unwrap().status(), "201");
}
