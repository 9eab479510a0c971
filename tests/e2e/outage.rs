// SPDX-License-Identifier: Apache-2.0
//! A registry that is down for longer than sources would wait between attempts of their own, and then is back.

use std::time::{Duration, Instant};

use serde_json::json;
use wharf_test_support::FakeRegistry;
use wharf_test_support::artifacts::layer;
use wharf_test_support::registry::{Endpoint, FLUX_CONTENT, Fault, Rule};
use wharf_test_support::servers::{Wharf, eventually, scratch};

use crate::env;
use crate::objects::source;
use crate::world::write_whole;

const SOURCES: usize = 30;
/// How often the registry is left alone before it comes back: for 1, 2, 4, 8 and four times 15 seconds, spread by a
/// quarter. By then the wait of a source that counted each run as a failure would be about as long as all of that.
const LEFT_ALONE: u64 = 8;
/// A source comes back at most 34 seconds after the registry; what is above that is for two slow cores.
const SOON: Duration = Duration::from_secs(45);

async fn number(wharf: &Wharf, series: &str) -> u64 {
    let metrics = wharf.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    let number = line.and_then(|number| number.trim().parse().ok());
    number.unwrap_or_else(|| panic!("{series} is not among {metrics}"))
}

/// Waits until the registry was left alone so often.
async fn until_left_alone(wharf: &Wharf, times: u64) {
    for wanted in 1..=times {
        eventually("the registry is left alone again", async || {
            let opened = number(wharf, "wharf_registry_breaker_opens_total ").await;
            (opened >= wanted)
                .then_some(())
                .ok_or_else(|| opened.to_string())
        })
        .await;
    }
}

#[tokio::test]
async fn all_sources_are_ready_soon_after_a_long_outage_that_they_did_not_make_worse() {
    let registry = FakeRegistry::start().await;
    registry.script(Rule::on(Endpoint::Manifest).fault(Fault::status(503)));
    let folder = scratch("outage");
    let directory = folder.path().join("sources");
    std::fs::create_dir(&directory).unwrap();
    for index in 0..SOURCES {
        let name = format!("app{index}");
        registry.push_artifact(&name, "1.0.0", layer(&[("a", &name)]), FLUX_CONTENT);
        let mut source = source(&name, &registry.url(&name));
        source["spec"]["interval"] = json!("1h");
        write_whole(&directory.join(format!("{name}.yaml")), &source.to_string());
    }
    let launch = env::wharf()
        .arg("run")
        .arg(&directory)
        .arg("--min-retry-delay=1s")
        .arg("--state")
        .arg(folder.path().join("state"));
    let wharf = Wharf::start(launch).await;
    until_left_alone(&wharf, LEFT_ALONE).await;
    let while_down = registry.requests().len();
    assert!(while_down < 5 * SOURCES, "{while_down} requests");
    let lines = wharf.log();
    let told = lines.lines().filter(|line| line.contains("503"));
    assert!(told.count() >= SOURCES, "each says what is wrong: {lines}");

    registry.be_honest();
    let back = Instant::now();
    let status = folder.path().join("state/status/default");
    eventually("all sources are Ready", async || {
        let ready = (0..SOURCES).filter(|index| {
            let file = status.join(format!("app{index}.yaml"));
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.contains("stored artifact for digest")
        });
        let ready = ready.count();
        assert!(
            ready == SOURCES || back.elapsed() < SOON,
            "{ready} of {SOURCES} are Ready"
        );
        (ready == SOURCES)
            .then_some(())
            .ok_or_else(|| ready.to_string())
    })
    .await;
}
