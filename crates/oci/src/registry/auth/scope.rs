// SPDX-License-Identifier: Apache-2.0
//! What a session asks to be allowed to do.
//!
//! Pure: what is about to be done and what the registry's challenge says go in, the `scope` parameters of the token
//! request come out. Source: distribution's token scope documentation.
//!
//! Which scopes are asked for: always our own, whatever the challenge says. Of the challenge only further actions on the
//! same repository are added, and only those that read (ACR's `metadata_read`, `content_read`), or with a push also those
//! that write. Never `delete` or `*`, never a scope of another repository unless a blob is mounted from it, never one of
//! the registry's catalog: a token must not be able to do more than its session does.

use std::{collections::BTreeSet, sync::Arc};

use crate::Repository;

/// More actions than any registry knows.
const MAX_EXTRA: usize = 8;

/// What a session asks to be allowed to do with its repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    Pull,
    Push,
    /// To push, and to read from the repository of this path on the same registry, to mount a blob of it.
    Mount(Arc<str>),
}

/// Actions that a registry wants to see beside ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra(BTreeSet<Box<str>>);

impl Scope {
    /// The values of the `scope` parameter.
    pub(crate) fn parameters(&self, repository: &Repository, extra: &Extra) -> Vec<String> {
        let mut actions = vec!["pull"];
        if !matches!(self, Self::Pull) {
            actions.push("push");
        }
        actions.extend(extra.0.iter().map(AsRef::as_ref));
        let mut scopes = vec![format!(
            "repository:{}:{}",
            repository.path(),
            actions.join(",")
        )];
        if let Self::Mount(from) = self {
            scopes.push(format!("repository:{from}:pull"));
        }
        scopes
    }

    /// What of a challenge's `scope` is asked for beside ours.
    pub(crate) fn extra(&self, repository: &Repository, challenge: &str) -> Extra {
        let ours = challenge.split_ascii_whitespace().filter_map(|scope| {
            let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
            (name == repository.path()).then_some(actions)
        });
        let wanted = ours
            .flat_map(|actions| actions.split(','))
            .filter(|action| self.admits(action))
            .take(MAX_EXTRA)
            .map(Into::into);
        Extra(wanted.collect())
    }

    fn admits(&self, action: &str) -> bool {
        let may_write = !matches!(self, Self::Pull);
        let is_word = |word: &str| {
            word.len() < 40
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'/'))
        };
        is_word(action) && (action.ends_with("_read") || (may_write && action.ends_with("_write")))
    }
}

impl Extra {
    /// Whether a grant for these covers those.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.is_subset(&self.0)
    }

    /// Both together, within the bound.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let all = other.0.union(&self.0).take(MAX_EXTRA).cloned();
        Self(all.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(scope: &Scope, challenge: &str) -> Vec<String> {
        let repository = "r.example/team/app".parse().unwrap();
        scope.parameters(&repository, &scope.extra(&repository, challenge))
    }

    #[test]
    fn our_own_scope_is_asked_for_whatever_the_challenge_says() {
        for challenge in [
            "",
            "repository:team/app:pull",
            "repository:team/app:*",
            "repository:team/app:pull,push,delete",
            "repository:other:pull,push",
            "repository:other:metadata_read",
            "repository:team/app/deeper:metadata_read",
            "registry:catalog:*",
            "repository:team/app:admin_write",
            "repository:team/app",
            ":::: nonsense \u{7f}",
        ] {
            assert_eq!(
                asked(&Scope::Pull, challenge),
                ["repository:team/app:pull"],
                "{challenge}"
            );
        }
        assert_eq!(asked(&Scope::Push, ""), ["repository:team/app:pull,push"]);
    }

    #[test]
    fn actions_that_read_are_added_when_the_registry_wants_them() {
        let acr = "repository:team/app:content_read,metadata_read,pull registry:catalog:*";
        assert_eq!(
            asked(&Scope::Pull, acr),
            ["repository:team/app:pull,content_read,metadata_read"]
        );
        let many: Vec<_> = (0..50)
            .map(|n| format!("{}_read", "x".repeat(n % 45)))
            .collect();
        let many = format!("repository:team/app:{}", many.join(","));
        assert!(asked(&Scope::Pull, &many)[0].matches(',').count() <= MAX_EXTRA);
        let write = "repository:team/app:content_write,content_delete";
        assert_eq!(
            asked(&Scope::Push, write),
            ["repository:team/app:pull,push,content_write"]
        );
    }

    #[test]
    fn a_mount_reads_from_one_other_repository() {
        let challenge = "repository:team/app:pull,push repository:secret/other:pull";
        assert_eq!(
            asked(&Scope::Mount("team/base".into()), challenge),
            ["repository:team/app:pull,push", "repository:team/base:pull"]
        );
    }
}
