// SPDX-License-Identifier: Apache-2.0
//! One request to a registry with all that HTTP wants of it: scheme, authorisation, redirects.
//!
//! An [`Ask`] goes in; a [`Reply`] with a status of success comes out, its body unread. Credentials belong to the
//! registry's origin: they are put on requests to exactly that scheme, host and port, are left out from the first hop
//! that leads elsewhere, and are not put back when a redirect returns. One attempt only: repeating is `retry`'s business.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use hyper::body::Incoming;
use tokio::sync::OnceCell;

use crate::Repository;

use super::{
    access::Transport,
    auth::{Credentials, Scope, grants::Grants},
    body,
    client::Limits,
    origin::{Link, Origin, Scheme},
    problem::Problem,
    push::{Content, Part, Taken, paced},
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
    /// Wherever it goes, without credentials: another host chose the URL.
    pub(crate) anonymous: bool,
}

/// The body of a request: a part of some content.
pub(crate) struct Upload {
    content: Content,
    part: Part,
    /// The size of the whole content.
    whole: u64,
    media_type: HeaderValue,
    is_chunk: bool,
}

impl Upload {
    /// The whole content.
    pub(crate) fn whole(content: Content, size: u64, media_type: HeaderValue) -> Self {
        Self {
            content,
            part: Part { from: 0, len: size },
            whole: size,
            media_type,
            is_chunk: false,
        }
    }

    /// A part of a blob, which is told where it begins and ends.
    pub(crate) fn chunk(content: Content, part: Part, whole: u64) -> Self {
        Self {
            content,
            part,
            whole,
            media_type: HeaderValue::from_static("application/octet-stream"),
            is_chunk: true,
        }
    }

    fn headers(&self, request: request::Builder) -> request::Builder {
        let Part { from, len } = self.part;
        let request = request
            .header(header::CONTENT_TYPE, &self.media_type)
            .header(header::CONTENT_LENGTH, len);
        if self.is_chunk {
            // Not HTTP's form: the distribution-spec writes the bare range.
            let last = (from + len).saturating_sub(1);
            return request.header(header::CONTENT_RANGE, format!("{from}-{last}"));
        }
        request
    }
}

impl Ask {
    pub(crate) fn new(method: Method, link: Link, scope: Scope) -> Self {
        Self {
            method,
            link,
            scope,
            accept: None,
            content: None,
            anonymous: false,
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

    pub(crate) fn without_credentials(self, anonymous: bool) -> Self {
        Self { anonymous, ..self }
    }

    /// A body may take as long as a transfer, and the answer comes after it.
    fn limit(&self, wire: &Wire) -> Duration {
        match &self.content {
            Some(upload) if upload.part.len > 0 => wire.timeouts.transfer,
            _ => wire.timeouts.response,
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
            .send(
                ask,
                ask.link.clone(),
                ask.link.origin == home && !ask.anonymous,
            )
            .await?;
        let reply = self.follow(ask, reply, &home).await?;
        if reply.status().is_success() {
            return Ok(reply);
        }
        let is_home = reply.link.origin == home && !ask.anonymous;
        let host = reply.link.origin;
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
        let mut with_credentials = reply.link.origin == *home && !ask.anonymous;
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
        let taken = Arc::<Taken>::default();
        let body = match &ask.content {
            None => super::wire::empty(),
            Some(upload) => {
                request = upload.headers(request);
                let (part, whole) = (upload.part, upload.whole);
                upload.content.body(part, whole, &taken).await?
            }
        };
        let request = request
            .body(body)
            .map_err(|_| Problem::Header("the request cannot be built"))?;
        let sending = wire.send(&link.origin, request, ask.limit(wire));
        let response = match &ask.content {
            Some(upload) if upload.part.len > 0 => {
                paced(
                    sending,
                    &taken,
                    upload.part.len,
                    wire.timeouts,
                    &link.origin,
                )
                .await?
            }
            _ => sending.await?,
        };
        Ok(Reply {
            response,
            link,
            sent: authorization,
        })
    }
}
