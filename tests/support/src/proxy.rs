// SPDX-License-Identifier: Apache-2.0
//! A proxy on a port of this machine: CONNECT, whole URLs of plain HTTP, and SOCKS5.
//!
//! It writes down what it was asked for and with which name and password, leads names to where a test says, and misbehaves
//! as a test wants. Like the registry it has a thread of its own and ends when it is dropped.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::tls::Identity;

/// A running proxy.
pub struct FakeProxy {
    addr: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// One request to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `CONNECT`, `SOCKS5`, or the method of a whole URL.
    pub method: String,
    /// `host:port`, or the whole URL.
    pub target: String,
    /// `name:password`, if any were shown.
    pub login: Option<String>,
    /// The head as it came, for HTTP.
    pub head: String,
}

/// How it misbehaves.
#[derive(Clone, Debug)]
pub enum Misbehaviour {
    /// Answers every request with these bytes and closes.
    Says(Vec<u8>),
    /// Sends this again and again, for ever.
    Endless(Vec<u8>),
    /// Takes the request and says nothing.
    Silent,
    /// Takes the request and closes.
    Closes,
    /// Answers CONNECT with 403, and is honest otherwise.
    RefusesTunnels,
    /// Closes a tunnel after so many bytes from the target.
    DiesAfter(u64),
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    names: Mutex<BTreeMap<String, SocketAddr>>,
    login: Option<String>,
    misbehaviour: Mutex<Option<Misbehaviour>>,
}

impl FakeProxy {
    /// An honest one that asks nobody who they are.
    ///
    /// # Panics
    /// When it cannot be started; so do the others.
    pub fn start() -> Self {
        Self::start_with("http", None, None)
    }

    /// One that wants this name and password.
    pub fn start_with_login(username: &str, password: &str) -> Self {
        Self::start_with("http", None, Some(format!("{username}:{password}")))
    }

    /// One that is spoken to in TLS.
    pub fn start_tls(identity: &Identity) -> Self {
        Self::start_with("https", Some(identity), None)
    }

    fn start_with(
        scheme: &'static str,
        identity: Option<&Identity>,
        login: Option<String>,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        let addr = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            login,
            ..Shared::default()
        });
        let acceptor = identity.map(|identity| TlsAcceptor::from(identity.server_config()));
        let stop = CancellationToken::new();
        let (stopped, served) = (stop.clone(), Arc::clone(&shared));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                stopped
                    .run_until_cancelled(accept(listener, acceptor, served))
                    .await;
            });
        });
        Self {
            addr,
            scheme,
            shared,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it is, as `http://127.0.0.1:port`; with TLS `https`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// The same as a SOCKS5 proxy: the first byte tells it which one is spoken.
    pub fn socks_url(&self) -> String {
        format!("socks5://{}", self.addr)
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// Leads this name (or address), whatever the port, to a server.
    pub fn lead(&self, name: &str, to: SocketAddr) {
        lock(&self.shared.names).insert(name.to_owned(), to);
    }

    /// From now on it misbehaves; `None` ends that.
    pub fn misbehave(&self, how: impl Into<Option<Misbehaviour>>) {
        *lock(&self.shared.misbehaviour) = how.into();
    }

    /// What it was asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for FakeProxy {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed; a second one here would hide the test's own.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            // An error is the client's or a target's, which went away: there is nobody to tell.
            let _ = match acceptor {
                None => serve(socket, &shared).await,
                Some(acceptor) => match acceptor.accept(socket).await {
                    Ok(stream) => serve(stream, &shared).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    shared: &Shared,
) -> io::Result<()> {
    let first = client.read_u8().await?;
    if first == 5 {
        return serve_socks(client, shared).await;
    }
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 64 << 10 {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let asked = asked_by_http(&head);
    lock(&shared.asked).push(asked.clone());
    if shared.login.is_some() && asked.login != shared.login {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(refusal.as_bytes()).await;
    }
    let how = lock(&shared.misbehaviour).clone();
    let limit = match how {
        Some(Misbehaviour::DiesAfter(limit)) => limit,
        Some(Misbehaviour::RefusesTunnels) if asked.method != "CONNECT" => u64::MAX,
        Some(how) => return misbehave(client, how).await,
        None => u64::MAX,
    };
    if asked.method == "CONNECT" {
        let Ok(server) = dial(&asked.target, shared).await else {
            let answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
            return client.write_all(answer).await;
        };
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await?;
        return relay(client, server, limit).await;
    }
    forward(client, &head, &asked, shared, limit).await
}

/// Sends one request on, in the form that servers read, and relays all that follows.
async fn forward<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    head: &str,
    asked: &Asked,
    shared: &Shared,
    limit: u64,
) -> io::Result<()> {
    let rest = asked.target.trim_start_matches("http://");
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let place = match place.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => place.to_owned(),
        _ => format!("{place}:80"),
    };
    let Ok(mut server) = dial(&place, shared).await else {
        let answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(answer).await;
    };
    let lines = head.lines().skip(1).filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.is_empty() && !line.starts_with("proxy-") && !line.starts_with("connection:")
    });
    let mut sent = format!("{} /{path} HTTP/1.1\r\nConnection: close\r\n", asked.method);
    for line in lines {
        sent.push_str(line);
        sent.push_str("\r\n");
    }
    sent.push_str("\r\n");
    server.write_all(sent.as_bytes()).await?;
    relay(client, server, limit).await
}

async fn serve_socks<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    shared: &Shared,
) -> io::Result<()> {
    let count = client.read_u8().await?;
    let mut methods = vec![0; usize::from(count)];
    client.read_exact(&mut methods).await?;
    let mut login = None;
    if shared.login.is_some() {
        if !methods.contains(&2) {
            return client.write_all(&[5, 0xff]).await;
        }
        client.write_all(&[5, 2]).await?;
        client.read_u8().await?;
        let (name, password) = (text(&mut client).await?, text(&mut client).await?);
        login = Some(format!("{name}:{password}"));
        let is_right = login == shared.login;
        client.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Ok(());
        }
    } else {
        client.write_all(&[5, 0]).await?;
    }
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => std::net::Ipv4Addr::from(client.read_u32().await?).to_string(),
        4 => std::net::Ipv6Addr::from(client.read_u128().await?).to_string(),
        _ => text(&mut client).await?,
    };
    let target = format!("{host}:{}", client.read_u16().await?);
    lock(&shared.asked).push(Asked {
        method: "SOCKS5".to_owned(),
        target: target.clone(),
        login,
        head: String::new(),
    });
    let how = lock(&shared.misbehaviour).clone();
    if let Some(how) = how {
        return misbehave(client, how).await;
    }
    let Ok(server) = dial(&target, shared).await else {
        return client.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    };
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    relay(client, server, u64::MAX).await
}

async fn text<S: AsyncRead + Unpin>(client: &mut S) -> io::Result<String> {
    let length = client.read_u8().await?;
    let mut bytes = vec![0; usize::from(length)];
    client.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn misbehave<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    how: Misbehaviour,
) -> io::Result<()> {
    match how {
        Misbehaviour::Says(bytes) => {
            client.write_all(&bytes).await?;
            client.shutdown().await
        }
        Misbehaviour::Endless(bytes) => loop {
            client.write_all(&bytes).await?;
        },
        Misbehaviour::RefusesTunnels => {
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
            client.write_all(answer).await
        }
        Misbehaviour::Silent => std::future::pending().await,
        Misbehaviour::Closes | Misbehaviour::DiesAfter(_) => Ok(()),
    }
}

async fn dial(target: &str, shared: &Shared) -> io::Result<TcpStream> {
    let name = target.rsplit_once(':').map_or(target, |(name, _)| name);
    let led = lock(&shared.names).get(name).copied();
    match led {
        Some(addr) => TcpStream::connect(addr).await,
        None => TcpStream::connect(target).await,
    }
}

async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    mut server: TcpStream,
    limit: u64,
) -> io::Result<()> {
    if limit == u64::MAX {
        return copy_bidirectional(&mut client, &mut server).await.map(drop);
    }
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (from_server, mut to_server) = server.split();
    let mut from_server = from_server.take(limit);
    tokio::select! {
        ended = tokio::io::copy(&mut from_server, &mut to_client) => ended.map(drop),
        ended = tokio::io::copy(&mut from_client, &mut to_server) => ended.map(drop),
    }
}

fn asked_by_http(head: &str) -> Asked {
    let mut words = head.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let login = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_login = name.eq_ignore_ascii_case("proxy-authorization");
        let encoded = value.strip_prefix("Basic ").filter(|_| is_login)?;
        String::from_utf8(BASE64.decode(encoded).ok()?).ok()
    });
    Asked {
        method: word(),
        target: word(),
        login,
        head: head.to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
