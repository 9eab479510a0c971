// SPDX-License-Identifier: Apache-2.0
//! A token service beside a real registry: it asks who somebody is, and signs what they may do there.
//!
//! What enters: requests for tokens, by GET with Basic credentials and by POST with a form (grants `password` and
//! `refresh_token`). What leaves: JSON Web Tokens for whatever was asked for, refresh tokens, and a record of who asked.
//! A known account may do everything; nobody else gets a token. Source: the three documents on token
//! authentication in distribution's specification.
//!
//! ```text
//! connection -> Ask (grants) -> Grants::answer -> Claims -> Signer (jwt) -> JSON
//! ```

mod grants;
mod jwt;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::tls::Identity;
use grants::{Ask, Grants, Verdict};
use jwt::Signer;

pub use grants::{Grant, TokenRequest};

const ISSUER: &str = "wharf-test-tokens";
const SERVICE: &str = "wharf-test-registry";

/// A running token service. It ends when this is dropped.
pub struct TokenService {
    port: u16,
    scheme: &'static str,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    signer: Signer,
    grants: Mutex<Grants>,
}

impl TokenService {
    /// Starts it on a free port of 127.0.0.1 for these accounts (name and password); with plain HTTP unless it is given
    /// a certificate.
    pub fn start(accounts: &[(&str, &str)], identity: Option<&Identity>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a free port");
        let port = listener.local_addr().expect("ask for the port").port();
        let shared = Arc::new(Shared {
            signer: Signer::new(ISSUER, SERVICE),
            grants: Mutex::new(Grants::new(accounts)),
        });
        let stop = CancellationToken::new();
        let tls = identity.map(|identity| TlsAcceptor::from(identity.server_config()));
        let serve = accept(listener, tls, Arc::clone(&shared));
        let thread = run(serve, stop.clone());
        Self {
            port,
            scheme: if identity.is_some() { "https" } else { "http" },
            shared,
            stop,
            thread: Some(thread),
        }
    }

    /// Where tokens are: what a registry names as `realm`. The host is a name, `localhost`, because there are clients
    /// which refuse a realm at a private address.
    pub fn realm(&self) -> String {
        format!("{}://localhost:{}/token", self.scheme, self.port)
    }

    /// Who the tokens are for: what a registry names as `service`.
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// Who signs the tokens.
    pub fn issuer(&self) -> &'static str {
        ISSUER
    }

    /// The certificate (PEM) that the tokens are signed under: a registry's `rootcertbundle`.
    pub fn certificate_pem(&self) -> &str {
        self.shared.signer.certificate_pem()
    }

    /// Everyone who asked for a token, in order, with what they got.
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.shared.grants().requests()
    }

    /// Forgets who asked so far.
    pub fn clear_requests(&self) {
        self.shared.grants().clear_requests();
    }

    /// How long tokens hold from now on; five minutes unless this is called. It is told as `expires_in`.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.shared.grants().set_lifetime(lifetime);
    }

    /// Makes every refresh token given out so far worthless.
    pub fn revoke_refresh_tokens(&self) {
        self.shared.grants().revoke();
    }

    /// A refresh token for an account: what `docker login` keeps as `identitytoken`.
    pub fn refresh_token(&self, account: &str) -> String {
        self.shared.grants().issue(account)
    }

    /// A token for an account, without being asked over HTTP; scopes such as `repository:team/app:pull,push`.
    pub fn token(&self, account: &str, scopes: &[&str]) -> String {
        let lifetime = self.shared.grants().lifetime();
        self.shared
            .signer
            .token(account, scopes.iter().copied(), lifetime)
    }
}

impl Drop for TokenService {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed; a second one here would hide the test's own.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return reply(StatusCode::BAD_REQUEST, &serde_json::json!({}));
        };
        let Some(ask) = Ask::read(&head, &body.to_bytes()) else {
            return reply(StatusCode::NOT_FOUND, &serde_json::json!({}));
        };
        let mut grants = self.grants();
        match grants.decide(&ask) {
            Verdict::Granted { account, refresh } => {
                let lifetime = grants.lifetime();
                let scopes = ask.scopes.iter().map(String::as_str);
                let token = self.signer.token(&account, scopes, lifetime);
                reply(StatusCode::OK, &ask.grant(&token, lifetime, refresh))
            }
            Verdict::Refused(status) => refusal(&ask, status),
        }
    }
}

fn refusal(ask: &Ask, status: StatusCode) -> Response<Full<Bytes>> {
    let mut reply = reply(status, &ask.refusal());
    if status == StatusCode::UNAUTHORIZED {
        let challenge = http::HeaderValue::from_static("Basic realm=\"wharf-test-tokens\"");
        reply
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    reply
}

fn reply(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::from(body.to_string()));
    *reply.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, json);
    reply
}

/// On a thread and runtime of its own, so that it answers while a test waits for a child process.
fn run(
    serve: impl Future<Output = ()> + Send + 'static,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("make a runtime");
    let work = move || {
        runtime.block_on(stop.run_until_cancelled(serve));
    };
    std::thread::Builder::new()
        .name("token-service".to_owned())
        .spawn(work)
        .expect("start a thread")
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    listener
        .set_nonblocking(true)
        .expect("use a socket with tokio");
    let listener = tokio::net::TcpListener::from_std(listener).expect("use a socket with tokio");
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors, most likely: let others finish.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            match tls {
                None => converse(socket, shared).await,
                // A client that does not like the certificate, or speaks no TLS, gets no answer.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(socket).await {
                        converse(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn converse<S>(stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    // An error here is the client's: it went away or sent no HTTP.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
