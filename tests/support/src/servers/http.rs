// SPDX-License-Identifier: Apache-2.0
//! A plain HTTP client for tests: one connection per request, no redirects, no retries, nothing hidden.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::tls;

/// The longest a request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A client.
#[derive(Clone, Default)]
pub struct Http {
    tls: Option<Arc<ClientConfig>>,
    headers: HeaderMap,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

impl Answer {
    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(HeaderValue::to_str);
        value.and_then(Result::ok).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Http {
    /// A client without TLS and credentials.
    pub fn plain() -> Self {
        Self::default()
    }

    /// A client that trusts these certificates (PEM) and no others.
    pub fn trusting(pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
        let (added, _) = roots.add_parsable_certificates(certificates);
        assert!(added > 0, "no certificate to trust in {pem:?}");
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("choose TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            tls: Some(Arc::new(config)),
            headers: HeaderMap::new(),
        }
    }

    /// Sends this header with every request.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::try_from(value).expect("a header of a test is valid");
        self.headers.append(name, value);
        self
    }

    /// Sends this token with every request.
    pub fn bearer(self, token: &str) -> Self {
        self.with(header::AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// Sends this user and password with every request.
    pub fn basic(self, username: &str, password: &str) -> Self {
        use base64::Engine as _;
        let pair =
            base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        self.with(header::AUTHORIZATION, &format!("Basic {pair}"))
    }

    /// GET.
    pub async fn get(&self, url: &str) -> Result<Answer, String> {
        self.send(Method::GET, url, &[], Bytes::new()).await
    }

    /// Any request. The URL is `http://` or `https://` with a port.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let authority = uri.authority().ok_or_else(|| format!("{url}: no host"))?;
        let request = self.request(method, &uri, authority.as_str(), headers, body.into())?;
        let exchange = async {
            let tcp = TcpStream::connect(authority.as_str()).await;
            let tcp = tcp.map_err(|error| error.to_string())?;
            if uri.scheme_str() != Some("https") {
                return converse(tcp, request).await;
            }
            let config = self.tls.clone().ok_or("nothing is trusted")?;
            let host = authority.host().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(config).connect(name, tcp).await;
            converse(stream.map_err(|error| error.to_string())?, request).await
        };
        bounded(exchange)
            .await
            .map_err(|error| format!("{url}: {error}"))
    }

    fn request(
        &self,
        method: Method,
        uri: &Uri,
        host: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }
}

/// GET over a Unix socket.
pub async fn get_unix(socket: &Path, path: &str) -> Result<Answer, String> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| error.to_string())?;
    let request = Request::get(path).header(header::HOST, "localhost");
    let request = request
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    bounded(converse(stream, request)).await
}

async fn bounded(exchange: impl Future<Output = Result<Answer, String>>) -> Result<Answer, String> {
    let answer = tokio::time::timeout(LIMIT, exchange).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
}

async fn converse<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: hyper::Error| format!("{error:?}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let exchange = async {
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(text)?
            .into_parts();
        let body = body.collect().await.map_err(text)?.to_bytes();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end in the moment in which the last of the body has come.
        _ = connection => exchange.await,
    }
}
