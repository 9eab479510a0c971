// SPDX-License-Identifier: Apache-2.0
//! `kill -9` at twenty random moments while twenty sources are fetched. After each restart: no partial file under a final
//! name, nothing left over, and in the end every source is Ready.
#![expect(clippy::print_stdout, reason = "the seed makes a failure repeatable")]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::{Layer, layer, random_text};
use wharf_test_support::registry::{
    Endpoint, FLUX_CONTENT, Fault, Gate, Rule, SeededArtifact, sha256,
};

use crate::env;
use crate::objects::source;
use crate::world::{World, files};

const SOURCES: usize = 20;
const KILLS: u32 = 20;

/// Half of the layers are served as they are, half are packed again, so that kills fall into both.
fn push(registry: &FakeRegistry, round: u32) -> Vec<SeededArtifact> {
    let pushed = (0..SOURCES).map(|number| {
        let text = random_text(300, u64::from(round) * 100 + number as u64);
        let layer = match number % 2 {
            0 => layer(&[("a", &text)]),
            _ => Layer::new().file("a", &text).symlink("b", "a").gzip(),
        };
        registry.push_artifact(&format!("app-{number}"), "1.0.0", layer, FLUX_CONTENT)
    });
    pushed.collect()
}

/// A body takes about a third of a second, so that a moment is likely to fall into one.
fn slow(registry: &FakeRegistry) {
    let drip = Fault::Drip {
        bytes: 16 * 1024,
        every: Duration::from_millis(20),
    };
    registry.script(Rule::on(Endpoint::Blob).get().fault(drip));
}

async fn all_ready(world: &World, pushed: &[SeededArtifact]) -> Vec<Value> {
    let mut objects = Vec::new();
    for (number, artifact) in pushed.iter().enumerate() {
        objects.push(
            world
                .ready_at(&format!("app-{number}"), &artifact.revision())
                .await,
        );
    }
    objects
}

/// What a restarted process must have made of what it found, before it fetches anything.
fn assert_sound(world: &World, when: &str) {
    for blob in files(&world.store().join("blobs")) {
        let name = format!("sha256:{}", blob.file_name().unwrap().to_string_lossy());
        assert_eq!(
            sha256(&std::fs::read(&blob).unwrap()),
            name,
            "{when}: a partial file has a final name"
        );
    }
    for name in files(&world.store().join("names")) {
        let text = std::fs::read_to_string(&name).unwrap();
        assert!(
            serde_json::from_str::<Value>(&text).is_ok(),
            "{when}: {}: {text}",
            name.display()
        );
    }
    let staged = files(&world.store().join("staging"));
    assert!(staged.is_empty(), "{when}: left over: {staged:?}");
}

#[tokio::test]
async fn killed_at_twenty_random_moments_it_leaves_nothing_partial_and_gets_ready() {
    let seed = std::env::var("WHARF_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("WHARF_TEST_SEED={seed}");
    let mut random = seed;
    let registry = FakeRegistry::start().await;
    let mut world = World::standalone_with(env::wharf().arg("run")).await;
    let mut pushed = push(&registry, 0);
    slow(&registry);
    for number in 0..SOURCES {
        let mut source = source(
            &format!("app-{number}"),
            &registry.url(&format!("app-{number}")),
        );
        source["spec"]["interval"] = json!("1h");
        world.apply(source).await;
    }
    all_ready(&world, &pushed).await;
    world.wharf.kill_9();

    // The time that a round takes from the start of the process: moments are drawn from it.
    pushed = push(&registry, 0x100);
    let start = Instant::now();
    world.wharf.respawn();
    all_ready(&world, &pushed).await;
    let whole = start.elapsed();
    world.wharf.kill_9();

    let mut in_the_middle = 0;
    for round in 1..=KILLS {
        pushed = push(&registry, round);
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let part = f64::from(u32::try_from(random >> 33).unwrap()) / f64::from(1_u32 << 31);
        world.wharf.respawn();
        tokio::time::sleep(whole.mul_f64(part)).await;
        world.wharf.kill_9();
        in_the_middle += u32::from(!files(&world.store().join("staging")).is_empty());

        // Nothing can be fetched yet, so what is on disk is what the start made of it.
        let gate = Gate::new();
        registry.be_honest();
        registry.script(Rule::on(Endpoint::Manifest).hold(&gate));
        world.wharf.restart().await;
        assert_sound(
            &world,
            &format!("seed {seed}, round {round}, killed at {part}"),
        );
        gate.open();
        for object in all_ready(&world, &pushed).await {
            world.artifact(&object).await;
        }
        assert_sound(
            &world,
            &format!("seed {seed}, round {round}, when all are Ready"),
        );
        world.wharf.kill_9();
        registry.be_honest();
        slow(&registry);
    }
    println!(
        "{in_the_middle} of {KILLS} kills fell into a download or a packing; a round took {whole:?}"
    );
    assert!(
        in_the_middle > 0,
        "seed {seed}: no kill fell into work: the moments are badly chosen"
    );
}
