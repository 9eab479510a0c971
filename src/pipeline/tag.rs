// SPDX-License-Identifier: Apache-2.0
//! The first half of step 1 for a source that names a range: the repository's tags are listed and one of them is taken.
//!
//! Enters as a [`SemverPolicy`]; leaves as the tag that wins, or as what was seen instead. The list is read page by page and
//! not kept. A list that breaks off is an error and elects nobody: half a list would elect an older version. What a mirror
//! broke off is begun anew elsewhere, from the first tag on.
//!
//! Reading pages is waiting, choosing is work: a filter that its author made slow takes milliseconds for a tag. So the
//! choosing has a thread of its own, which gets one page after the other and stops when nobody waits for it any more.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use wharf_oci::{
    Tag,
    registry::Session,
    select::{Selection, Selector, SemverPolicy, Verdicts},
};

use super::error::Cause;

/// Pages that may wait for the one that is being looked at.
const PAGES_AHEAD: usize = 1;

/// The tag that the policy takes of those that the repository has now.
pub(super) async fn choose(
    session: &Session,
    policy: &SemverPolicy,
    limit: Duration,
) -> Result<Tag, Cause> {
    let progress = Progress::default();
    let selection = timeout(limit, select_from_whole(session, policy, &progress)).await;
    let selection = selection.unwrap_or_else(|_| Err(progress.timed_out(limit)))?;
    tracing::debug!(
        repository = %session.repository(),
        range = %policy.constraint,
        considered = selection.considered,
        chosen = selection.chosen.as_ref().map(Tag::as_str),
        "tag chosen"
    );
    Ok(selection.choice(policy)?)
}

/// A list that a mirror began and broke off is begun once more, and nothing of it is kept: the mirror rests now, so that
/// somebody else is asked.
async fn select_from_whole(
    session: &Session,
    policy: &SemverPolicy,
    progress: &Progress,
) -> Result<Selection, Cause> {
    match select_listed(session, policy, progress).await {
        Err(cut) if cut.by_mirror => {
            tracing::info!(repository = %session.repository(), error = %cut.cause, "the list of tags is begun anew");
            let again = select_listed(session, policy, progress).await;
            again.map_err(|cut| cut.cause)
        }
        selection => selection.map_err(|cut| cut.cause),
    }
}

async fn select_listed(
    session: &Session,
    policy: &SemverPolicy,
    progress: &Progress,
) -> Result<Selection, Cut> {
    let (sender, pages) = mpsc::channel(PAGES_AHEAD);
    let stop = CancellationToken::new();
    // Also when this is dropped because it took too long.
    let _stop_at_the_end = stop.clone().drop_guard();
    let wanted = policy.clone();
    let selecting = tokio::task::spawn_blocking(move || select(&wanted, pages, &stop));
    list(session, sender, progress).await?;
    selecting.await.map_err(|_| Cause::Task.into())
}

async fn list(
    session: &Session,
    sender: mpsc::Sender<Vec<Tag>>,
    progress: &Progress,
) -> Result<(), Cut> {
    progress.begin();
    let mut pages = session.tags();
    loop {
        let page = pages.next_page().await.map_err(|error| Cut {
            cause: error.into(),
            by_mirror: pages.is_from_mirror(),
        })?;
        let Some(page) = page else { break };
        progress.add(page.tags.len());
        // Whoever chooses is gone only after a panic.
        sender.send(page.tags).await.map_err(|_| Cause::Task)?;
    }
    if pages.is_end_assumed() {
        tracing::warn!(repository = %session.repository(), tags = progress.tags(), "the registry did not say that the list of tags ends here and refused to be asked for more: later tags may be missing");
    }
    progress.end();
    Ok(())
}

/// Why a list is not whole.
struct Cut {
    cause: Cause,
    /// A mirror began it and did not end it.
    by_mirror: bool,
}

impl From<Cause> for Cut {
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            by_mirror: false,
        }
    }
}

/// How far a list came, for who stops waiting for it.
#[derive(Default)]
struct Progress(Mutex<Listed>);

#[derive(Clone, Copy, Default)]
struct Listed {
    pages: usize,
    tags: usize,
    is_whole: bool,
}

impl Progress {
    fn begin(&self) {
        *self.lock() = Listed::default();
    }

    fn add(&self, tags: usize) {
        let mut listed = self.lock();
        listed.pages += 1;
        listed.tags += tags;
    }

    fn end(&self) {
        self.lock().is_whole = true;
    }

    fn tags(&self) -> usize {
        self.lock().tags
    }

    fn timed_out(&self, after: Duration) -> Cause {
        let listed = *self.lock();
        if listed.is_whole || listed.pages == 0 {
            return Cause::Timeout(after);
        }
        Cause::Listing {
            after,
            pages: listed.pages,
            tags: listed.tags,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn select(
    policy: &SemverPolicy,
    mut pages: mpsc::Receiver<Vec<Tag>>,
    stop: &CancellationToken,
) -> Selection {
    let mut selector = Selector::new(policy, Verdicts::default());
    while let Some(page) = pages.blocking_recv() {
        for tag in page.iter().take_while(|_| !stop.is_cancelled()) {
            selector.consider(tag.as_str());
        }
    }
    selector.finish()
}

#[cfg(test)]
mod tests {
    use wharf_oci::{
        registry::{Access, Client, Host, Hosts, Mirror, Options},
        select::TagEncoding,
    };
    use wharf_test_support::{
        FakeRegistry,
        registry::{Endpoint, FLUX_CONTENT, Fault, Gate, Rule},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn policy(range: &str, filter: Option<&str>) -> SemverPolicy {
        SemverPolicy {
            constraint: range.parse().unwrap(),
            filter: filter.map(|filter| filter.parse().unwrap()),
            encoding: TagEncoding::Verbatim,
        }
    }

    fn session(registry: &FakeRegistry) -> Session {
        let repository = format!("{}/app", registry.host()).parse().unwrap();
        let client = Client::new(Options::default()).unwrap();
        client.session(repository, &Access::default()).unwrap()
    }

    /// A registry that lists these tags, in pages.
    async fn listing(tags: &[String]) -> FakeRegistry {
        let registry = FakeRegistry::builder().tag_page(100).start().await.unwrap();
        for tag in tags {
            registry.push_artifact("app", tag, "layer", FLUX_CONTENT);
        }
        registry
    }

    #[tokio::test]
    async fn the_greatest_of_all_pages_is_taken() {
        let tags: Vec<_> = (0..1000).map(|minor| format!("1.{minor}.0")).collect();
        let registry = listing(&tags).await;
        let session = session(&registry);
        let chosen = choose(&session, &policy("1.x", Some("[0-8]\\.0$")), LIMIT).await;
        assert_eq!(chosen.unwrap().as_str(), "1.998.0");
        let none = choose(&session, &policy(">=2", None), LIMIT)
            .await
            .unwrap_err();
        assert!(none.to_string().contains("tags seen: 1000"), "{none}");
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_elects_nobody() {
        let tags: Vec<_> = (0..300).map(|minor| format!("1.{minor}.0")).collect();
        let registry = listing(&tags).await;
        let rule = Rule::on(Endpoint::Tags).skip(2);
        registry.script(rule.fault(Fault::status(403)));
        let error = choose(&session(&registry), &policy("*", None), LIMIT).await;
        assert!(matches!(error.unwrap_err(), Cause::Registry(_)));
    }

    fn session_with_mirrors(registry: &FakeRegistry, mirrors: &[&FakeRegistry]) -> Session {
        let mirror = |mirror: &&FakeRegistry| Mirror::parse(&mirror.host(), true).unwrap();
        let host = Host {
            mirrors: mirrors.iter().map(mirror).collect(),
            ..Host::default()
        };
        let options = Options {
            hosts: Hosts::new([(registry.host(), host)]),
            ..Options::default()
        };
        let repository = format!("{}/app", registry.host()).parse().unwrap();
        let client = Client::new(options).unwrap();
        client.session(repository, &Access::default()).unwrap()
    }

    /// Its tags are others: whatever is left of them would be chosen.
    async fn breaking_off(fault: Fault) -> FakeRegistry {
        let tags: Vec<_> = (0..300).map(|minor| format!("9.{minor}.0")).collect();
        let mirror = listing(&tags).await;
        mirror.script(Rule::on(Endpoint::Tags).skip(1).fault(fault));
        mirror
    }

    #[tokio::test]
    async fn a_list_that_a_mirror_breaks_off_is_begun_anew_elsewhere() {
        for fault in [
            Fault::status(404),
            Fault::status(500),
            Fault::retry_after(429, "3600"),
            Fault::ResetAt(20),
            Fault::Html,
        ] {
            let tags: Vec<_> = (0..300).map(|minor| format!("1.{minor}.0")).collect();
            let registry = listing(&tags).await;
            let mirror = breaking_off(fault.clone()).await;
            let session = session_with_mirrors(&registry, &[&mirror]);
            let chosen = choose(&session, &policy("*", None), LIMIT).await;
            assert_eq!(chosen.unwrap().as_str(), "1.299.0", "{fault:?}");
            assert_eq!(mirror.requests_to(Endpoint::Tags).len(), 2);
            assert_eq!(registry.requests_to(Endpoint::Tags).len(), 3);
        }
    }

    #[tokio::test]
    async fn a_list_is_begun_anew_once_and_the_error_says_little_of_the_mirror() {
        let tags: Vec<_> = (0..300).map(|minor| format!("1.{minor}.0")).collect();
        let registry = listing(&tags).await;
        let one = breaking_off(Fault::status_with(500, &[], "canary")).await;
        let two = breaking_off(Fault::status_with(403, &[], "canary")).await;
        let session = session_with_mirrors(&registry, &[&one, &two]);
        let error = choose(&session, &policy("*", None), LIMIT).await;
        let text = format!("{:?}", error.unwrap_err());
        assert!(
            text.contains(&two.host()) && text.contains(&registry.host()),
            "{text}"
        );
        assert!(!text.contains("canary"), "{text}");
        // Both rest now.
        let chosen = choose(&session, &policy("*", None), LIMIT).await;
        assert_eq!(chosen.unwrap().as_str(), "1.299.0");
    }

    #[tokio::test]
    async fn who_waits_too_short_for_a_list_is_told_how_far_it_came() {
        let tags: Vec<_> = (0..300).map(|minor| format!("1.{minor}.0")).collect();
        let registry = listing(&tags).await;
        let gate = Gate::new();
        registry.script(Rule::on(Endpoint::Tags).skip(2).hold(&gate));
        let limit = Duration::from_secs(2);
        let error = choose(&session(&registry), &policy("*", None), limit).await;
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("2 pages with 200 tags") && text.contains("raise spec.timeout"),
            "{text}"
        );
        gate.open();
    }

    #[tokio::test]
    async fn a_filter_that_takes_long_goes_on_for_no_longer_than_somebody_waits() {
        let slow = policy("*", Some("^(?:[0-9a-z]?){1000}!$"));
        let tags = vec!["1".repeat(128).parse().unwrap(); 1_000_000];
        let (sender, pages) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let selecting = tokio::task::spawn_blocking(move || select(&slow, pages, &stop));
        sender.send(tags).await.unwrap();
        drop((sender, guard));
        let selection = selecting.await.unwrap();
        assert!(selection.considered < 1_000_000);
    }
}
