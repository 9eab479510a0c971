// SPDX-License-Identifier: Apache-2.0
//! Requests to the registry itself, with whatever it wants to see before it answers.
//!
//! An [`Ask`] for the registry's own origin goes in, an answer comes out: with the grant that is kept, and once more with
//! a new one if the registry challenges. What a challenge says is read in `auth`; other origins never come here.

use http::{HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::{
    auth::{
        Credentials, Scope,
        challenge::Challenges,
        grants::{Grant, Key},
        token,
    },
    origin::{Link, Scheme},
    problem::Problem,
    request::{Ask, Channel, Reply},
    wire::Wire,
};

impl Channel {
    /// With what was granted before; if that is refused or there is nothing, what the registry asks for is fetched and
    /// the request made once more.
    pub(crate) async fn send_home(&self, ask: &Ask, link: Link) -> Result<Reply, Problem> {
        let key = Key {
            origin: link.origin.clone(),
            repository: self.repository.path().into(),
            scope: ask.scope.clone(),
            credentials: self.credentials.id(),
        };
        let kept = self.grants.header(&key, Instant::now());
        let reply = self.send_once(&self.home, ask, link, kept).await?;
        if reply.status() != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        if let Some(refused) = &reply.sent {
            self.grants.forget(&key, refused);
        }
        let values = reply.response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenges = Challenges::parse(values.iter().map(HeaderValue::as_bytes));
        if challenges.schemes.is_empty() {
            return Ok(reply);
        }
        let grant = self.meet(&challenges, &reply.link, &ask.scope).await?;
        let header = grant.header.clone();
        self.grants.keep(key, grant, Instant::now());
        self.send_once(&self.home, ask, reply.link, Some(header))
            .await
    }

    /// Gets what a challenge asks for.
    async fn meet(
        &self,
        challenges: &Challenges,
        link: &Link,
        scope: &Scope,
    ) -> Result<Grant, Problem> {
        self.permit_credentials(link)?;
        if let Some(bearer) = &challenges.bearer {
            let scope = scope.of(&self.repository);
            let (wire, credentials) = self.shown_to(link, &bearer.realm);
            return token::fetch(wire, &self.limits, link, bearer, &scope, credentials)
                .await
                .map_err(|problem| problem.asked_without(self.withheld.get()));
        }
        if !challenges.basic {
            return Err(Problem::Challenge {
                schemes: challenges.schemes.join(", "),
            });
        }
        match self.credentials.basic_header()? {
            Some(header) => Ok(Grant::basic(header)),
            None => Err(Problem::NoCredentials {
                host: link.origin.clone(),
            }),
        }
    }

    /// The strict egress rules send no credentials in the clear, also none that would only buy a token.
    fn permit_credentials(&self, link: &Link) -> Result<(), Problem> {
        let is_plain = link.origin.scheme == Scheme::Http;
        match self.credentials.source() {
            Some(source) if is_plain && !self.egress.rules().allows_plain_credentials() => {
                Err(Problem::PlainCredentials {
                    host: link.origin.clone(),
                    credentials: source.to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    /// What a token service gets to see: all that the registry does, or nothing. A realm that is no URL is not refused
    /// here.
    fn shown_to(&self, registry: &Link, realm: &str) -> (&Wire, &Credentials) {
        let Some(realm) = registry.join(realm) else {
            return (&self.home, &self.credentials);
        };
        let rules = self.egress.rules();
        if rules.trusts_realm(&registry.origin, &realm.origin) {
            return (&self.home, &self.credentials);
        }
        if self.credentials.source().is_some() {
            let (registry, realm) = (&registry.origin, &realm.origin);
            tracing::warn!(%registry, %realm, "credentials are not sent to this token service");
            // Another one later changes nothing for who reads the message.
            let _ = self.withheld.set(realm.clone());
        }
        (&self.foreign, &Credentials::Anonymous)
    }
}
