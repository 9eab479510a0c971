// SPDX-License-Identifier: Apache-2.0
//! Artifacts as a well-behaved consumer asks for them.

use super::*;

#[tokio::test]
async fn an_artifact_comes_whole_with_all_that_a_client_needs_to_ask_less_next_time() {
    let it = Fixture::new().await;
    let reply = it.server.get(&it.path()).await;
    assert_eq!((reply.status, reply.body.as_slice()), (200, CONTENT));
    for (name, value) in [
        ("content-length", "10"),
        ("content-type", "application/gzip"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("last-modified", "fri, 15 jan 2027 08:00:00 gmt"),
        ("etag", &format!("\"{}\"", it.stored.digest)),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    assert!(it.missed().is_empty());
}

#[tokio::test]
async fn head_says_the_same_without_the_bytes() {
    let it = Fixture::new().await;
    let whole = it.server.get(&it.path()).await;
    let reply = it
        .server
        .ask("HEAD", &it.path(), "range: bytes=0-1\r\n")
        .await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    for name in [
        "content-length",
        "content-type",
        "etag",
        "last-modified",
        "accept-ranges",
    ] {
        assert_eq!(reply.header(name), whole.header(name), "{name}");
    }
}

#[tokio::test]
async fn the_latest_artifact_and_an_escaped_colon_are_found() {
    let it = Fixture::new().await;
    let escaped = it.path().replace(':', "%3A");
    for path in [
        format!("/{}", it.stored.latest_path()),
        escaped.clone(),
        escaped.replace("%3A", "%3a"),
    ] {
        assert_eq!(it.server.get(&path).await.body, CONTENT, "{path}");
    }
    publish(&it.store, "web", "m2", b"newer");
    assert_eq!(
        it.server
            .get(&format!("/{}", it.stored.latest_path()))
            .await
            .body,
        b"newer"
    );
    assert_eq!(
        it.server.get(&it.path()).await.body,
        CONTENT,
        "the old one is still there"
    );
}

#[tokio::test]
async fn a_part_is_sent_alone_and_says_where_it_is_from() {
    let it = Fixture::new().await;
    for (range, body, place) in [
        ("2-4", "234", "2-4"),
        ("-3", "789", "7-9"),
        ("8-", "89", "8-9"),
    ] {
        let reply = it
            .server
            .ask("GET", &it.path(), &format!("range: bytes={range}\r\n"))
            .await;
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (206, body.as_bytes())
        );
        assert_eq!(
            reply.header("content-range"),
            Some(format!("bytes {place}/10").as_str())
        );
        assert_eq!(
            reply.header("content-length"),
            Some(body.len().to_string().as_str())
        );
        assert_eq!(
            reply.header("etag"),
            Some(format!("\"{}\"", it.stored.digest).as_str())
        );
    }
    let reply = it
        .server
        .ask("GET", &it.path(), "range: bytes=10-\r\n")
        .await;
    assert_eq!(
        (reply.status, reply.header("content-range")),
        (416, Some("bytes */10"))
    );
    let reply = it
        .server
        .ask("GET", &it.path(), "range: bytes=0-1,4-5\r\n")
        .await;
    assert_eq!((reply.status, reply.body.as_slice()), (200, CONTENT));
}

#[tokio::test]
async fn a_client_that_has_the_artifact_is_told_so() {
    let it = Fixture::new().await;
    let condition = format!("if-none-match: \"{}\"\r\n", it.stored.digest);
    for method in ["GET", "HEAD"] {
        let reply = it.server.ask(method, &it.path(), &condition).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0));
        assert!(reply.header("etag").is_some());
    }
    // Other bytes for the same manifest have another tag.
    publish(&it.store, "web", "m", b"packed by newer rules");
    let reply = it.server.ask("GET", &it.path(), &condition).await;
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (200, b"packed by newer rules".as_slice())
    );
}

#[tokio::test]
async fn an_empty_artifact_is_served_as_such() {
    let it = Fixture::with(b"", Limits::default()).await;
    let reply = it.server.get(&it.path()).await;
    assert_eq!(
        (
            reply.status,
            reply.body.len(),
            reply.header("content-length")
        ),
        (200, 0, Some("0"))
    );
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let it = Fixture::new().await;
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get",
    ] {
        for path in ["/", it.path().as_str(), "/nothing"] {
            let reply = it.server.ask(method, path, "content-length: 0\r\n").await;
            assert_eq!(
                (reply.status, reply.header("allow")),
                (405, Some("get, head")),
                "{method} {path}"
            );
        }
    }
    assert_eq!(
        it.server
            .send("OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .status,
        405
    );
    assert_eq!(
        it.server
            .send("CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\nconnection: close\r\n\r\n")
            .await
            .status,
        405
    );
}

#[tokio::test]
async fn the_root_says_whether_this_process_is_ready() {
    let it = Fixture::new().await;
    let reply = it.server.get("/").await;
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (200, b"wharf\n".as_slice())
    );
    assert_eq!(it.server.ask("HEAD", "/", "").await.status, 200);
    it.ready.send(false).unwrap();
    assert_eq!(it.server.get("/").await.status, 503);
    assert_eq!(
        it.server.get(&it.path()).await.body,
        CONTENT,
        "what is stored is served all the same"
    );
    let missing = it.path().replace("/web/", "/api/");
    assert_eq!(
        it.server.get(&missing).await.status,
        503,
        "ask again rather than believe it is gone"
    );
}

#[tokio::test]
async fn what_is_missing_is_told_to_whoever_can_make_it() {
    let it = Fixture::new().await;
    let superseded = it
        .path()
        .replace(it.stored.manifest_digest.hex(), &"0".repeat(64));
    assert_eq!(it.server.get(&superseded).await.status, 404);
    assert_eq!(
        it.server
            .get("/ocirepository/apps/api/latest.tar.gz")
            .await
            .status,
        404
    );
    assert_eq!(it.missed(), ["apps/web", "apps/api"]);
    assert_eq!(it.server.get("/favicon.ico").await.status, 404);
    assert!(it.missed().is_empty());
}

#[tokio::test]
async fn a_blob_that_is_gone_or_damaged_is_no_empty_answer() {
    let it = Fixture::new().await;
    std::fs::write(it.blob(), "0123").unwrap();
    let reply = it.server.get(&it.path()).await;
    assert_eq!(
        (reply.status, it.missed()),
        (503, vec!["apps/web".to_owned()])
    );
    std::fs::remove_file(it.blob()).unwrap();
    assert_eq!(it.server.ask("HEAD", &it.path(), "").await.status, 404);
    assert_eq!(it.missed(), ["apps/web"]);
}

#[tokio::test]
async fn a_big_artifact_streams_right_while_others_replace_it_and_its_blob_is_collected() {
    let big: Vec<u8> = (0_u32..6_000_000).flat_map(u32::to_le_bytes).collect();
    let it = Fixture::with(&big, Limits::default()).await;
    let mut socket = it.server.connect().await;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        it.path()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    // The answer has begun, and most of it does not fit in the buffers on the way.
    let mut start = [0; 1];
    socket.read_exact(&mut start).await.unwrap();
    let store = it.store.clone();
    let replace = tokio::task::spawn_blocking(move || replace_often(&store));
    let (rest, replaced) = tokio::join!(Reply::read_rest(&start, socket), replace);
    replaced.unwrap();
    assert_eq!(Digest::sha256_of(&rest.body), it.stored.digest);
    assert!(!it.blob().exists());
    assert_eq!(it.server.get(&it.path()).await.status, 404);
}

fn replace_often(store: &Store) {
    let key = ArtifactKey::new("apps", "web").unwrap();
    let retention = Retention {
        ttl: Duration::ZERO,
        records: 1,
    };
    for n in 0..50 {
        publish(
            store,
            "web",
            &format!("m{n}"),
            format!("content {n}").as_bytes(),
        );
        let later = Timestamp::from_second(1_800_000_000 + 100 * n).unwrap();
        store.forget_superseded(&key, &retention, later).unwrap();
    }
}

#[tokio::test]
async fn a_part_across_the_pieces_of_a_big_artifact_is_exact() {
    let big: Vec<u8> = (0_u32..600_000).flat_map(u32::to_le_bytes).collect();
    let it = Fixture::with(&big, Limits::default()).await;
    let reply = it
        .server
        .ask("GET", &it.path(), "range: bytes=262143-1048577\r\n")
        .await;
    assert_eq!(reply.status, 206);
    assert!(reply.body == big[262_143..=1_048_577]);
}
