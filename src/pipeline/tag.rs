// SPDX-License-Identifier: Apache-2.0
//! The first half of step 1 for a source that names a range: the repository's tags are listed and one of them is taken.
//!
//! Enters as a [`SemverPolicy`]; leaves as the tag that wins, or as what was seen instead. The list is read page by page and
//! not kept. A list that breaks off is an error and elects nobody: half a list would elect an older version.
//!
//! Reading pages is waiting, choosing is work: a filter that its author made slow takes milliseconds for a tag. So the
//! choosing has a thread of its own, which gets one page after the other and stops when nobody waits for it any more.

use tokio::sync::mpsc;
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
pub(super) async fn choose(session: &Session, policy: &SemverPolicy) -> Result<Tag, Cause> {
    let (sender, pages) = mpsc::channel(PAGES_AHEAD);
    let stop = CancellationToken::new();
    // Also when this is dropped because it took too long.
    let _stop_at_the_end = stop.clone().drop_guard();
    let wanted = policy.clone();
    let selecting = tokio::task::spawn_blocking(move || select(&wanted, pages, &stop));
    list(session, sender).await?;
    let selection = selecting.await.map_err(|_| Cause::Task)?;
    tracing::debug!(
        repository = %session.repository(),
        range = %policy.constraint,
        considered = selection.considered,
        chosen = selection.chosen.as_ref().map(Tag::as_str),
        "tag chosen"
    );
    Ok(selection.choice(policy)?)
}

async fn list(session: &Session, sender: mpsc::Sender<Vec<Tag>>) -> Result<(), Cause> {
    let mut pages = session.tags();
    while let Some(page) = pages.next_page().await? {
        // Whoever chooses is gone only after a panic.
        sender.send(page.tags).await.map_err(|_| Cause::Task)?;
    }
    Ok(())
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
        registry::{Access, Client, Options},
        select::TagEncoding,
    };
    use wharf_test_support::{
        FakeRegistry,
        registry::{Endpoint, FLUX_CONTENT, Fault, Rule},
    };

    use super::*;

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
        let chosen = choose(&session, &policy("1.x", Some("[0-8]\\.0$"))).await;
        assert_eq!(chosen.unwrap().as_str(), "1.998.0");
        let none = choose(&session, &policy(">=2", None)).await.unwrap_err();
        assert!(none.to_string().contains("tags seen: 1000"), "{none}");
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_elects_nobody() {
        let tags: Vec<_> = (0..300).map(|minor| format!("1.{minor}.0")).collect();
        let registry = listing(&tags).await;
        let rule = Rule::on(Endpoint::Tags).skip(2);
        registry.script(rule.fault(Fault::status(403)));
        let error = choose(&session(&registry), &policy("*", None)).await;
        assert!(matches!(error.unwrap_err(), Cause::Registry(_)));
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
