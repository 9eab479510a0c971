// SPDX-License-Identifier: Apache-2.0
//! The first half of step 1 for a source that names a range: the repository's tags are listed and one of them is taken.
//!
//! Enters as a [`SemverPolicy`]; leaves as the tag that wins, or as what was seen instead. The list is read page by page and
//! not kept. A list that breaks off is an error and elects nobody: half a list would elect an older version.

use wharf_oci::{
    Tag,
    registry::Session,
    select::{Selector, SemverPolicy, Verdicts},
};

use super::error::Cause;

/// The tag that the policy takes of those that the repository has now.
pub(super) async fn choose(session: &Session, policy: &SemverPolicy) -> Result<Tag, Cause> {
    let mut selector = Selector::new(policy, Verdicts::default());
    let mut pages = session.tags();
    while let Some(page) = pages.next_page().await? {
        for tag in &page.tags {
            selector.consider(tag.as_str());
        }
    }
    let selection = selector.finish();
    tracing::debug!(
        repository = %session.repository(),
        range = %policy.constraint,
        considered = selection.considered,
        chosen = selection.chosen.as_ref().map(Tag::as_str),
        "tag chosen"
    );
    Ok(selection.choice(policy)?)
}
