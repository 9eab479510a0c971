// SPDX-License-Identifier: Apache-2.0
//! Requests to the registry itself, with whatever it wants to see before it answers.
//!
//! An [`Ask`] for the registry's own origin goes in, an answer comes out: with the grant that is kept, and once more with
//! a new one if the registry challenges. What a challenge says is read in `auth`; other origins never come here.

use http::{HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::{
    auth::{
        Scope,
        challenge::Challenges,
        grants::{Grant, Key},
        token,
    },
    origin::Link,
    problem::Problem,
    request::{Ask, Channel, Reply},
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
        if let Some(bearer) = &challenges.bearer {
            let scope = scope.of(&self.repository);
            return token::fetch(
                &self.home,
                &self.limits,
                link,
                bearer,
                &scope,
                &self.credentials,
            )
            .await;
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
}
