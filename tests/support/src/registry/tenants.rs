// SPDX-License-Identifier: Apache-2.0
//! Several tenants on one registry: who they are, and how they prove it.
//!
//! The log then says of each request whose authorization and whose certificate it showed, as the registry knows it; see
//! [`Seen::who`](super::Seen::who).

use super::Builder;
use super::auth::{Account, Auth, Forms};
use crate::tls::{Authority, Identity};

impl Builder {
    /// One more who may do everything. `label` is what the log calls them: two may have the same user name. Only after
    /// [`basic`](Self::basic) or [`bearer`](Self::bearer).
    pub fn tenant(mut self, label: &str, username: &str, password: &str) -> Self {
        self.accounts()
            .push(Account::new(label, username, password));
        self
    }

    /// Lets the last account get tokens for this identity token, in a form (`grant_type=refresh_token`).
    pub fn identity_token(mut self, token: &str) -> Self {
        if let Some(account) = self.accounts().last_mut() {
            account.identity_token = Some(token.to_owned());
        }
        self.forms(Forms::Both)
    }

    /// Gives tokens for a form that is posted, and not for a GET.
    pub fn only_forms(self) -> Self {
        self.forms(Forms::Post)
    }

    /// Speaks TLS, shows this certificate and asks for one of this authority's; without it nobody is let in.
    pub fn mutual_tls(mut self, identity: &Identity, clients: &Authority) -> Self {
        self.tls = Some(identity.server_config_for_clients_of(clients));
        self
    }

    fn forms(mut self, wanted: Forms) -> Self {
        if let Auth::Bearer { forms, .. } = &mut self.auth {
            *forms = wanted;
        }
        self
    }

    fn accounts(&mut self) -> &mut Vec<Account> {
        match &mut self.auth {
            Auth::Basic(accounts) | Auth::Bearer { accounts, .. } => accounts,
            Auth::Open => unreachable!("say first how tenants prove who they are"),
        }
    }
}
