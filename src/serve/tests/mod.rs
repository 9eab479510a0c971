// SPDX-License-Identifier: Apache-2.0
//! The servers over real sockets. `artifacts` asks for what is there, `paths` for what nobody should get, and
//! `connections` misbehaves.

mod artifacts;
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
