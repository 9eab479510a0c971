// SPDX-License-Identifier: Apache-2.0
//! What a person or a script sees of the sources: a row when a status changes, or one JSON object per line.
//!
//! Enters as objects and events; leaves as lines on the writer it was given, through [`super::lines`]. A reader that went
//! away or stalls is no failure: printing stops mattering, the work goes on.

use std::{
    collections::HashMap,
    fmt,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;
use wharf_api::{KIND, condition::READY, v1::OCIRepository};

use super::lines::Lines;
use crate::source::{SourceId, report::Event, spec::id_of};

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Rows for people.
    Table,
    /// One JSON object per line for scripts: `type` is `status` or `event`.
    Json,
}

/// Prints to one writer, from any number of tasks. Printing never waits for the writer: one thread does, and when too
/// many lines wait for it, further ones are dropped and the log says how many. Clones print to the same writer.
#[derive(Clone)]
pub struct Printer {
    format: Format,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    /// Absent once printing is finished.
    out: Option<Lines>,
    has_header: bool,
    last: HashMap<SourceId, Row>,
}

/// What a person wants to know about a source. A status that differs elsewhere is no news.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    ready: String,
    reason: String,
    message: String,
    revision: String,
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printer")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Printer {
    /// Prints to `out`.
    pub fn new(out: Box<dyn Write + Send>, format: Format) -> Self {
        let inner = Inner {
            out: Some(Lines::new(out)),
            has_header: false,
            last: HashMap::new(),
        };
        Self {
            format,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Prints the source's state, if it is not what was printed last.
    pub fn status(&self, source: &OCIRepository, now: Timestamp) {
        let id = id_of(source);
        let row = Row::of(source);
        let mut inner = self.lock();
        if inner.last.get(&id) == Some(&row) {
            return;
        }
        match self.format {
            Format::Table => inner.row(&id, &row.ready, &row.message),
            Format::Json => inner.line(&row.json(&id, source, now)),
        }
        inner.last.insert(id, row);
    }

    /// Prints an event. In a table, only a warning that the source's row does not tell already.
    pub fn event(&self, source: &OCIRepository, event: &Event, now: Timestamp) {
        let id = id_of(source);
        let mut inner = self.lock();
        match self.format {
            Format::Json => inner.line(&event_json(&id, event, now)),
            Format::Table => {
                let is_told = inner
                    .last
                    .get(&id)
                    .is_some_and(|row| row.message == event.message);
                if event.is_warning && !is_told {
                    inner.row(&id, "-", &format!("{}: {}", event.reason, event.message));
                }
            }
        }
    }

    /// Prints that the source is not there any more.
    pub fn gone(&self, id: &SourceId, now: Timestamp) {
        let mut inner = self.lock();
        inner.last.remove(id);
        match self.format {
            Format::Table => inner.row(id, "-", "removed"),
            Format::Json => inner.line(&json!({
                "type": "status", "time": now.to_string(), "kind": KIND, "namespace": id.namespace, "name": id.name,
                "ready": null, "message": "removed",
            })),
        }
    }

    /// Waits until everything is printed, but not longer than a second: a reader that stalls must not hold up the end of
    /// the process. What is printed after that is dropped. Blocks.
    pub fn finish(&self) {
        let out = self.lock().out.take();
        if let Some(lines) = out {
            lines.finish();
        }
    }

    /// A panic while printing leaves at worst a row that is printed again.
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn row(&mut self, id: &SourceId, ready: &str, text: &str) {
        if !std::mem::replace(&mut self.has_header, true) {
            self.write(&format!("{:<32} {:<8} {}", "SOURCE", "READY", "STATUS"));
        }
        let line = format!("{:<32} {ready:<8} {text}", id.to_string());
        self.write(&line.replace(char::is_control, " "));
    }

    fn line(&self, value: &serde_json::Value) {
        self.write(&value.to_string());
    }

    fn write(&self, line: &str) {
        if let Some(lines) = &self.out {
            lines.push(line);
        }
    }
}

impl Row {
    fn of(source: &OCIRepository) -> Self {
        let status = source.status.clone().unwrap_or_default();
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == READY);
        let text = |field: fn(&Condition) -> &String| ready.map(field).cloned().unwrap_or_default();
        let suspended = if source.spec.suspend { "suspended" } else { "" };
        Self {
            ready: ready.map_or_else(|| "Unknown".to_owned(), |ready| ready.status.clone()),
            reason: text(|condition| &condition.reason),
            message: ready.map_or_else(|| suspended.to_owned(), |ready| ready.message.clone()),
            revision: status
                .artifact
                .map(|artifact| artifact.revision)
                .unwrap_or_default(),
        }
    }

    fn json(&self, id: &SourceId, source: &OCIRepository, now: Timestamp) -> serde_json::Value {
        let artifact = source
            .status
            .as_ref()
            .and_then(|status| status.artifact.as_ref());
        json!({
            "type": "status",
            "time": now.to_string(),
            "kind": KIND,
            "namespace": id.namespace,
            "name": id.name,
            "ready": self.ready,
            "reason": self.reason,
            "message": self.message,
            "revision": artifact.map(|artifact| &artifact.revision),
            "digest": artifact.map(|artifact| &artifact.digest),
            "url": artifact.map(|artifact| &artifact.url),
        })
    }
}

fn event_json(id: &SourceId, event: &Event, now: Timestamp) -> serde_json::Value {
    json!({
        "type": "event",
        "time": now.to_string(),
        "kind": KIND,
        "namespace": id.namespace,
        "name": id.name,
        "severity": if event.is_warning { "Warning" } else { "Normal" },
        "reason": event.reason,
        "message": event.message,
        "annotations": event.annotations,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().clone())
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect()
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn printer(format: Format) -> (Printer, Shared) {
        let out = Shared::default();
        (Printer::new(Box::new(out.clone()), format), out)
    }

    /// Waits until everything is printed.
    fn printed(printer: &Printer) {
        let lines = printer.lock().out.take().unwrap();
        assert!(lines.written_within(Duration::from_secs(20)));
    }

    fn source(ready: &str, message: &str, observed: i64) -> OCIRepository {
        serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
            "metadata": {"name": "app", "namespace": "apps"},
            "spec": {"url": "oci://a/b", "interval": "1m"},
            "status": {"observedGeneration": observed, "conditions": [{
                "type": "Ready", "status": ready, "reason": "Because", "message": message,
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            }]},
        }))
        .unwrap()
    }

    fn event(is_warning: bool, message: &str) -> Event {
        Event {
            is_warning,
            reason: "R".into(),
            message: message.into(),
            annotations: [("k".into(), "v".into())].into(),
        }
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_row_is_printed_when_something_changed_that_a_person_wants_to_know() {
        let (printer, out) = printer(Format::Table);
        printer.status(&source("True", "stored", 1), NOW);
        printer.status(&source("True", "stored", 2), NOW);
        printer.status(&source("False", "gone", 2), NOW);
        printed(&printer);
        let lines = out.lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("SOURCE"));
        assert!(
            lines[1].starts_with("apps/app ")
                && lines[1].contains("True")
                && lines[1].ends_with("stored")
        );
        assert!(lines[2].contains("False") && lines[2].ends_with("gone"));
    }

    #[test]
    fn a_table_shows_warnings_that_the_row_does_not_tell() {
        let (printer, out) = printer(Format::Table);
        printer.status(&source("False", "no route", 1), NOW);
        printer.event(&source("False", "", 1), &event(true, "no route"), NOW);
        printer.event(&source("False", "", 1), &event(false, "normal"), NOW);
        printer.event(&source("False", "", 1), &event(true, "two layers"), NOW);
        printed(&printer);
        let lines = out.lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[2].ends_with("R: two layers"));
    }

    #[test]
    fn json_is_one_object_per_line() {
        let (printer, out) = printer(Format::Json);
        printer.status(&source("True", "a\nb", 1), NOW);
        printer.event(&source("True", "", 1), &event(true, "c\nd"), NOW);
        printer.gone(&SourceId::new("apps", "app"), NOW);
        printed(&printer);
        let values: Vec<serde_json::Value> = out
            .lines()
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(values.len(), 3);
        assert_eq!(
            (&values[0]["type"], &values[0]["message"]),
            (&json!("status"), &json!("a\nb"))
        );
        assert_eq!(
            (&values[1]["severity"], &values[1]["annotations"]["k"]),
            (&json!("Warning"), &json!("v"))
        );
        assert_eq!(values[2]["message"], "removed");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let (printer, out) = printer(Format::Table);
        printer.status(&source("True", "a\u{1b}[31m\nb", 1), NOW);
        printed(&printer);
        let lines = out.lines();
        assert_eq!(lines.len(), 2);
        assert!(!lines[1].contains('\u{1b}'));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let printer = Printer::new(Box::new(Broken), Format::Table);
        printer.status(&source("True", "stored", 1), NOW);
        printer.finish();
        printer.status(&source("False", "after the end", 1), NOW);
        printer.finish();
    }
}
