// SPDX-License-Identifier: Apache-2.0
//! The servers over real sockets. `paths` asks for what nobody should get, `connections` misbehaves.

mod connections;
mod paths;

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use wharf_oci::Digest;

use super::*;
use crate::store::{self, ArtifactKey, NewArtifact, Packer, Retention, Store, StoredArtifact};

/// No test waits for it unless something is broken.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running server.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(handler: impl Handler, limits: Limits) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any, "--addr").await.unwrap();
        let address = listener.address();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, handler, limits, stop.clone()));
        Self {
            address,
            stop,
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes as they are and returns the answer.
    async fn send(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut socket = self.connect().await;
        socket.write_all(request.as_ref()).await.unwrap();
        Reply::read(socket).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "").await
    }

    /// `headers` are whole lines, each with its end.
    async fn ask(&self, method: &str, path: &str, headers: &str) -> Reply {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        self.send(request).await
    }

    async fn stopped(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }
}

/// An answer, read to the end of the connection.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    async fn read(socket: TcpStream) -> Self {
        Self::read_rest(&[], socket).await
    }

    /// After `start` was read already.
    async fn read_rest(start: &[u8], mut socket: TcpStream) -> Self {
        let mut bytes = start.to_vec();
        let read = socket.read_to_end(&mut bytes);
        timeout(DEADLINE, read)
            .await
            .expect("the server closes")
            .unwrap();
        let end = bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(n, _)| *n == name)
            .map(|(_, value)| value)
            .next()
    }
}

/// An artifact server with one artifact, `apps/web`.
struct Fixture {
    _root: TempDir,
    store: Store,
    stored: StoredArtifact,
    ready: watch::Sender<bool>,
    missed: Arc<Mutex<Vec<String>>>,
    artifacts: Artifacts,
    server: Server,
}

const CONTENT: &[u8] = b"0123456789";

impl Fixture {
    async fn new() -> Self {
        Self::with(CONTENT, Limits::default()).await
    }

    async fn with(content: &[u8], limits: Limits) -> Self {
        let root = TempDir::new().unwrap();
        let (store, _) = Store::open(root.path(), store::Options::default()).unwrap();
        let stored = publish(&store, "web", "m", content);
        let (ready, is_ready) = watch::channel(true);
        let missed = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&missed);
        let on_miss: OnMiss =
            Arc::new(move |key: &ArtifactKey| log.lock().unwrap().push(key.to_string()));
        let artifacts = Artifacts::new(store.clone(), is_ready, on_miss);
        let server = Server::start(artifacts.clone(), limits).await;
        Self {
            _root: root,
            store,
            stored,
            ready,
            missed,
            artifacts,
            server,
        }
    }

    fn path(&self) -> String {
        format!("/{}", self.stored.path())
    }

    fn missed(&self) -> Vec<String> {
        std::mem::take(&mut self.missed.lock().unwrap())
    }

    /// The file behind the artifact, for those who want to spoil it.
    fn blob(&self) -> std::path::PathBuf {
        let digest = &self.stored.digest;
        self.store
            .root()
            .join("blobs")
            .join(digest.algorithm().name())
            .join(digest.hex())
    }
}

fn publish(store: &Store, name: &str, manifest: &str, content: &[u8]) -> StoredArtifact {
    let staged = store.stage().unwrap();
    staged.file().write_all(content).unwrap();
    let artifact = NewArtifact {
        key: ArtifactKey::new("apps", name).unwrap(),
        revision: "1.0.0".to_owned(),
        manifest_digest: Digest::sha256_of(manifest.as_bytes()),
        digest: Digest::sha256_of(content),
        size: content.len() as u64,
        uid: String::new(),
        metadata: BTreeMap::new(),
        packer: Packer::Passthrough,
        trust: String::new(),
    };
    store
        .publish(
            staged,
            artifact,
            Timestamp::from_second(1_800_000_000).unwrap(),
        )
        .unwrap()
}

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

#[tokio::test]
async fn health_answers_on_all_its_paths_and_on_nothing_else() {
    let server = Server::start(Health, Limits::default()).await;
    for path in [
        "/healthz",
        "/readyz",
        "/healthz/ping",
        "/readyz/ping",
        "/healthz?verbose",
        "/readyz/",
    ] {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (200, b"ok".as_slice()),
            "{path}"
        );
    }
    for path in ["/", "/healthz/x", "/metrics", "/HEALTHZ"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    assert_eq!(server.ask("POST", "/healthz", "").await.status, 405);
}

#[tokio::test]
async fn metrics_are_written_anew_for_each_scrape() {
    let count = Arc::new(Mutex::new(0));
    let page = MetricsPage::new(Arc::new(move || {
        *count.lock().unwrap() += 1;
        format!("scrapes {}\n# EOF\n", count.lock().unwrap())
    }));
    let server = Server::start(page, Limits::default()).await;
    server.get("/metrics").await;
    let reply = server.get("/metrics").await;
    assert_eq!(reply.body, b"scrapes 2\n# EOF\n");
    assert!(
        reply
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    for path in ["/", "/debug/pprof/"] {
        assert_eq!(server.get(path).await.status, 404);
    }
    assert_eq!(server.ask("DELETE", "/metrics", "").await.status, 405);
}
