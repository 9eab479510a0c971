// SPDX-License-Identifier: Apache-2.0
//! `make demo`: the whole way, from a directory of manifests to a served artifact that follows its tag.
//!
//! It plays the three people of the story with the real program: somebody pushes, Wharf runs, somebody downloads. The
//! registry is in this process unless `REGISTRY=host[:port]` names a real one. Nothing is left behind or running.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a demo talks to the person who runs it"
)]

mod steps;

use std::{error::Error, process::ExitCode};

use steps::{Demo, Story};

#[tokio::main]
async fn main() -> ExitCode {
    match tell().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Result<(), Box<dyn Error>> {
    let mut story = Story::default();
    let demo = Demo::prepare(&mut story).await?;

    story.chapter("Push a directory of manifests");
    demo.push(&Demo::app()).await?;

    story.chapter("Run Wharf over a directory with one OCIRepository");
    let mut wharf = demo.start_wharf()?;
    let first = demo.wait_for_artifact(None).await?;

    story.chapter("Download what it serves, as kustomize-controller would");
    steps::show_artifact(&first, &steps::download(&first).await?)?;

    story.chapter("Push a new build of the same tag and watch the source follow");
    demo.push(&demo.changed_app()?).await?;
    let second = demo.wait_for_artifact(Some(&first)).await?;
    steps::show_artifact(&second, &steps::download(&second).await?)?;

    demo.stop(&mut wharf).await?;
    steps::end();
    Ok(())
}
