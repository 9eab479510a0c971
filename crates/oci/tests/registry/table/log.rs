// SPDX-License-Identifier: Apache-2.0
//! Listens to all that the client logs, of any level, and remembers what it should not have said.

use std::{
    fmt::{Debug, Write as _},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use super::SECRETS;

#[derive(Default)]
pub(super) struct Log {
    records: AtomicUsize,
    complaints: Mutex<Vec<String>>,
}

/// Listens to the whole process, from now on.
pub(super) fn listen() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let log = LOG.get_or_init(Log::default);
    tracing::subscriber::set_global_default(Listener(log)).unwrap();
    log
}

impl Log {
    pub(super) fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    fn hear(&self, said: &str) {
        self.records.fetch_add(1, Ordering::Relaxed);
        for secret in SECRETS {
            if said.contains(secret) {
                let complaint = format!("the log shows {secret}:{said}");
                self.complaints.lock().unwrap().push(complaint);
            }
        }
    }
}

struct Listener(&'static Log);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wharf")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut said = Said::default();
        span.record(&mut said);
        self.0.hear(&said.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut said = Said::default();
        values.record(&mut said);
        self.0.hear(&said.0);
    }

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        self.0.hear(&said.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A record as text.
#[derive(Default)]
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}
