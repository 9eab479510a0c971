// SPDX-License-Identifier: Apache-2.0
//! The server: connections in, answers out.
//!
//! It runs on a thread and runtime of its own, so it answers whatever the test's own runtime is doing (also while that
//! waits for a child process), and ending the thread ends every connection.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::auth::Gatekeeper;
use super::call::{Call, Features};
use super::digest;
use super::fault::{Answer, Fault};
use super::log::{Entry, Log};
use super::reply::{self, Refusal, Reply};
use super::route::{Endpoint, Query, Route};
use super::script::Script;
use super::store::Store;
use super::stream::Stream;

/// What the connections and the handle share.
pub(crate) struct Shared {
    pub(crate) gatekeeper: Gatekeeper,
    pub(crate) features: Features,
    pub(crate) log: Log,
    store: Mutex<Store>,
    script: Mutex<Script>,
}

impl Shared {
    pub(crate) fn new(gatekeeper: Gatekeeper, features: Features) -> Self {
        Self {
            gatekeeper,
            features,
            log: Log::default(),
            store: Mutex::default(),
            script: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _guard = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serve = async move {
            let accept = accept(listener, tls.map(TlsAcceptor::from), shared);
            stopped.run_until_cancelled(accept).await;
        };
        let thread = std::thread::Builder::new()
            .name("fake-registry".to_owned())
            // The runtime goes with the thread, and the connections' tasks with the runtime.
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed; a second one here would hide the test's own.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                tokio::spawn(connection(socket, tls.clone(), Arc::clone(&shared)));
            }
            // Out of descriptors, most likely: let others finish.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

async fn connection(socket: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let stream = match tls {
        None => Stream::Plain(socket),
        Some(acceptor) => match acceptor.accept(socket).await {
            Ok(stream) => Stream::Tls(Box::new(stream)),
            // The client did not like our certificate, or does not speak TLS: there is nobody to answer.
            Err(_) => return,
        },
    };
    serve(stream, shared).await;
}

/// Speaks HTTP on a connection until it ends, or until an answer is due that HTTP does not allow.
async fn serve(stream: Stream, shared: Arc<Shared>) {
    let certificate = stream.certificate().map(digest::sha256);
    let (take_over, mut wires) = mpsc::channel(1);
    let service = service_fn(move |request| {
        let (shared, take_over) = (Arc::clone(&shared), take_over.clone());
        let certificate = certificate.clone();
        Box::pin(async move {
            match answer(&shared, request, certificate).await {
                Answer::Reply(reply) => return Ok::<_, Infallible>(reply.map(Full::new)),
                Answer::Wire(wire) => drop(take_over.send(wire).await),
                Answer::Nothing => {}
            }
            std::future::pending().await
        })
    });
    let mut http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let wire = tokio::select! {
        // An error here is the client's: it went away or sent no HTTP.
        _ = &mut http => return,
        Some(wire) = wires.recv() => wire,
    };
    let stream = http.into_parts().io.into_inner();
    // Likewise: most faults end with the client going away.
    let _ = wire.play(stream).await;
}

async fn answer(
    shared: &Shared,
    request: Request<Incoming>,
    certificate: Option<String>,
) -> Answer {
    let (head, body) = request.into_parts();
    let who = shared.gatekeeper.who(&head.headers);
    let entry = shared.log.begin(&head, who, certificate.clone());
    let Ok(body) = body.collect().await else {
        return Answer::Reply(reply::empty(StatusCode::BAD_REQUEST));
    };
    let Some(route) = Route::parse(head.uri.path()) else {
        let refusal = Refusal::not_found("NAME_INVALID", "nothing here");
        return note(shared, entry, refusal.into());
    };
    let call = Call {
        query: Query::parse(head.uri.query()),
        method: head.method,
        route,
        headers: head.headers,
        body: body.to_bytes(),
        certificate,
        features: shared.features,
    };
    if let Some(refusal) = shared.gatekeeper.refuse(&call) {
        return note(shared, entry, refusal);
    }
    scripted(shared, entry, &call).await
}

/// The answer to a request that may pass, with what the script does to it.
async fn scripted(shared: &Shared, entry: Entry, call: &Call) -> Answer {
    let decision = shared.script().decide(call);
    for gate in &decision.gates {
        gate.pass().await;
    }
    if let Fault::Delay(delay) = decision.fault {
        tokio::time::sleep(delay).await;
    }
    let answer = decision.fault.apply(|| match call.route.endpoint {
        Endpoint::Token => shared.gatekeeper.token(call),
        _ => call.answer(&mut shared.store()),
    });
    match answer {
        Answer::Reply(reply) => note(shared, entry, reply),
        Answer::Wire(wire) => {
            shared
                .log
                .answered(entry, wire.status(), &http::HeaderMap::new());
            let to_head = call.method == Method::HEAD;
            Answer::Wire(if to_head { wire.without_body() } else { wire })
        }
        Answer::Nothing => Answer::Nothing,
    }
}

fn note(shared: &Shared, entry: Entry, reply: Reply) -> Answer {
    shared.log.answered(entry, reply.status(), reply.headers());
    Answer::Reply(reply)
}
