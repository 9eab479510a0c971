// SPDX-License-Identifier: Apache-2.0
//! Looking at the directory again and again, and telling the engine what became different.
//!
//! Polling and not inotify: it works on every file system, a mounted `ConfigMap` and a network drive included, and a
//! second's delay is nothing beside an interval.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    files::Directory,
    progress::Standing,
    world::{Changes, Lookup},
};
use crate::{
    engine::{Trigger, Why},
    source::{SourceId, spec::host_of},
};

/// How long between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Reads the directory and takes over what it says. Blocks on the disk.
pub(super) fn look(directory: &Mutex<Directory>, shared: &Shared) -> io::Result<Changes> {
    let mut directory = directory.lock().unwrap_or_else(PoisonError::into_inner);
    if !directory.refresh(SystemTime::now())? {
        return Ok(Changes::default());
    }
    let changes = shared.world.apply(directory.contents());
    for problem in &changes.problems {
        tracing::error!("{problem}");
    }
    for id in &changes.asking {
        shared.note(id, Standing::Pending);
    }
    for id in &changes.gone {
        shared.forget_status(id);
        shared.progress.send_modify(|progress| progress.forget(id));
    }
    Ok(changes)
}

/// Tells the engine about everything that is known, then about everything that changes, until stopped or until the
/// engine is gone.
pub(super) async fn run(
    directory: Arc<Mutex<Directory>>,
    shared: Arc<Shared>,
    first: Changes,
    triggers: mpsc::Sender<Trigger>,
    stop: CancellationToken,
) {
    let watch = async {
        announce(&shared, first, &triggers).await?;
        let mut was_listed = true;
        loop {
            tokio::time::sleep(PERIOD).await;
            let (directory, looked) = (Arc::clone(&directory), Arc::clone(&shared));
            let changes = tokio::task::spawn_blocking(move || look(&directory, &looked)).await;
            let changes =
                changes.unwrap_or_else(|_| Err(io::Error::other("the task that reads was lost")));
            report_listing(&changes, &mut was_listed);
            announce(&shared, changes.unwrap_or_default(), &triggers).await?;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        _ended = async { let ended: Option<()> = watch.await; ended } => {}
    }
}

/// Says once that the directory cannot be listed, and once that it can again.
fn report_listing(changes: &io::Result<Changes>, was_listed: &mut bool) {
    match changes {
        Err(error) if *was_listed => {
            tracing::warn!(error = %error, "the directory cannot be listed, its sources stay as they are");
        }
        Ok(_) if !*was_listed => tracing::info!("the directory can be listed again"),
        _ => {}
    }
    *was_listed = changes.is_ok();
}

/// `None` when the engine is gone.
async fn announce(
    shared: &Shared,
    changes: Changes,
    triggers: &mpsc::Sender<Trigger>,
) -> Option<()> {
    for id in changes.gone {
        shared.printer.gone(&id, Timestamp::now());
        send(triggers, id, String::new()).await?;
    }
    for id in changes.changed {
        if let Lookup::Found(source) = shared.world.source(&id) {
            send(triggers, id, host_of(&source)).await?;
        }
    }
    Some(())
}

async fn send(triggers: &mpsc::Sender<Trigger>, id: SourceId, host: String) -> Option<()> {
    triggers
        .send(Trigger {
            id,
            host,
            why: Why::Changed,
        })
        .await
        .ok()
}
