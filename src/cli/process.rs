// SPDX-License-Identifier: Apache-2.0
//! What `controller` and `run` share: the store, the servers, the engine, and the order of start and end.
//!
//! Ports are bound and the store is opened before anything is fetched, so that what is wrong with them is said at once.
//! The end is a signal: triggers stop, runs are dropped (everything they write is private until it is published), and
//! answers that are under way are finished.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use wharf_oci::registry::{Client, MirrorStatus, Stats};

use super::{
    Failure,
    args::{CommonArgs, LogEncoding, LogLevel},
    config,
};
use crate::{
    engine::{self, Permits, Trigger, Why},
    pipeline::{Tools, error::chain},
    ports::Ports,
    reconcile::{Reconciler, Settings},
    serve::{Artifacts, Health, Limits, Listener, MetricsPage, OnMiss, serve},
    source::SourceId,
    store::{self, Store},
    telemetry::{
        Metrics, RegistryCounts,
        logs::{self, Encoding, LevelFilter},
    },
};

/// How many triggers may wait for the engine before who sends them has to wait.
const TRIGGERS: usize = 1024;

/// How often blobs without a name are looked for.
const COLLECT_EVERY: Duration = Duration::from_secs(300);

/// The bound sockets.
pub(super) struct Sockets {
    artifacts: Listener,
    metrics: Option<Listener>,
    health: Option<Listener>,
}

impl Sockets {
    /// Binds them. An address without a value is a server that is not wanted.
    pub(super) async fn bind(
        artifacts: &str,
        metrics: Option<&str>,
        health: Option<&str>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            artifacts: bind("--storage-addr", artifacts).await?,
            metrics: bind_optional("--metrics-addr", metrics).await?,
            health: bind_optional("--health-addr", health).await?,
        })
    }

    /// Under which host consumers reach the artifacts.
    pub(super) fn advertised(&self, flag: &str) -> String {
        let host_name = || {
            std::env::var("HOSTNAME")
                .ok()
                .filter(|name| !name.is_empty())
        };
        config::advertised(flag, self.artifacts.address(), host_name)
    }
}

async fn bind(flag: &'static str, address: &str) -> Result<Listener, Failure> {
    let address = config::address(flag, address)?;
    Listener::bind(address, flag)
        .await
        .map_err(|error| Failure::new("could not start a server", error))
}

async fn bind_optional(
    flag: &'static str,
    address: Option<&str>,
) -> Result<Option<Listener>, Failure> {
    match address {
        Some(address) => bind(flag, address).await.map(Some),
        None => Ok(None),
    }
}

/// Everything that reconciles and serves, ready to be started.
pub(super) struct Process {
    tools: Tools,
    settings: Settings,
    metrics: Metrics,
    permits: Permits,
    sockets: Sockets,
}

impl Process {
    /// Opens the store.
    pub(super) fn prepare(
        args: &CommonArgs,
        client: Client,
        root: &Path,
        advertised: &str,
        sockets: Sockets,
    ) -> Result<Self, Failure> {
        let policy = config::policy(args)?;
        let retention = config::retention(args)?;
        let (store, swept) = Store::open(root, store::Options::default())
            .map_err(|error| Failure::new("could not open the artifact store", error))?;
        tracing::info!(
            artifacts = swept.names,
            leftovers = swept.leftovers,
            lost = swept.lost.len(),
            "artifact store is open"
        );
        let limits = config::limits(&args.limits);
        let tools = Tools {
            client,
            store,
            limits,
            layers: config::layers(args),
        };
        let settings = Settings {
            advertised: sockets.advertised(advertised),
            policy,
            retention,
        };
        Ok(Self {
            tools,
            settings,
            metrics: Metrics::new(),
            permits: Permits::with_total(args.concurrent),
            sockets,
        })
    }

    /// Starts the servers and the engine. They end with `stop`; [`Running::ended`] waits for them.
    pub(super) fn start(
        self,
        ports: Ports,
        ready: watch::Receiver<bool>,
        stop: &CancellationToken,
    ) -> Running {
        let (triggers, inbox) = mpsc::channel(TRIGGERS);
        let mut tasks = JoinSet::new();
        let artifacts = Artifacts::new(
            self.tools.store.clone(),
            ready.clone(),
            on_miss(triggers.clone()),
        );
        tasks.spawn(serve(
            self.sockets.artifacts,
            artifacts,
            Limits::default(),
            stop.clone(),
        ));
        if let Some(listener) = self.sockets.metrics {
            let page = MetricsPage::new(render(&self.metrics, &self.tools));
            tasks.spawn(serve(listener, page, Limits::default(), stop.clone()));
        }
        if let Some(listener) = self.sockets.health {
            tasks.spawn(serve(listener, Health, Limits::default(), stop.clone()));
        }
        tasks.spawn(sweep(
            self.tools.store.clone(),
            ready,
            triggers.clone(),
            stop.clone(),
        ));
        let depth = self.metrics.clone();
        let reconciler = Arc::new(Reconciler::new(
            ports,
            self.tools,
            self.settings,
            self.metrics,
        ));
        let run_one = move |id, wake| Arc::clone(&reconciler).run(id, wake);
        tasks.spawn(engine::run(
            self.permits,
            inbox,
            run_one,
            move |n| depth.set_queue_depth(n),
            stop.clone(),
        ));
        Running { triggers, tasks }
    }
}

/// The started process.
pub(super) struct Running {
    /// Where triggers go.
    pub(super) triggers: mpsc::Sender<Trigger>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Waits until everything has ended.
    pub(super) async fn ended(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(error = %error, "a server ended by a defect");
            }
        }
    }
}

/// Somebody asked for an artifact that should be there: its source is looked at again. When the engine is busy the
/// request is dropped; the next one comes.
fn on_miss(triggers: mpsc::Sender<Trigger>) -> OnMiss {
    Arc::new(move |key| {
        let id = SourceId::new(key.namespace(), key.name());
        let _ = triggers.try_send(Trigger {
            id,
            host: String::new(),
            why: Why::Missing,
        });
    })
}

/// Keeps the store from growing. A source that went while this process was not running has artifacts that nothing else
/// would ever look at again: once the sources are known, every name in the store is run once. Blobs without a name go by
/// the clock.
async fn sweep(
    store: Store,
    mut ready: watch::Receiver<bool>,
    triggers: mpsc::Sender<Trigger>,
    stop: CancellationToken,
) {
    let run_all = async {
        if ready.wait_for(|is_ready| *is_ready).await.is_err() {
            return;
        }
        for key in store.keys() {
            let id = SourceId::new(key.namespace(), key.name());
            let trigger = Trigger {
                id,
                host: String::new(),
                why: Why::Changed,
            };
            if triggers.send(trigger).await.is_err() {
                return;
            }
        }
        loop {
            tokio::time::sleep(COLLECT_EVERY).await;
            collect(&store).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = run_all => {}
    }
}

async fn collect(store: &Store) {
    let store = store.clone();
    let done = tokio::task::spawn_blocking(move || store.collect(Timestamp::now())).await;
    if let Ok(Err(error)) = done {
        tracing::warn!(error = %chain(&error), "could not remove blobs that nothing names");
    }
}

fn render(metrics: &Metrics, tools: &Tools) -> crate::serve::Render {
    let (metrics, store, client) = (metrics.clone(), tools.store.clone(), tools.client.clone());
    Arc::new(move || {
        let dials = client.dials();
        let refused = dials.refused_by_reason();
        metrics.set_dials(dials.made, refused.map(|(reason, n)| (reason.as_str(), n)));
        metrics.set_registries(&counts(client.stats(), &client.mirrors()));
        let usage = store.usage();
        metrics.set_store(usage.bytes, usage.artifacts);
        metrics.render()
    })
}

fn counts(stats: Stats, mirrors: &[MirrorStatus]) -> RegistryCounts {
    let resting = mirrors.iter().filter(|mirror| mirror.is_resting).count();
    RegistryCounts {
        requests: stats.requests,
        refused: stats.refused,
        retries: stats.retries,
        retries_refused: stats.retries_refused,
        waits: stats.waits,
        waited: stats.waited,
        closings: stats.closings,
        breaker_opens: stats.breaker_opens,
        hosts_closed: stats.hosts_closed,
        hosts_broken: stats.hosts_broken,
        in_flight: stats.in_flight,
        waiting: stats.waiting,
        lowest_remaining: stats.lowest_remaining,
        mirrors_served: mirrors.iter().map(|mirror| mirror.served).sum(),
        mirrors_failed: mirrors.iter().map(|mirror| mirror.failed).sum(),
        mirrors_resting: resting as u64,
    }
}

/// Starts logging.
pub(super) fn log(args: &CommonArgs, encoding: LogEncoding) -> Result<(), Failure> {
    let level = match args.log_level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let encoding = match encoding {
        LogEncoding::Json => Encoding::Json,
        LogEncoding::Text => Encoding::Text,
    };
    logs::init(level, encoding).map_err(|error| Failure::new("could not start", error))
}

/// Cancels on SIGINT and SIGTERM.
pub(super) fn stop_on_signal() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Failure::new("could not listen for signals", error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancel.cancel();
    });
    Ok(stop)
}
