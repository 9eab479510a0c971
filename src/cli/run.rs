// SPDX-License-Identifier: Apache-2.0
//! `wharf run DIR`: the engine over a directory.

use std::path::Path;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Exit, Failure,
    args::{Output, RunArgs},
    config,
    process::{self, Process, Sockets},
    registry,
};
use crate::standalone::{Format, Printer, Progress, Standalone};

/// Runs it: until a signal ends it, or with `--once` until every source was answered.
pub(super) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    process::log(&args.common, args.log_encoding)?;
    let stop = process::stop_on_signal()?;
    let state = args
        .state
        .clone()
        .unwrap_or_else(|| args.dir.join(".wharf"));
    config::check(&args.common)?;
    let registries = registry::client(
        &args.common.egress,
        &args.common.settings,
        &args.common.limits,
    )?;
    let sockets = Sockets::bind(
        &args.storage_addr,
        args.metrics_addr.as_deref(),
        args.health_addr.as_deref(),
    )
    .await?;
    must_exist(&args.dir)?;
    let process = Process::prepare(
        &args.common,
        registries,
        &state.join("store"),
        &args.storage_adv_addr,
        sockets,
    )?;
    let printer = printer(args.output);
    let standalone = open(&args, &state, printer.clone()).await?;
    let progress = standalone.progress();
    let has_problems = !standalone.problems().is_empty();
    let (_ready, is_ready) = watch::channel(true);
    let running = process.start(standalone.ports(), is_ready, &stop);
    if args.once {
        tokio::spawn(stop_when_settled(progress.clone(), stop.clone()));
    }
    standalone.run(running.triggers.clone(), stop).await;
    running.ended().await;
    finish(printer).await;
    Ok(exit(&args, &progress.borrow(), has_problems))
}

/// Said before a state directory is made inside it.
fn must_exist(dir: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(dir) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(
            format!("could not read the directory {}", dir.display()),
            error,
        )),
    }
}

fn printer(output: Output) -> Printer {
    let format = match output {
        Output::Table => Format::Table,
        Output::Json => Format::Json,
    };
    Printer::new(Box::new(std::io::stdout()), format)
}

/// Nothing prints any more; what was printed still has to reach its reader.
async fn finish(printer: Printer) {
    if let Err(error) = tokio::task::spawn_blocking(move || printer.finish()).await {
        tracing::error!(error = %error, "the last lines may not have been printed");
    }
}

async fn open(args: &RunArgs, state: &Path, printer: Printer) -> Result<Standalone, Failure> {
    let (dir, state) = (args.dir.clone(), state.to_owned());
    let opened = tokio::task::spawn_blocking(move || Standalone::open(&dir, &state, printer)).await;
    let opened = opened.map_err(|error| Failure::new("could not start", error))?;
    opened.map_err(|error| Failure::new("could not start", error))
}

async fn stop_when_settled(mut progress: watch::Receiver<Progress>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        _ = progress.wait_for(Progress::is_settled) => stop.cancel(),
    }
}

fn exit(args: &RunArgs, progress: &Progress, has_problems: bool) -> Exit {
    let is_good = progress.is_settled() && progress.all_ready() && !has_problems;
    if args.once && !is_good {
        Exit::NotReady
    } else {
        Exit::Done
    }
}
