// SPDX-License-Identifier: Apache-2.0
//! Asking a proxy for a connection to a target.
//!
//! A stream to the proxy and a target go in; afterwards the stream is one to the target, or a [`ProxyFailure`] says why
//! not. The head of an answer to `CONNECT` is read under a cap; the deadline is the caller's. Source: RFC 9110, 9.3.6.

use std::{fmt, io, sync::Arc};

use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::registry::problem::clean;

use super::{Proxy, ProxyKind, socks};

/// The longest head of an answer.
const MAX_HEAD: usize = 16 << 10;

/// What a connection is wanted to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// A name or address, without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a proxy makes no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ProxyFailure {
    /// 407, or the like of SOCKS5, and there was nothing to show.
    #[error("wants a username and password, and none are given for it")]
    WantsLogin,
    /// 407, or the like of SOCKS5, although they were shown.
    #[error("refused the username and password that are given for it")]
    LoginRefused,
    /// It does not want to.
    #[error("refused the connection: {0}")]
    Refused(String),
    /// It could not.
    #[error("could not make the connection: {0}")]
    Unreachable(String),
    /// It hung up.
    #[error("closed the connection without an answer")]
    Closed,
    /// It answered in something else.
    #[error("answered in something that is not its protocol, check the scheme of its address")]
    Garbage,
    /// The connection to it broke.
    #[error("could not be spoken to")]
    Io(#[source] Arc<io::Error>),
}

impl From<io::Error> for ProxyFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl ProxyFailure {
    /// What a status says that is not a success. `shown` tells whether a name and password were.
    pub(crate) fn of_status(status: StatusCode, reason: &str, shown: bool) -> Self {
        let words = match (clean(reason, 100), status.canonical_reason()) {
            (words, _) if !words.is_empty() => format!("{} {words}", status.as_u16()),
            (_, Some(known)) => format!("{} {known}", status.as_u16()),
            _ => status.as_u16().to_string(),
        };
        match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if shown => Self::LoginRefused,
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Self::WantsLogin,
            status if status.is_server_error() => Self::Unreachable(words),
            _ => Self::Refused(words),
        }
    }

    /// Whether the same request may well succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Closed | Self::Io(_))
    }

    /// Whether it may still forward a request that it would not make a tunnel for.
    pub(crate) fn is_about_the_tunnel(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unreachable(_))
    }
}

/// Makes the stream to the proxy one to the target.
pub(crate) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    target: &Target<'_>,
    user_agent: &HeaderValue,
) -> Result<(), ProxyFailure> {
    match proxy.kind() {
        ProxyKind::Socks5 => socks::connect(stream, target, proxy.login()).await,
        ProxyKind::Http | ProxyKind::Https => connect(stream, proxy, target, user_agent).await,
    }
}

async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    target: &Target<'_>,
    user_agent: &HeaderValue,
) -> Result<(), ProxyFailure> {
    let authorization = proxy.authorization();
    let mut head =
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: ").into_bytes();
    head.extend_from_slice(user_agent.as_bytes());
    if let Some(value) = &authorization {
        head.extend_from_slice(b"\r\nProxy-Authorization: ");
        head.extend_from_slice(value.as_bytes());
    }
    head.extend_from_slice(b"\r\n\r\n");
    stream.write_all(&head).await?;
    let (status, reason) = answer(stream).await?;
    if status.is_success() {
        return Ok(());
    }
    Err(ProxyFailure::of_status(
        status,
        &reason,
        authorization.is_some(),
    ))
}

/// The status and its words. Read byte by byte: what follows the head belongs to the target. It costs a hundred reads per
/// connection, not per request.
async fn answer<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<(StatusCode, String), ProxyFailure> {
    let mut head = Vec::with_capacity(512);
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await? == 0 {
            return Err(if head.is_empty() {
                ProxyFailure::Closed
            } else {
                ProxyFailure::Garbage
            });
        }
        head.push(byte[0]);
        if head.len() > MAX_HEAD || !b"HTTP/1.".starts_with(&head[..head.len().min(7)]) {
            return Err(ProxyFailure::Garbage);
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    status_line(&String::from_utf8_lossy(line)).ok_or(ProxyFailure::Garbage)
}

fn status_line(line: &str) -> Option<(StatusCode, String)> {
    let mut parts = line.splitn(3, ' ');
    let version = parts.next()?;
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return None;
    }
    let code = parts.next().filter(|code| code.len() == 3)?;
    let status = code.parse::<u16>().ok()?;
    let status = StatusCode::from_u16(status).ok()?;
    Some((status, parts.next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn talk(address: &str, host: &str, answer: &[u8]) -> (Result<(), ProxyFailure>, String) {
        let proxy = Proxy::parse(address, None, None).unwrap();
        let mut stream = tokio::io::join(answer, Vec::new());
        let agent = HeaderValue::from_static("test/1");
        let result = open(&mut stream, &proxy, &Target { host, port: 443 }, &agent).await;
        (result, String::from_utf8(stream.into_inner().1).unwrap())
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_with_name_and_password() {
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        let (result, sent) = talk("http://a:b@p", "r.example", answer).await;
        result.unwrap();
        assert_eq!(
            sent,
            "CONNECT r.example:443 HTTP/1.1\r\nHost: r.example:443\r\nUser-Agent: test/1\r\n\
             Proxy-Authorization: Basic YTpi\r\n\r\n"
        );
        let (_, sent) = talk("http://p", "::1", answer).await;
        assert!(sent.starts_with("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n"));
        assert!(!sent.contains("Authorization"));
    }

    #[tokio::test]
    async fn refusals_are_told_apart() {
        let told = async |address, answer: &str| {
            let (result, _) = talk(address, "r.example", answer.as_bytes()).await;
            result.unwrap_err()
        };
        let without = told("http://p", "HTTP/1.1 407 No\r\n\r\n").await;
        assert!(matches!(without, ProxyFailure::WantsLogin), "{without:?}");
        let with = told("http://a:canary@p", "HTTP/1.1 407 No\r\n\r\n").await;
        assert!(matches!(with, ProxyFailure::LoginRefused), "{with:?}");
        let refused = told("http://p", "HTTP/1.1 403 Not \x1b[2Jhere\r\n\r\n").await;
        assert_eq!(
            refused.to_string(),
            "refused the connection: 403 Not  [2Jhere"
        );
        assert!(!refused.is_transient());
        let away = told("http://p", "HTTP/1.0 502\r\n\r\n").await;
        assert_eq!(
            away.to_string(),
            "could not make the connection: 502 Bad Gateway"
        );
        assert!(away.is_transient());
        let redirect = told(
            "http://p",
            "HTTP/1.1 302 Found\r\nLocation: http://e/\r\n\r\n",
        )
        .await;
        assert!(matches!(redirect, ProxyFailure::Refused(_)), "{redirect:?}");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused() {
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(MAX_HEAD));
        for bad in [
            "SSH-2.0-OpenSSH_9\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 abc OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.9 200 OK\r\n\r\n",
            &endless[..MAX_HEAD + 100],
        ] {
            let (result, _) = talk("http://p", "r.example", bad.as_bytes()).await;
            assert!(
                matches!(result, Err(ProxyFailure::Garbage)),
                "{bad:.30} {result:?}"
            );
        }
    }
}
