// SPDX-License-Identifier: Apache-2.0
//! Requests to the registry itself, with whatever it wants to see before it answers.
//!
//! An [`Ask`] for the registry's own origin goes in, an answer comes out: with the grant that is kept, and once more with
//! a new one if the registry challenges. What a challenge says is read in `auth`; other origins never come here.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::{
    auth::{
        Credentials, Extra, Scope,
        challenge::Challenges,
        demand::{Demand, Service},
        grants::{Grant, Key, Refresh, Shown, Slot},
        sensitive,
        token::TokenRequest,
    },
    origin::{Link, Origin, Scheme},
    problem::{Exposure, Problem},
    request::{Ask, Channel, Reply},
    wire::Wire,
};

impl Channel {
    /// With what was granted before, or what is got in the way that worked before. If that is refused or there is
    /// nothing, what the registry asks for is got and the request made once more: one token per attempt, unless the
    /// registry asks for something else than the last time.
    pub(crate) async fn send_home(&self, ask: &Ask, link: Link) -> Result<Reply, Problem> {
        let slot = self.slot(&link.origin, &ask.scope);
        let kept = slot.shown(Instant::now());
        let renewed = match kept {
            Some(_) => None,
            None => self.renew(&slot, &ask.scope).await?,
        };
        let is_new = renewed.is_some();
        let first = kept.or(renewed);
        let header = first.as_ref().map(|shown| shown.header.clone());
        let reply = self.send_once(&self.home, ask, link, header).await?;
        if reply.status() != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let refused = first.as_ref().map_or(0, |shown| shown.number);
        slot.forget(refused);
        let Some((demand, extra)) = self.demand(&reply, &ask.scope)? else {
            return Ok(reply);
        };
        if is_new
            && slot
                .expected()
                .is_some_and(|(known, all)| known == demand && all.covers(&extra))
        {
            return Ok(reply);
        }
        let second = self
            .obtain(&slot, &ask.scope, &demand, &extra, refused)
            .await?;
        if first.is_some_and(|first| first.header == second.header) {
            slot.forget(second.number);
            return Ok(reply);
        }
        let header = Some(second.header);
        let reply = self.send_once(&self.home, ask, reply.link, header).await?;
        if reply.status() == StatusCode::UNAUTHORIZED {
            slot.forget(second.number);
        }
        Ok(reply)
    }

    /// Gets a new grant before the old one is refused, so that a large body is not sent in vain. A way that does not
    /// work any more is forgotten, and the next attempt asks the registry.
    async fn renew(&self, slot: &Slot, scope: &Scope) -> Result<Option<Shown>, Problem> {
        let Some((demand, extra)) = slot.expected() else {
            return Ok(None);
        };
        let renewed = self.obtain(slot, scope, &demand, &extra, 0).await;
        if renewed.is_err() {
            slot.unexpect();
        }
        renewed.map(Some)
    }

    /// What a refusal asks for; `None` if it does not say.
    fn demand(&self, reply: &Reply, scope: &Scope) -> Result<Option<(Demand, Extra)>, Problem> {
        let values = reply.response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenges = Challenges::parse(values.iter().map(HeaderValue::as_bytes));
        if challenges.schemes.is_empty() {
            return Ok(None);
        }
        let wanted = challenges.bearer.as_ref();
        let wanted = wanted.and_then(|bearer| bearer.scope.as_deref());
        let extra = scope.extra(&self.repository, wanted.unwrap_or_default());
        self.permit_credentials(&reply.link)?;
        let demand = Demand::of(&challenges, &reply.link, &self.credentials)?;
        Ok(Some((self.restricted(&reply.link, demand), extra)))
    }

    async fn obtain(
        &self,
        slot: &Slot,
        scope: &Scope,
        demand: &Demand,
        extra: &Extra,
        refused: u64,
    ) -> Result<Shown, Problem> {
        let fetch = async |extra: &Extra, refresh: Option<&Refresh>| match demand {
            Demand::Show => self.show().map(Grant::lasting),
            Demand::Token(service) => {
                if let Some(refresh) = refresh {
                    self.shown.add(refresh.token.expose());
                }
                let led_by = self.led_by(&service.realm.link.origin);
                let request = TokenRequest {
                    wire: self.wire_to(service),
                    led_by: led_by.as_ref(),
                    limits: &self.limits,
                    service,
                    scopes: &scope.parameters(&self.repository, extra),
                    credentials: &self.credentials,
                };
                let fetched = request.fetch(refresh).await;
                fetched.map_err(|problem| match self.withheld(demand) {
                    Some(realm) => problem.asked_without(realm),
                    None => problem,
                })
            }
        };
        // It is large and seldom needed: not to be carried by each request.
        let source = self.credentials.source();
        Box::pin(slot.obtain(demand, extra, refused, source, fetch)).await
    }

    /// The token service that the credentials are kept from, if what was granted for a scope, to this session or another
    /// with the same credentials, was got without them.
    pub(crate) fn kept_from(&self, origin: &Origin, scope: &Scope) -> Option<Origin> {
        let (demand, _) = self.slot(origin, scope).expected()?;
        self.withheld(&demand).cloned()
    }

    /// The token service that credentials are kept from by how a demand is met, if there are any.
    fn withheld<'a>(&self, demand: &'a Demand) -> Option<&'a Origin> {
        self.credentials.source()?;
        match demand {
            Demand::Token(Service { realm, .. }) if !realm.with_credentials => {
                Some(&realm.link.origin)
            }
            _ => None,
        }
    }

    fn slot(&self, origin: &Origin, scope: &Scope) -> Arc<Slot> {
        self.grants.slot(Key {
            origin: origin.clone(),
            repository: self.repository.path().into(),
            scope: scope.clone(),
            identity: self.identity.clone(),
        })
    }

    /// What can be shown without asking anybody.
    fn show(&self) -> Result<HeaderValue, Problem> {
        if let Credentials::RegistryToken { token, .. } = &self.credentials {
            return sensitive(&format!("Bearer {}", token.expose()));
        }
        self.credentials
            .basic_header()?
            .ok_or(Problem::Header("there is no name and password to show"))
    }

    /// The strict egress rules send no credentials in the clear or to whoever answers, also none that would only buy a
    /// token.
    fn permit_credentials(&self, link: &Link) -> Result<(), Problem> {
        let exposure = match link.origin.scheme {
            Scheme::Http => Exposure::PlainHttp,
            Scheme::Https if !self.is_verified => Exposure::Unverified,
            Scheme::Https => return Ok(()),
        };
        match self.credentials.source() {
            Some(source) if !self.egress.rules().allows_exposed_credentials() => {
                Err(Problem::ExposedCredentials {
                    host: link.origin.clone(),
                    credentials: source.to_owned(),
                    exposure,
                })
            }
            _ => Ok(()),
        }
    }

    /// A token service that the egress rules do not trust is asked as nobody in particular.
    fn restricted(&self, registry: &Link, mut demand: Demand) -> Demand {
        let Demand::Token(service) = &mut demand else {
            return demand;
        };
        let (registry, realm) = (&registry.origin, &service.realm.link.origin);
        if self.egress.rules().trusts_realm(registry, realm) {
            return demand;
        }
        if self.credentials.source().is_some() {
            let realm = self.scrub(&realm.to_string());
            tracing::warn!(%registry, %realm, "credentials are not sent to this token service");
        }
        service.realm.with_credentials = false;
        demand
    }

    /// A client certificate goes where credentials go.
    fn wire_to(&self, service: &Service) -> &Wire {
        if service.realm.with_credentials {
            &self.home
        } else {
            &self.foreign
        }
    }
}
