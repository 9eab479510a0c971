// SPDX-License-Identifier: Apache-2.0
//! One request to a registry with all that HTTP wants of it: scheme, authorisation, redirects.
//!
//! An [`Ask`] goes in; a [`Reply`] with a status of success comes out, its body unread. Credentials belong to the
//! registry's origin: they are put on requests to exactly that scheme, host and port, are left out from the first hop
//! that leads elsewhere, and are not put back when a redirect returns. One attempt only: repeating is `retry`'s business.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::OnceCell;

use crate::Repository;

use super::{
    access::Transport,
    auth::{Credentials, Identity, Scope, grants::Grants},
    body,
    client::Limits,
    origin::{Link, Origin, Scheme},
    problem::Problem,
    push::Content,
    redirect,
    retry::{Attempts, RetryPolicy},
    scheme,
    wire::Wire,
};

/// What a session sends its requests with.
pub(crate) struct Channel {
    pub(crate) repository: Repository,
    /// The repository's name, for errors.
    pub(crate) place: String,
    pub(crate) credentials: Credentials,
    /// Who asks and how, as far as a grant may depend on it.
    pub(crate) identity: Identity,
    pub(crate) transport: Transport,
    /// Found out once, when the first request is sent.
    pub(crate) scheme: OnceCell<Scheme>,
    /// For the registry and the token service that it names.
    pub(crate) home: Wire,
    /// For all other hosts: the same trust, no client certificate.
    pub(crate) foreign: Wire,
    pub(crate) grants: Arc<Grants>,
    pub(crate) limits: Limits,
    pub(crate) retry: RetryPolicy,
}

/// A request to be made.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) link: Link,
    pub(crate) scope: Scope,
    pub(crate) accept: Option<&'static str>,
    pub(crate) content: Option<Upload>,
}

/// The body of a request.
pub(crate) struct Upload {
    pub(crate) content: Content,
    pub(crate) size: u64,
    pub(crate) media_type: HeaderValue,
}

impl Ask {
    pub(crate) fn new(method: Method, link: Link, scope: Scope) -> Self {
        Self {
            method,
            link,
            scope,
            accept: None,
            content: None,
        }
    }

    pub(crate) fn accepting(self, accept: &'static str) -> Self {
        Self {
            accept: Some(accept),
            ..self
        }
    }

    pub(crate) fn with(self, upload: Upload) -> Self {
        Self {
            content: Some(upload),
            ..self
        }
    }

    /// A body may take as long as a transfer, and the answer comes after it.
    fn limit(&self, wire: &Wire) -> Duration {
        match self.content {
            Some(_) => wire.timeouts.transfer,
            None => wire.timeouts.response,
        }
    }
}

/// An answer, and who gave it to what.
pub(crate) struct Reply {
    pub(crate) response: Response<Incoming>,
    /// The URL that answered, after redirects.
    pub(crate) link: Link,
    /// The authorisation that was shown.
    pub(crate) sent: Option<HeaderValue>,
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }
}

impl Channel {
    pub(crate) fn attempts(&self, operation: String) -> Attempts<'_> {
        Attempts::new(&self.retry, operation, self.place.clone())
    }

    /// The URL of something in the repository, for instance `manifests/latest`.
    pub(crate) async fn link(&self, what: &str) -> Result<Link, Problem> {
        let registry = self.repository.registry();
        let scheme = *self
            .scheme
            .get_or_try_init(|| scheme::choose(&self.home, &self.repository, self.transport))
            .await?;
        Link::on(
            scheme,
            registry,
            &format!("/v2/{}/{what}", self.repository.path()),
        )
        .ok_or_else(|| Problem::Registry {
            registry: registry.to_owned(),
        })
    }

    /// Makes the request; the reply is a success.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Reply, Problem> {
        let home = self.link("").await?.origin;
        let reply = self
            .send(ask, ask.link.clone(), ask.link.origin == home)
            .await?;
        let reply = self.follow(ask, reply, &home).await?;
        if reply.status().is_success() {
            return Ok(reply);
        }
        let (is_home, host) = (reply.link.origin == home, reply.link.origin);
        let sent = reply.sent.as_ref();
        let answer = body::answer(
            reply.response,
            &host,
            &self.credentials,
            sent,
            is_home,
            &self.home,
        )
        .await;
        Err(Problem::Answer { host, answer })
    }

    async fn follow(&self, ask: &Ask, mut reply: Reply, home: &Origin) -> Result<Reply, Problem> {
        let is_read = ask.method == Method::GET || ask.method == Method::HEAD;
        let mut with_credentials = reply.link.origin == *home;
        for _ in 0..redirect::MAX_HOPS {
            if !is_read || !redirect::is_redirect(reply.status()) {
                return Ok(reply);
            }
            let next = redirect::next(&reply.link, reply.response.headers())?;
            with_credentials &= next.origin == *home;
            reply = self.send(ask, next, with_credentials).await?;
        }
        if redirect::is_redirect(reply.status()) {
            let host = home.clone();
            return Err(Problem::Redirects {
                host,
                limit: redirect::MAX_HOPS,
            });
        }
        Ok(reply)
    }

    async fn send(&self, ask: &Ask, link: Link, with_credentials: bool) -> Result<Reply, Problem> {
        if with_credentials {
            self.send_home(ask, link).await
        } else {
            self.send_once(&self.foreign, ask, link, None).await
        }
    }

    /// One request, as it is told.
    pub(crate) async fn send_once(
        &self,
        wire: &Wire,
        ask: &Ask,
        link: Link,
        authorization: Option<HeaderValue>,
    ) -> Result<Reply, Problem> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(link.uri.clone());
        if let Some(value) = &authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(accept) = ask.accept {
            request = request.header(header::ACCEPT, accept);
        }
        let body = match &ask.content {
            None => super::wire::empty(),
            Some(upload) => {
                request = request
                    .header(header::CONTENT_TYPE, &upload.media_type)
                    .header(header::CONTENT_LENGTH, upload.size);
                upload.content.body(upload.size).await?
            }
        };
        let request = request
            .body(body)
            .map_err(|_| Problem::Header("the request cannot be built"))?;
        let response = wire.send(&link.origin, request, ask.limit(wire)).await?;
        Ok(Reply {
            response,
            link,
            sent: authorization,
        })
    }
}
