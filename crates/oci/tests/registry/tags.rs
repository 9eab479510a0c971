// SPDX-License-Identifier: Apache-2.0

use std::fmt::Write as _;

use wharf_oci::registry::{Error, ErrorKind, Limits, Options, RetryPolicy, Session, TagPage};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, OCI_MANIFEST, Rule, Seen},
};

use crate::support::*;

/// A registry that has these tags and gives so many at a time.
async fn registry_with(tags: impl IntoIterator<Item = String>, page: usize) -> FakeRegistry {
    let registry = FakeRegistry::builder()
        .tag_page(page)
        .start()
        .await
        .unwrap();
    for tag in tags {
        registry.put_manifest(REPOSITORY, &tag, OCI_MANIFEST, "{}");
    }
    registry
}

fn numbers(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("v{n:05}"))
}

/// All tags, and what was said of the pages.
async fn list(session: &Session) -> Result<(Vec<String>, Vec<TagPage>), Error> {
    let mut tags = session.tags();
    let mut pages = Vec::new();
    while let Some(page) = tags.next_page().await? {
        pages.push(page);
    }
    let all = pages.iter().flat_map(|page| &page.tags);
    Ok((all.map(ToString::to_string).collect(), pages))
}

async fn tags_of(session: &Session) -> Vec<String> {
    list(session).await.unwrap().0
}

async fn failure(registry: &FakeRegistry) -> Error {
    list(&anonymous(registry)).await.unwrap_err()
}

fn page(tags: &[&str], link: Option<&str>) -> Fault {
    let body = serde_json::json!({"name": REPOSITORY, "tags": tags}).to_string();
    let header = link.map(|link| format!("<{link}>; rel=\"next\""));
    let headers: Vec<_> = header.iter().map(|link| ("link", link.as_str())).collect();
    Fault::status_with(200, &headers, body)
}

fn queries(registry: &FakeRegistry) -> Vec<String> {
    let seen = registry.requests_to(Endpoint::Tags);
    seen.into_iter().map(|seen: Seen| seen.query).collect()
}

async fn scripted(pages: impl IntoIterator<Item = Fault>) -> FakeRegistry {
    let registry = FakeRegistry::start().await;
    registry.script(Rule::on(Endpoint::Tags).faults(pages));
    registry
}

#[tokio::test]
async fn all_pages_are_listed_by_following_the_links() {
    let registry = registry_with(numbers(25), 10).await;
    let (tags, pages) = list(&anonymous(&registry)).await.unwrap();
    assert_eq!(tags, numbers(25).collect::<Vec<_>>());
    assert_eq!(pages.len(), 3);
    assert_eq!(pages[0].name.as_deref(), Some(REPOSITORY));
    assert_eq!(
        queries(&registry),
        ["n=1000", "n=10&last=v00009", "n=10&last=v00019"]
    );
}

#[tokio::test]
async fn a_registry_that_gives_all_at_once_is_read_at_once() {
    let registry = registry_with(numbers(0), usize::MAX).await;
    let many: Vec<String> = (0..60_000)
        .map(|n| format!("release-{n:08}-of-the-application-with-a-long-name"))
        .collect();
    let body = serde_json::json!({"tags": many}).to_string();
    assert!(body.len() > 3 << 20);
    registry.script(Rule::on(Endpoint::Tags).fault(Fault::status_with(200, &[], body)));
    assert_eq!(tags_of(&anonymous(&registry)).await, many);
    assert_eq!(queries(&registry).len(), 1);
}

#[tokio::test]
async fn a_link_is_followed_as_it_is_written() {
    let cursor = "/v2/team/app/tags/list?next_page=gAAAA%3D%3D&N=5&x=a,b;c";
    let registry = scripted([page(&["b"], Some(cursor)), page(&["a"], None)]).await;
    assert_eq!(tags_of(&anonymous(&registry)).await, ["b", "a"]);
    assert_eq!(queries(&registry)[1], "next_page=gAAAA%3D%3D&N=5&x=a,b;c");
}

#[tokio::test]
async fn an_absolute_link_and_a_relative_one_lead_to_the_same_place() {
    let registry = FakeRegistry::start().await;
    let absolute = format!("{}/v2/{REPOSITORY}/tags/list?p=2", registry.base_url());
    registry.script(Rule::on(Endpoint::Tags).faults([
        page(&["a"], Some(&absolute)),
        page(&["b"], Some("list?p=3")),
        page(&["c"], Some("?p=4")),
        page(&["d"], None),
    ]));
    assert_eq!(tags_of(&anonymous(&registry)).await, ["a", "b", "c", "d"]);
    assert_eq!(queries(&registry), ["n=1000", "p=2", "p=3", "p=4"]);
}

#[tokio::test]
async fn a_link_to_another_origin_is_an_error_and_nothing_is_sent_there() {
    let other = FakeRegistry::start().await;
    let url = format!("{}/v2/{REPOSITORY}/tags/list?p=2", other.base_url());
    let registry = scripted([page(&["a"], Some(&url))]).await;
    let error = failure(&registry).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains(&other.host()), "{error}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_link_header_that_cannot_be_read_is_no_end() {
    for link in [
        "/v2/x; rel=next",
        "<x; rel=next",
        "<ftp://a/>; rel=next",
        "<>; rel=next",
    ] {
        let fault = Fault::status_with(200, &[("link", link)], r#"{"tags":["a"]}"#);
        let error = failure(&scripted([fault]).await).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{link}");
        assert!(error.to_string().contains("Link header"), "{error}");
    }
}

#[tokio::test]
async fn a_list_that_goes_in_circles_is_an_error() {
    let circle = scripted([
        page(&["a"], Some("?p=2")),
        page(&["b"], Some("?p=3")),
        page(&["c"], Some("?p=2")),
    ]);
    let itself = scripted([page(&["a"], Some("?n=1000"))]);
    let twice = scripted([page(&["a"], Some("?p=2")), page(&["a"], Some("?p=3"))]);
    let idle = scripted((0..30).map(|n| page(&["a", "b"][n % 2..], Some(&format!("?p={n}")))));
    let empty = scripted((0..30).map(|n| page(&[], Some(&format!("?p={n}")))));
    for registry in [
        circle.await,
        itself.await,
        twice.await,
        idle.await,
        empty.await,
    ] {
        let error = failure(&registry).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.to_string().contains("does not end"), "{error}");
        assert!(queries(&registry).len() < 20);
    }
}

#[tokio::test]
async fn an_endless_list_ends_at_a_cap_that_is_named() {
    for (limits, name) in [
        (
            Limits {
                tag_pages: 7,
                ..Limits::default()
            },
            "limit of 7 pages",
        ),
        (
            Limits {
                tags: 7,
                ..Limits::default()
            },
            "limit of 7 entries",
        ),
        (
            Limits {
                tag_page: 7,
                ..Limits::default()
            },
            "limit of 7 bytes",
        ),
    ] {
        let pages = (0..99).map(|n| page(&[&format!("v{n}")], Some(&format!("?p={n}"))));
        let registry = scripted(pages).await;
        let session = session_within(&registry, limits);
        let error = list(&session).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains(name), "{error}");
        assert!(queries(&registry).len() <= 8);
    }
}

#[tokio::test]
async fn a_page_without_an_end_is_cut_off() {
    for fault in [Fault::Endless, Fault::EndlessChunked] {
        let registry = registry_with(numbers(1), 10).await;
        registry.script(Rule::on(Endpoint::Tags).fault(fault));
        let error = failure(&registry).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    let limits = Limits {
        tag_page: 2 << 20,
        tags: 10_000,
        ..Limits::default()
    };
    for (start, piece) in [
        (r#"{"tags":[],"manifest":""#, "xxxxxxxx"),
        (r#"{"tags":[],"manifest":[0"#, ",[{},7]"),
        (r#"{"tags":["a""#, ",\"not a tag\""),
        (r#"{"tags":["a"]}"#, "        "),
    ] {
        let registry = registry_with(numbers(1), 10).await;
        let piece = piece.repeat(1000);
        registry.script(
            Rule::on(Endpoint::Tags).fault(Fault::EndlessAfter(start.into(), piece.into())),
        );
        let session = session_within(&registry, limits);
        let error = list(&session).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{start}: {error}");
        assert!(error.to_string().contains("limit of"), "{error}");
    }
}

#[tokio::test]
async fn a_full_page_without_a_link_is_asked_what_comes_after() {
    let all: Vec<String> = numbers(1_500).collect();
    let body = |tags: &[String]| serde_json::json!({ "tags": tags }).to_string();
    let registry = scripted([
        Fault::status_with(200, &[], body(&all[..1000])),
        Fault::status_with(200, &[], body(&all[1000..])),
    ])
    .await;
    assert_eq!(tags_of(&anonymous(&registry)).await, all);
    assert_eq!(queries(&registry), ["n=1000", "n=1000&last=v00999"]);
}

#[tokio::test]
async fn a_full_page_is_the_last_when_asking_on_repeats_it_or_gives_nothing() {
    let all: Vec<String> = numbers(1_000).collect();
    let full = serde_json::json!({ "tags": all }).to_string();
    for second in [&full, r#"{"tags":[]}"#, r#"{"tags":null}"#] {
        let registry = scripted([
            Fault::status_with(200, &[], full.clone()),
            Fault::status_with(200, &[], second.to_owned()),
        ])
        .await;
        let mut tags = anonymous(&registry).tags();
        assert_eq!(tags.next_page().await.unwrap().unwrap().tags.len(), 1000);
        assert_eq!(tags.next_page().await.unwrap(), None);
        assert_eq!(tags.next_page().await.unwrap(), None);
        assert!(!tags.is_end_assumed());
        assert_eq!(queries(&registry).len(), 2);
    }
}

#[tokio::test]
async fn a_registry_that_takes_no_cursor_but_its_own_is_believed_and_that_is_told() {
    let full = serde_json::json!({"tags": numbers(1_000).collect::<Vec<_>>()}).to_string();
    for (status, is_believed) in [
        (400, true),
        (404, true),
        (405, true),
        (401, false),
        (403, false),
        (429, false),
        (500, false),
    ] {
        let registry = FakeRegistry::start().await;
        registry.script(Rule::on(Endpoint::Tags).times(1).fault(Fault::status_with(
            200,
            &[],
            full.clone(),
        )));
        registry.script(Rule::on(Endpoint::Tags).fault(Fault::status(status)));
        let mut tags = anonymous(&registry).tags();
        assert_eq!(tags.next_page().await.unwrap().unwrap().tags.len(), 1000);
        let end = tags.next_page().await;
        assert_eq!(end.is_ok(), is_believed, "{status}: {end:?}");
        assert_eq!(tags.is_end_assumed(), is_believed);
    }
}

#[tokio::test]
async fn a_page_that_fails_fails_the_list_at_every_place() {
    for place in 0..3 {
        for (fault, kind) in [
            (Fault::status(403), ErrorKind::Forbidden),
            (Fault::status(404), ErrorKind::NotFound),
            (Fault::status(429), ErrorKind::RateLimited),
            (Fault::status(500), ErrorKind::Server),
            (Fault::ResetAt(5), ErrorKind::Unreachable),
            (Fault::CloseAt(5), ErrorKind::Unreachable),
            (Fault::Html, ErrorKind::Protocol),
            (Fault::OtherBody("{}".into()), ErrorKind::Protocol),
            (Fault::OtherBody("".into()), ErrorKind::Protocol),
        ] {
            let registry = registry_with(numbers(25), 10).await;
            registry.script(Rule::on(Endpoint::Tags).skip(place).fault(fault.clone()));
            let mut tags = anonymous(&registry).tags();
            for _ in 0..place {
                assert!(tags.next_page().await.unwrap().is_some());
            }
            let error = tags.next_page().await.unwrap_err();
            assert_eq!(error.kind(), kind, "{place} {fault:?}: {error}");
            let named = format!("list tags, page {} in {}", place + 1, registry.host());
            assert!(error.to_string().starts_with(&named), "{error}");
            registry.be_honest();
            let rest = tags.next_page().await.unwrap().unwrap();
            assert_eq!(rest.tags[0].to_string(), format!("v000{place}0"));
        }
    }
}

#[tokio::test]
async fn a_page_that_fails_for_a_moment_is_asked_for_again() {
    let registry = registry_with(numbers(25), 10).await;
    registry.script(Rule::on(Endpoint::Tags).skip(1).faults([
        Fault::status(503),
        Fault::ResetAt(20),
        Fault::Honest,
        Fault::status(502),
    ]));
    assert_eq!(
        tags_of(&anonymous(&registry)).await,
        numbers(25).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_said_not_to_be() {
    let registry = FakeRegistry::start().await;
    let error = failure(&registry).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error
            .to_string()
            .contains("NAME_UNKNOWN: no repository team/app"),
        "{error}"
    );
}

#[tokio::test]
async fn a_repository_without_tags_has_none() {
    for body in [r#"{"name":"team/app","tags":null}"#, r#"{"tags":[]}"#] {
        let registry = scripted([Fault::status_with(200, &[], body)]).await;
        assert!(tags_of(&anonymous(&registry)).await.is_empty());
    }
}

#[tokio::test]
async fn what_is_listed_twice_or_is_no_tag_is_counted_and_left_out() {
    let registry = scripted([
        page(&["a", "b", "a", "not a tag"], Some("?p=2")),
        page(&["b", "c"], None),
    ])
    .await;
    let (tags, pages) = list(&anonymous(&registry)).await.unwrap();
    assert_eq!(tags, ["a", "b", "c"]);
    assert_eq!(
        pages
            .iter()
            .map(|page| (page.repeated, page.skipped))
            .collect::<Vec<_>>(),
        [(1, 1), (1, 0)]
    );
}

#[tokio::test]
async fn a_page_of_html_is_named_as_such() {
    let error = failure(&scripted([Fault::Html]).await).await;
    assert!(error.to_string().contains("\"text/html\""), "{error}");
}

#[tokio::test]
async fn the_list_is_asked_for_with_the_token_of_the_registry() {
    let registry = FakeRegistry::builder()
        .bearer("u", "p")
        .tag_page(2)
        .start()
        .await
        .unwrap();
    for tag in numbers(5) {
        registry.put_manifest(REPOSITORY, &tag, OCI_MANIFEST, "{}");
    }
    let retry = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let session = session_with(&registry, &basic("u", "p"), Options { retry, ..options() });
    assert_eq!(tags_of(&session).await.len(), 5);
    assert_eq!(registry.requests_to(Endpoint::Token).len(), 1);
    let mut message = String::new();
    write!(message, "{:?}", session.tags()).unwrap();
    assert!(message.contains(REPOSITORY), "{message}");
}
