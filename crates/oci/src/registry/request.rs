// SPDX-License-Identifier: Apache-2.0
//! One request to a registry with all that HTTP wants of it: scheme, authorisation, redirects.
//!
//! An [`Ask`] goes in; a [`Reply`] with a status of success comes out, its body unread. Credentials belong to the
//! registry's origin: they are put on requests to exactly that scheme, host and port, are left out from the first hop
//! that leads elsewhere, and are not put back when a redirect returns. One attempt only: repeating is `retry`'s business.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request,
};

use crate::Repository;

use super::{
    auth::{
        Credentials, Identity, Scope, Secret,
        grants::Grants,
        scrub::{Shown, scrub_message},
    },
    body,
    client::Limits,
    egress::Checks,
    error::Error,
    flow::Way,
    origin::{Link, Origin, Scheme},
    problem::Problem,
    push::{Content, Part, Taken, paced},
    redirect,
    retry::{Attempts, RetryPolicy},
    scheme::Home,
    wire::{Incoming, Wire},
};

/// What a session sends its requests with.
pub(crate) struct Channel {
    pub(crate) repository: Repository,
    /// The repository's name, for errors.
    pub(crate) place: String,
    pub(crate) credentials: Credentials,
    /// Who asks and how, as far as a grant may depend on it.
    pub(crate) identity: Identity,
    /// Whether the registry's certificate is verified, where it shows one.
    pub(crate) is_verified: bool,
    /// HTTPS or plain HTTP; found out when the first request is sent, by this session or another.
    pub(crate) scheme: Home,
    /// For the registry and the token service that it names.
    pub(crate) home: Wire,
    /// For all other hosts: the same trust, no client certificate.
    pub(crate) foreign: Wire,
    pub(crate) grants: Arc<Grants>,
    pub(crate) egress: Arc<Checks>,
    /// Tokens that were sent, so that none is told should it come back.
    pub(crate) shown: Shown,
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
    /// Whether 303 is an answer: "something else is over there", not "what you want is over there".
    stays_on_303: bool,
    /// Headers of this request alone.
    headers: HeaderMap,
    /// It asks for the state of an upload, which is where the upload is.
    is_of_upload: bool,
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
            stays_on_303: false,
            headers: HeaderMap::new(),
            is_of_upload: false,
            anonymous: false,
        }
    }

    pub(crate) fn staying_on_303(self) -> Self {
        Self {
            stays_on_303: true,
            ..self
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
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

    pub(crate) fn of_upload(self) -> Self {
        Self {
            is_of_upload: true,
            ..self
        }
    }

    fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    pub(crate) fn without_credentials(self, anonymous: bool) -> Self {
        Self { anonymous, ..self }
    }

    /// A body may take as long as a transfer, and the answer comes after it.
    fn limit(&self, wire: &Wire) -> Duration {
        match &self.content {
            Some(upload) if upload.part.len > 0 => wire.timeouts.transfer,
            // What a tag points at is asked again with GET, and both must have a place in a source's timeout.
            None if self.method == Method::HEAD && self.scope == Scope::Pull => {
                wire.timeouts.response / 3
            }
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
    /// The error that is told of a problem: nothing that this session sent and that is secret is in it.
    pub(crate) fn error(&self, operation: &str, attempts: u32, problem: Problem) -> Error {
        Error::new(operation, self.place.as_str(), attempts, problem)
            .scrubbed(&|text| self.scrub(text))
    }

    /// A message of ours without what is secret, should it quote the other side.
    pub(crate) fn scrub(&self, message: &str) -> String {
        let mut secrets = self.shown.all();
        secrets.extend(self.credentials.secrets());
        scrub_message(message, secrets.iter().map(Secret::expose))
    }

    pub(crate) fn attempts(&self, operation: String) -> Attempts<'_> {
        Attempts::new(self, operation)
    }

    /// The URL of something in the repository, for instance `manifests/latest`.
    pub(crate) async fn link(&self, what: &str) -> Result<Link, Problem> {
        let registry = self.repository.registry();
        let scheme = self.scheme.scheme().await?;
        Link::on(
            scheme,
            registry,
            &format!("/v2/{}/{what}", self.repository.path()),
        )
        .ok_or_else(|| Problem::Registry {
            registry: registry.to_owned(),
        })
    }

    /// The registry, once it is known how it is spoken to.
    pub(crate) fn home_origin(&self) -> Option<Origin> {
        let scheme = self.scheme.known()?;
        Link::on(scheme, self.repository.registry(), "/").map(|link| link.origin)
    }

    /// The registry, if a request to this host is one that it led to. It counts as one by both schemes.
    pub(crate) fn led_by(&self, to: &Origin) -> Option<Way> {
        let of = |scheme| Link::on(scheme, self.repository.registry(), "/").map(|link| link.origin);
        let (https, http) = (of(Scheme::Https)?, of(Scheme::Http)?);
        let is_home = *to == https || *to == http;
        (!is_home).then(|| self.home.way(&self.home_origin().unwrap_or(https)))
    }

    /// Makes the request; the reply is a success.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Reply, Problem> {
        // Large, with all that may have to be asked before: not to be a part of every future that asks something.
        Box::pin(self.exchange(ask)).await
    }

    async fn exchange(&self, ask: &Ask) -> Result<Reply, Problem> {
        let home = self.link("").await?.origin;
        self.permit(ask, &home, &ask.link.origin)?;
        let reply = self
            .send(
                ask,
                ask.link.clone(),
                ask.link.origin == home && !ask.anonymous,
            )
            .await
            .map_err(|problem| self.scheme.doubt(ask.link.origin.scheme, problem))?;
        if reply.status() == StatusCode::BAD_REQUEST && home.scheme == Scheme::Http {
            // By this a TLS server tells that it was asked in plain HTTP.
            self.scheme.forget(home.scheme);
        }
        let reply = self.follow(ask, reply, &home).await?;
        if reply.status().is_success() {
            return Ok(reply);
        }
        let is_home = reply.link.origin == home && !ask.anonymous;
        let host = reply.link.origin;
        let sent = reply.sent.as_ref();
        let kept_from = if is_home {
            self.kept_from(&host, &ask.scope)
        } else {
            None
        };
        let answer = body::answer(
            reply.response,
            &host,
            &self.credentials,
            sent,
            is_home,
            &self.home,
        )
        .await
        .asked_without(kept_from);
        Err(Problem::Answer { host, answer })
    }

    /// Whether the host of a request may be another than the registry's.
    fn permit(&self, ask: &Ask, home: &Origin, to: &Origin) -> Result<(), Problem> {
        if to == home {
            return Ok(());
        }
        redirect::permit(home, to, &self.egress)?;
        let blobs = format!("/v2/{}/blobs/", self.repository.path());
        let may_leave =
            !ask.is_read() || ask.is_of_upload || ask.link.uri.path().starts_with(&blobs);
        if may_leave || self.egress.rules().allows_documents_elsewhere() {
            return Ok(());
        }
        Err(Problem::Elsewhere {
            host: home.clone(),
            target: to.clone(),
        })
    }

    async fn follow(&self, ask: &Ask, mut reply: Reply, home: &Origin) -> Result<Reply, Problem> {
        let mut with_credentials = reply.link.origin == *home && !ask.anonymous;
        for _ in 0..redirect::MAX_HOPS {
            let is_end = ask.stays_on_303 && reply.status() == StatusCode::SEE_OTHER;
            if !ask.is_read() || is_end || !redirect::is_redirect(reply.status()) {
                return Ok(reply);
            }
            let next = redirect::next(&reply.link, reply.response.headers(), &self.egress)?;
            self.permit(ask, home, &next.origin)?;
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
            let token = value.to_str().ok().and_then(|value| value.split_once(' '));
            if let Some((_, token)) = token {
                self.shown.add(token);
            }
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(accept) = ask.accept {
            request = request.header(header::ACCEPT, accept);
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
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
        let led_by = self.led_by(&link.origin);
        let sending = wire.send(&link.origin, led_by.as_ref(), request, ask.limit(wire));
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
