// SPDX-License-Identifier: Apache-2.0
//! Which bytes are served: those of the layer where they need no change, and otherwise the same ones wherever and
//! whenever they are made.

use std::collections::BTreeMap;

use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::{Layer, layer, plain_layer, random_text};
use wharf_test_support::registry::{FLUX_CONTENT, sha256};

use crate::env;
use crate::objects::source;
use crate::world::{World, in_both_worlds};

in_both_worlds!(a_canonical_layer_is_served_byte_for_byte);

async fn a_canonical_layer_is_served_byte_for_byte(world: World) {
    let registry = FakeRegistry::start().await;
    let text = random_text(300, 7);
    let canonical = layer(&[
        ("a.yaml", "a: 1"),
        ("deep/er/b.yaml", &text),
        ("größe.txt", "µ"),
    ]);
    let pushed = registry.push_artifact("app", "1.0.0", canonical, FLUX_CONTENT);
    world.apply(source("app", &registry.url("app"))).await;
    let object = world.ready_at("app", &pushed.revision()).await;
    assert_eq!(object["status"]["artifact"]["digest"], pushed.layer_digest);
    assert!(world.artifact(&object).await == pushed.layer);
}

#[tokio::test]
async fn a_layer_that_is_repacked_gives_the_same_bytes_under_any_umask_and_time_zone() {
    let registry = FakeRegistry::start().await;
    let text = random_text(300, 8);
    let strange = Layer::new()
        .file_with_mode("z-last/run.sh", "#!/bin/sh\n", 0o4777)
        .file("a-first", &text)
        .symlink("link", "a-first")
        .directory("m-empty")
        .gzip();
    let pushed = registry.push_artifact("app", "1.0.0", strange, FLUX_CONTENT);
    let mut seen = BTreeMap::new();
    for (umask, zone) in [
        ("022", "UTC"),
        ("077", "Asia/Kolkata"),
        ("000", "America/St_Johns"),
        ("022", "UTC"),
    ] {
        let wharf = env::wharf().umask(umask).env("TZ", zone);
        let world = World::standalone_with(wharf, &[]).await;
        world.apply(source("app", &registry.url("app"))).await;
        let object = world.ready_at("app", &pushed.revision()).await;
        let served = world.artifact(&object).await;
        assert!(served != pushed.layer);
        seen.entry(sha256(&served))
            .or_insert_with(Vec::new)
            .push((umask, zone));
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn without_passthrough_every_layer_is_repacked_to_the_same_bytes() {
    let registry = FakeRegistry::start().await;
    let files = [("a.yaml", "a: 1"), ("deep/er/b.yaml", "b: 2")];
    let world = World::standalone(&["--passthrough=off"]).await;
    let mut served = Vec::new();
    for (name, layer) in [("packed", layer(&files)), ("tar-czf", plain_layer(&files))] {
        let pushed = registry.push_artifact(name, "1.0.0", layer, FLUX_CONTENT);
        world.apply(source(name, &registry.url(name))).await;
        let object = world.ready_at(name, &pushed.revision()).await;
        served.push(world.artifact(&object).await);
    }
    assert!(served[0] == served[1]);
}
