// SPDX-License-Identifier: Apache-2.0
//! Clients that are slow, many, silent or rude, and the end of a server.

use super::*;

const SOON: Duration = Duration::from_millis(100);

/// More than the buffers of two sockets hold, so that a client that does not read stops the server.
fn big() -> Vec<u8> {
    vec![7; 32 * 1024 * 1024]
}

/// Waits for the server to end the connection, whatever it says before.
async fn is_closed(mut socket: TcpStream) {
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, socket.read_to_end(&mut rest))
        .await
        .expect("the server closes");
}

#[tokio::test]
async fn a_connection_without_a_whole_request_is_closed() {
    let limits = Limits {
        header_time: SOON,
        ..Limits::default()
    };
    let it = Fixture::with(CONTENT, limits).await;
    let silent = it.server.connect().await;
    let mut half = it.server.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-")
        .await
        .unwrap();
    let mut idle = it.server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    tokio::join!(is_closed(silent), is_closed(half), is_closed(idle));
    assert_eq!(it.server.get(&it.path()).await.body, CONTENT);
}

#[tokio::test]
async fn a_client_that_drips_its_headers_does_not_gain_time() {
    let limits = Limits {
        header_time: SOON,
        ..Limits::default()
    };
    let it = Fixture::with(CONTENT, limits).await;
    let (mut read, mut write) = it.server.connect().await.into_split();
    let dripping = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(SOON / 10);
        // Ends when the server has closed the connection.
        while write.write_all(b"x").await.is_ok() {
            ticks.tick().await;
        }
    });
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, read.read_to_end(&mut rest))
        .await
        .expect("the server closes");
    timeout(DEADLINE, dripping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_gives_its_stream_back() {
    let limits = Limits {
        write_stall: SOON,
        ..Limits::default()
    };
    let it = Fixture::with(&big(), limits).await;
    let before = it.artifacts.streams_left();
    let mut stuck = it.server.connect().await;
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", it.path());
    stuck.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 1];
    stuck.read_exact(&mut first).await.unwrap();
    let given_back = async {
        while it.artifacts.streams_left() != before {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, given_back)
        .await
        .expect("the stream is given back");
    assert_eq!(
        it.server
            .ask("GET", &it.path(), "range: bytes=0-0\r\n")
            .await
            .body,
        [7]
    );
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let it = Fixture::new().await;
    let mut socket = it.server.connect().await;
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", it.path());
    let last = request.replace("host: x", "host: x\r\nconnection: close");
    socket
        .write_all(format!("{request}{request}{last}").as_bytes())
        .await
        .unwrap();
    let mut answers = Vec::new();
    timeout(DEADLINE, socket.read_to_end(&mut answers))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&answers)
            .matches("HTTP/1.1 200 OK")
            .count(),
        3
    );
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_is_not_read() {
    let it = Fixture::new().await;
    let mut socket = it.server.connect().await;
    let head = "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    timeout(DEADLINE, socket.read_exact(&mut start))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    is_closed(socket).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_one_to_end() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let it = Fixture::with(CONTENT, limits).await;
    let mut first = it.server.connect().await;
    let mut round_trip = async || {
        first
            .write_all(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 1024];
        assert_ne!(
            timeout(DEADLINE, first.read(&mut answer))
                .await
                .unwrap()
                .unwrap(),
            0
        );
    };
    round_trip().await;
    let mut second = it.server.connect().await;
    second
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..20 {
        round_trip().await;
    }
    assert!(
        second.try_read(&mut [0; 1]).is_err(),
        "nobody has looked at the second one"
    );
    drop(first);
    assert_eq!(Reply::read(second).await.status, 200);
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_nothing_else() {
    #[derive(Clone)]
    struct Fragile;
    impl Handler for Fragile {
        async fn answer(&self, request: &Parts) -> Response<Body> {
            assert_ne!(request.uri.path(), "/panic");
            Health.answer(request).await
        }
    }
    let server = Server::start(Fragile, Limits::default()).await;
    let mut socket = server.connect().await;
    socket
        .write_all(b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    is_closed(socket).await;
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stopped().await;
}

#[tokio::test]
async fn a_port_in_use_is_refused_with_the_flag_that_sets_it() {
    let first = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--storage-addr")
        .await
        .unwrap();
    let error = Listener::bind(first.address(), "--storage-addr")
        .await
        .unwrap_err();
    assert!(matches!(error, ServeError::InUse { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&first.address().to_string()) && text.contains("--storage-addr"),
        "{text}"
    );
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused() {
    // TEST-NET-1 (RFC 5737) belongs to nobody.
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = Listener::bind(elsewhere, "--metrics-addr")
        .await
        .unwrap_err();
    assert!(matches!(error, ServeError::Bind { .. }), "{error}");
    assert!(error.to_string().contains("--metrics-addr"));
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_frees_the_port() {
    let it = Fixture::new().await;
    let mut idle = it.server.connect().await;
    idle.write_all(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 1024];
    assert_ne!(idle.read(&mut answer).await.unwrap(), 0);
    let address = it.server.address;
    it.server.stopped().await;
    is_closed(idle).await;
    assert!(TcpStream::connect(address).await.is_err());
    Listener::bind(address, "--addr").await.unwrap();
}

#[tokio::test]
async fn stopping_lets_a_download_finish() {
    let content = big();
    let it = Fixture::with(&content, Limits::default()).await;
    let mut socket = it.server.connect().await;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        it.path()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 1];
    socket.read_exact(&mut start).await.unwrap();
    it.server.stop.cancel();
    let mut rest = Vec::new();
    timeout(DEADLINE, socket.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest[rest.len() - content.len()..], content);
    it.server.stopped().await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_client_that_does_not_read() {
    let limits = Limits {
        shutdown: SOON,
        ..Limits::default()
    };
    let it = Fixture::with(&big(), limits).await;
    let mut stuck = it.server.connect().await;
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", it.path());
    stuck.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 1];
    stuck.read_exact(&mut start).await.unwrap();
    it.server.stopped().await;
}
