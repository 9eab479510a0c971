// SPDX-License-Identifier: Apache-2.0
//! The small HTTP client of the conformance run: a connection per request, answers whole in memory, no leniency.
//!
//! It answers a challenge (basic, or bearer by way of the token endpoint) and follows nothing else by itself.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Broken, Target};

const DEADLINE: Duration = Duration::from_secs(30);
/// Nothing that is pushed here is nearly as large.
const BODY_LIMIT: usize = 1024 * 1024;

pub(super) struct Client {
    base: Uri,
    basic: Option<String>,
    tls: TlsConnector,
}

/// A request before authentication.
#[derive(Clone)]
pub(super) struct Ask {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Ask {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Bytes of a blob.
    pub(super) fn octets(self, body: impl Into<Bytes>) -> Self {
        self.header(header::CONTENT_TYPE, "application/octet-stream")
            .body(body)
    }
}

impl Heard {
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Path and query of the `Location`, which may be absolute or relative.
    pub(super) fn location(&self) -> Result<String, Broken> {
        let location = self
            .header(header::LOCATION)
            .ok_or_else(|| Broken::rule(format!("{} without Location", self.status)))?;
        let uri: Uri = location
            .parse()
            .map_err(|_| Broken::rule(format!("Location {location:?} is no URL")))?;
        let path = uri.path_and_query().map(PathAndQuery::to_string);
        Ok(path.unwrap_or_default())
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Result<serde_json::Value, Broken> {
        serde_json::from_slice(&self.body).map_err(|_| Broken::rule("the body is not JSON"))
    }
}

impl Client {
    pub(super) fn new(target: &Target) -> Result<Self, Broken> {
        let base = target.base.trim_end_matches('/').parse();
        Ok(Self {
            base: base.map_err(Broken::transport)?,
            basic: target
                .credentials
                .as_ref()
                .map(|(user, password)| BASE64.encode(format!("{user}:{password}"))),
            tls: connector(target.ca_pem.as_deref())?,
        })
    }

    /// Sends a request, answering one challenge if need be.
    pub(super) async fn send(&self, ask: Ask) -> Result<Heard, Broken> {
        let first = self.exchange(&self.base, ask.clone()).await?;
        let challenge = first.header(header::WWW_AUTHENTICATE);
        let (StatusCode::UNAUTHORIZED, Some(challenge)) = (first.status, challenge) else {
            return Ok(first);
        };
        let authorization = match (challenge.split_once(' '), &self.basic) {
            (Some((scheme, parameters)), _) if scheme.eq_ignore_ascii_case("bearer") => {
                format!("Bearer {}", self.token(parameters).await?)
            }
            (_, Some(basic)) => format!("Basic {basic}"),
            _ => return Ok(first),
        };
        let ask = ask.header(header::AUTHORIZATION, authorization);
        self.exchange(&self.base, ask).await
    }

    async fn token(&self, parameters: &str) -> Result<String, Broken> {
        let realm = parameter(parameters, "realm")
            .ok_or_else(|| Broken::rule("a bearer challenge without realm"))?;
        let realm: Uri = realm.parse().map_err(Broken::transport)?;
        let pairs = ["service", "scope"].map(|key| match parameter(parameters, key) {
            Some(value) => format!("&{key}={}", value.replace(' ', "%20")),
            None => String::new(),
        });
        let path = realm.path();
        let query = pairs.concat();
        let mut ask = Ask::get(format!("{path}?client_id=conformance{query}"));
        if let Some(basic) = &self.basic {
            ask = ask.header(header::AUTHORIZATION, format!("Basic {basic}"));
        }
        let answer = self.exchange(&realm, ask).await?.json()?;
        let token = answer["token"]
            .as_str()
            .or_else(|| answer["access_token"].as_str());
        token
            .map(str::to_owned)
            .ok_or_else(|| Broken::rule("the token endpoint gave no token"))
    }

    async fn exchange(&self, server: &Uri, ask: Ask) -> Result<Heard, Broken> {
        let exchange = self.connect_and_send(server, ask);
        tokio::time::timeout(DEADLINE, exchange)
            .await
            .map_err(Broken::transport)?
    }

    async fn connect_and_send(&self, server: &Uri, ask: Ask) -> Result<Heard, Broken> {
        let host = server.host().unwrap_or_default();
        let secure = server.scheme() == Some(&Scheme::HTTPS);
        let port = server.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let request = request(server, ask)?;
        let socket = TcpStream::connect((host.trim_matches(['[', ']']), port))
            .await
            .map_err(Broken::transport)?;
        if !secure {
            return converse(socket, request).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(Broken::transport)?;
        let stream = self.tls.connect(name, socket).await;
        converse(stream.map_err(Broken::transport)?, request).await
    }
}

fn request(server: &Uri, ask: Ask) -> Result<Request<Full<Bytes>>, Broken> {
    let host = server
        .authority()
        .map_or("", |authority| authority.as_str());
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header(header::HOST, host)
        .header(header::CONTENT_LENGTH, ask.body.len());
    for (name, value) in ask.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(ask.body)).map_err(Broken::transport)
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Heard, Broken> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Broken::transport)?;
    // It ends with the sender; what goes wrong in it is told to the sender.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    let (head, body) = answer.map_err(Broken::transport)?.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await;
    Ok(Heard {
        status: head.status,
        headers: head.headers,
        body: body.map_err(Broken::transport)?.to_bytes(),
    })
}

fn connector(ca_pem: Option<&str>) -> Result<TlsConnector, Broken> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default().as_bytes()) {
        let certificate = certificate.map_err(Broken::transport)?;
        roots.add(certificate).map_err(Broken::transport)?;
    }
    let config = ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(Broken::transport)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The value of `key="value"` in a challenge.
fn parameter<'a>(parameters: &'a str, key: &str) -> Option<&'a str> {
    let start = parameters.find(&format!("{key}=\""))? + key.len() + 2;
    parameters[start..].split('"').next()
}
