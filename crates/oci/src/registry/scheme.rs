// SPDX-License-Identifier: Apache-2.0
//! HTTPS or plain HTTP: which one a registry speaks.
//!
//! A registry is asked by HTTPS and nothing else, unless plain HTTP was allowed or its name is one that Flux exempts.
//! Then HTTPS is tried first and HTTP beside it after a moment, because some HTTP servers wait for the end of a line
//! that a TLS handshake does not contain. A certificate that is not accepted is an answer in TLS, and final.

use std::{future::ready, net::IpAddr, pin::pin, time::Duration};

use futures::future::{Either, select};
use http::{Method, Request, StatusCode};
use tokio::time::timeout;

use crate::Repository;

use super::{
    access::Transport,
    connector::ConnectError,
    origin::{Link, Scheme},
    problem::Problem,
    wire::{self, Wire},
};

/// How long HTTPS is tried alone, as in Flux.
const HEAD_START: Duration = Duration::from_millis(300);

/// The scheme to speak to a registry. Sends something only if both are possible.
pub(crate) async fn choose(
    wire: &Wire,
    repository: &Repository,
    transport: Transport,
) -> Result<Scheme, Problem> {
    if transport == Transport::Https && !is_exempt(repository.host()) {
        return Ok(Scheme::Https);
    }
    probe(wire, repository.registry())
        .await
        .map_err(|problem| match problem {
            Problem::Connect(error @ ConnectError::Certificate(_))
                if transport == Transport::PlainHttpAllowed =>
            {
                Problem::Verified(error)
            }
            other => other,
        })
}

/// Each way is tried once: a second try beside one that is not finished would wait for it where the host lets in one
/// request at a time.
async fn probe(wire: &Wire, registry: &str) -> Result<Scheme, Problem> {
    let mut secure = pin!(ping(wire, registry, Scheme::Https));
    match timeout(HEAD_START, &mut secure).await {
        Ok(Ok(())) => return Ok(Scheme::Https),
        Ok(Err(problem)) => return plain_after(problem, ping(wire, registry, Scheme::Http)).await,
        Err(_) => {}
    }
    match select(secure, pin!(ping(wire, registry, Scheme::Http))).await {
        Either::Left((Ok(()), _)) => Ok(Scheme::Https),
        Either::Right((Ok(()), _)) => Ok(Scheme::Http),
        Either::Left((Err(problem), plain)) => plain_after(problem, plain).await,
        Either::Right((Err(plain), secure)) => match secure.await {
            Ok(()) => Ok(Scheme::Https),
            Err(problem) => plain_after(problem, ready(Err(plain))).await,
        },
    }
}

/// Plain HTTP after HTTPS failed, if that failure leaves it open. If both fail, HTTPS is what is told of, unless the
/// other side does not speak TLS.
async fn plain_after(
    problem: Problem,
    plain: impl Future<Output = Result<(), Problem>>,
) -> Result<Scheme, Problem> {
    let (is_open, is_not_tls) = match &problem {
        Problem::Connect(error) => (error.leaves_plain_http_open(), error.is_not_tls()),
        // It is known already that nothing answers there.
        Problem::NotAsked { refusal, .. } => (refusal.is_unreachable(), false),
        _ => (false, false),
    };
    if !is_open {
        return Err(problem);
    }
    match plain.await {
        Ok(()) => Ok(Scheme::Http),
        Err(plain) if is_not_tls => Err(plain),
        Err(_) => Err(problem),
    }
}

/// Any answer will do, except the one by which a TLS server tells that it was asked in plain HTTP.
async fn ping(wire: &Wire, registry: &str, scheme: Scheme) -> Result<(), Problem> {
    let link = Link::on(scheme, registry, "/v2/").ok_or_else(|| Problem::Registry {
        registry: registry.to_owned(),
    })?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(link.uri)
        .body(wire::empty())
        .map_err(|_| Problem::Registry {
            registry: registry.to_owned(),
        })?;
    let response = wire
        .send(&link.origin, request, wire.timeouts.response)
        .await?;
    if scheme == Scheme::Http && response.status() == StatusCode::BAD_REQUEST {
        return Err(Problem::NotHttp { host: link.origin });
    }
    Ok(())
}

/// The hosts that Flux speaks plain HTTP to without being told.
fn is_exempt(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback(),
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_addresses_at_home_are_exempt() {
        for host in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
        ] {
            assert!(is_exempt(host), "{host}");
        }
        for host in [
            "ghcr.io",
            "localhost.example",
            "notlocalhost",
            "172.32.0.1",
            "8.8.8.8",
            "[fd00::1]",
            "127.0.0.1.example",
        ] {
            assert!(!is_exempt(host), "{host}");
        }
    }
}
