// SPDX-License-Identifier: Apache-2.0
//! What is in an archive decides: what is refused, what is left out, what is served.

use flate2::read::GzDecoder;
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::{Layer, bomb, gzip, layer, not_gzip, truncated};
use wharf_test_support::registry::FLUX_CONTENT;

use crate::objects::{condition, revision, source};
use crate::world::{World, files, in_both_worlds};

in_both_worlds!(
    an_archive_that_is_unsafe_or_broken_is_refused_and_the_old_one_is_served,
    links_and_devices_are_left_out_and_said_so,
);

async fn an_archive_that_is_unsafe_or_broken_is_refused_and_the_old_one_is_served(world: World) {
    let whole = layer(&[("a", &"content\n".repeat(1000))]);
    let cases: [(&str, Vec<u8>, &[&str]); 9] = [
        ("text", not_gzip(), &["not gzip"]),
        ("empty", Vec::new(), &[]),
        ("gzip-of-text", gzip(&not_gzip()), &[]),
        (
            "cut-gzip",
            truncated(&whole, whole.len() - 20),
            &["truncated"],
        ),
        (
            "cut-tar",
            gzip(&Layer::new().file("a", "x".repeat(5000)).tar()[..2000]),
            &["truncated"],
        ),
        (
            "parent",
            Layer::new().file("ok", "1").file("../evil", "x").gzip(),
            &["../evil"],
        ),
        (
            "hidden-parent",
            Layer::new().file("a/../../evil", "x").gzip(),
            &["a/../../evil"],
        ),
        (
            "absolute",
            Layer::new().file("/etc/evil", "x").gzip(),
            &["/etc/evil"],
        ),
        ("bomb", bomb(256 << 20), &["limit"]),
    ];
    let registry = FakeRegistry::start().await;
    let mut good = Vec::new();
    for (name, _, _) in &cases {
        good.push(registry.push_artifact(name, "1.0.0", layer(&[("a", name)]), FLUX_CONTENT));
        world.apply(source(name, &registry.url(name))).await;
    }
    for ((name, bad, _), good) in cases.iter().zip(&good) {
        world.ready_at(name, &good.revision()).await;
        registry.push_artifact(name, "1.0.0", bad.clone(), FLUX_CONTENT);
    }
    for ((name, _, words), good) in cases.iter().zip(&good) {
        let object = world
            .failed(name, "OCIArtifactLayerOperationFailed", words)
            .await;
        assert_eq!(condition(&object, "FetchFailed")[0], "True", "{name}");
        assert_eq!(revision(&object), good.revision());
        assert_eq!(world.artifact(&object).await, good.layer);
    }
    assert_eq!(files(&world.store().join("blobs")).len(), cases.len());
}

async fn links_and_devices_are_left_out_and_said_so(world: World) {
    let registry = FakeRegistry::start().await;
    let strange = Layer::new()
        .file("kept", "1")
        .symlink("link", "/etc/passwd")
        .hard_link("hard", "kept")
        .device("null")
        .fifo("pipe");
    let pushed = registry.push_artifact("app", "1.0.0", strange.gzip(), FLUX_CONTENT);
    world.apply(source("app", &registry.url("app"))).await;
    let object = world.ready_at("app", &pushed.revision()).await;
    let served = world.artifact(&object).await;
    assert_ne!(served, pushed.layer);
    let mut archive = tar::Archive::new(GzDecoder::new(served.as_slice()));
    let names = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let kind = entry.header().entry_type();
        assert!(kind.is_file() || kind.is_dir(), "{kind:?}");
        String::from_utf8(entry.path_bytes().into_owned()).unwrap()
    });
    let names: Vec<_> = names.filter(|name| name != ".").collect();
    assert_eq!(names, ["kept"]);
    let events = world.events("app").await;
    let told = events
        .iter()
        .any(|(_, message)| message.contains("left out") && message.contains('4'));
    assert!(told, "{events:?}");
}
