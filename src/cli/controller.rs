// SPDX-License-Identifier: Apache-2.0
//! `wharf controller`: the engine over a cluster's API server.

use tokio::sync::watch;

use super::{
    Exit, Failure,
    args::ControllerArgs,
    config,
    process::{self, Process, Sockets},
    registry,
};
use crate::cluster::{self, Scope};

/// Runs it until a signal ends it.
pub(super) async fn run(args: ControllerArgs) -> Result<Exit, Failure> {
    process::log(&args.common, args.log_encoding)?;
    let stop = process::stop_on_signal()?;
    config::check(&args.common)?;
    let scope = scope(&args)?;
    let registries = registry::client(
        &args.common.egress,
        &args.common.settings,
        &args.common.limits,
    )?;
    let client = cluster::connect(args.kubeconfig.as_deref()).await;
    let client = client.map_err(|error| Failure::new("could not reach the cluster", error))?;
    must_exist(&args)?;
    let sockets = Sockets::bind(
        &args.storage_addr,
        Some(&args.metrics_addr),
        Some(&args.health_addr),
    )
    .await?;
    let process = Process::prepare(
        &args.common,
        registries,
        &args.storage_path,
        &args.storage_adv_addr,
        sockets,
    )?;
    let (ports, watch) = cluster::ports(&client, scope);
    let (synced, ready) = watch::channel(false);
    let running = process.start(ports, ready, &stop);
    watch.run(running.triggers.clone(), synced, stop).await;
    running.ended().await;
    Ok(Exit::Done)
}

fn scope(args: &ControllerArgs) -> Result<Scope, Failure> {
    let namespace = match (args.watch_all_namespaces, &args.runtime_namespace) {
        (true, _) => None,
        (false, Some(namespace)) => Some(namespace.clone()),
        (false, None) => {
            return Err(Failure::usage(
                "--watch-all-namespaces=false needs RUNTIME_NAMESPACE to be set",
            ));
        }
    };
    Ok(Scope {
        namespace,
        labels: args
            .watch_label_selector
            .clone()
            .filter(|labels| !labels.is_empty()),
    })
}

/// In a pod the store is a mounted volume; a directory that is not there is a mount that was forgotten.
fn must_exist(args: &ControllerArgs) -> Result<(), Failure> {
    if args.storage_path.is_dir() {
        return Ok(());
    }
    let path = args.storage_path.display();
    Err(Failure::plain(format!(
        "--storage-path {path} is not a directory: make it, or mount a volume there"
    )))
}
