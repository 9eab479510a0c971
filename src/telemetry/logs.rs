// SPDX-License-Identifier: Apache-2.0
//! Logs: events of `tracing`, with the fields of the spans around them, as lines on stderr.
//!
//! Lines are written whole and without a buffer, so that the last one before the end is there. A log that cannot be
//! written is no reason to stop working: such failures are ignored.

use std::{
    env,
    error::Error,
    fmt::{self, Write as _},
    io::{self, IsTerminal as _, Write as _},
};

use jiff::Timestamp;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, SubscriberExt as _},
    registry::{LookupSpan, Registry, Scope},
    util::{SubscriberInitExt as _, TryInitError},
};

pub use tracing::level_filters::LevelFilter;

use super::line::{Fields, Line, Value};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// One JSON object per line, with Flux's keys.
    Json,
    /// For people; coloured when stderr is a terminal and `NO_COLOR` is not set.
    Text,
}

/// Logging was set up before in this process.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up logging twice")]
pub struct LogError(#[source] TryInitError);

/// Sends the events of this process to stderr, from `level` upwards.
///
/// What libraries have to say about themselves is left out below `warn`, except with `trace`.
pub fn init(level: LevelFilter, encoding: Encoding) -> Result<(), LogError> {
    let coloured =
        io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    subscriber(level, encoding, coloured, write_to_stderr)
        .try_init()
        .map_err(LogError)
}

fn write_to_stderr(line: &str) {
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

fn subscriber<W>(
    level: LevelFilter,
    encoding: Encoding,
    coloured: bool,
    write: W,
) -> impl Subscriber + Send + Sync + 'static
where
    W: Fn(&str) + Send + Sync + 'static,
{
    let lines = Lines {
        encoding,
        coloured,
        write,
    };
    Registry::default().with(lines.with_filter(filter(level)))
}

// The prefix covers the crates `wharf` and `wharf_oci`, `wharf_verify` and so on.
fn filter(level: LevelFilter) -> Targets {
    let of_others = if level == LevelFilter::TRACE {
        level
    } else {
        level.min(LevelFilter::WARN)
    };
    Targets::new()
        .with_default(of_others)
        .with_target("wharf", level)
}

/// The layer that makes a line of each event.
struct Lines<W> {
    encoding: Encoding,
    coloured: bool,
    write: W,
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut collected = Collected::default();
        attributes.record(&mut collected);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(collected);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(collected) = span.extensions_mut().get_mut::<Collected>()
        {
            values.record(collected);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut collected = Collected::of_spans(event, &context);
        event.record(&mut collected);
        let line = Line {
            level: *event.metadata().level(),
            at: Timestamp::now(),
            target: event.metadata().target().to_owned(),
            message: collected.message,
            fields: collected.fields,
        };
        (self.write)(&match self.encoding {
            Encoding::Json => line.json(),
            Encoding::Text => line.text(self.coloured),
        });
    }
}

/// The fields seen so far.
#[derive(Default)]
struct Collected {
    message: String,
    fields: Fields,
}

impl Collected {
    /// What the spans around an event say, the outermost first.
    fn of_spans<S>(event: &Event<'_>, context: &Context<'_, S>) -> Self
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut all = Self::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(Scope::from_root)
        {
            if let Some(collected) = span.extensions().get::<Self>() {
                for (key, value) in &collected.fields {
                    all.put(key, value.clone());
                }
            }
        }
        all
    }

    // An inner value hides an outer one of the same name: a JSON object must not have a key twice.
    fn put(&mut self, key: &'static str, value: Value) {
        match self.fields.iter_mut().find(|(k, _)| *k == key) {
            Some(field) => field.1 = value,
            None => self.fields.push((key, value)),
        }
    }

    fn text(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field.name(), Value::Text(text));
        }
    }

    fn bare(&mut self, field: &Field, value: &impl ToString) {
        self.put(field.name(), Value::Bare(value.to_string()));
    }
}

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, chain(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, &value);
    }

    // JSON has no infinities and no NaN.
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, &value);
        } else {
            self.text(field, value.to_string());
        }
    }
}

/// An error with its causes, which our messages do not repeat.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value as Json, json};
    use tracing::subscriber::with_default;

    use super::*;

    /// The lines that `say` leads to.
    fn logged(level: LevelFilter, encoding: Encoding, say: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&lines);
        let write = move |line: &str| log.lock().unwrap().push(line.to_owned());
        with_default(subscriber(level, encoding, false, write), say);
        std::mem::take(&mut *lines.lock().unwrap())
    }

    /// The one line that `say` leads to, without what changes from run to run.
    fn json(say: impl FnOnce()) -> Json {
        let lines = logged(LevelFilter::TRACE, Encoding::Json, say);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let mut line: Json = serde_json::from_str(&lines[0]).unwrap();
        let time = line.as_object_mut().unwrap().remove("ts").unwrap();
        assert!(
            time.as_str().unwrap().parse::<Timestamp>().is_ok(),
            "{time}"
        );
        line
    }

    #[test]
    fn an_event_keeps_the_types_of_its_fields() {
        let line = json(|| {
            tracing::warn!(
                name = "web", entries = 3_u64, left = -1_i64, ok = true, ratio = 0.5, odd = f64::NAN,
                digest = %"sha256:aa", "stored {}", "artifact"
            );
        });
        let expected = json!({
            "level": "warn", "logger": module_path!(), "msg": "stored artifact", "name": "web", "entries": 3,
            "left": -1, "ok": true, "ratio": 0.5, "odd": "NaN", "digest": "sha256:aa",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn the_spans_around_an_event_say_whose_it_is() {
        let line = json(|| {
            let outer = tracing::info_span!(
                "run",
                controllerKind = "OCIRepository",
                namespace = "apps",
                name = "web"
            );
            let _outer = outer.enter();
            let inner =
                tracing::info_span!("fetch", name = "inner", revision = tracing::field::Empty);
            let _inner = inner.enter();
            inner.record("revision", "1.0.0");
            tracing::info!("fetched");
        });
        assert_eq!(line["controllerKind"], "OCIRepository");
        assert_eq!(
            (&line["namespace"], &line["name"]),
            (&json!("apps"), &json!("inner"))
        );
        assert_eq!(line["revision"], "1.0.0");
    }

    #[test]
    fn an_error_is_written_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read blob")]
        struct Unreadable(#[source] io::Error);

        let error = Unreadable(io::Error::other("connection reset"));
        let line = json(|| tracing::error!(error = &error as &dyn Error, "failed"));
        assert_eq!(line["error"], "cannot read blob: connection reset");
    }

    #[test]
    fn what_is_below_the_level_and_the_chatter_of_libraries_is_left_out() {
        let say = || {
            tracing::debug!("ours");
            tracing::info!(target: "wharf_oci::registry", "also ours");
            tracing::info!(target: "hyper::proto", "chatter");
            tracing::warn!(target: "kube_client", "trouble");
        };
        let messages = |level| {
            let lines = logged(level, Encoding::Text, say);
            lines
                .into_iter()
                .map(|line| line[31..].trim_end().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(messages(LevelFilter::ERROR), [""; 0]);
        assert_eq!(messages(LevelFilter::INFO), ["also ours", "trouble"]);
        assert_eq!(
            messages(LevelFilter::DEBUG),
            ["ours", "also ours", "trouble"]
        );
        assert_eq!(
            messages(LevelFilter::TRACE),
            ["ours", "also ours", "chatter", "trouble"]
        );
    }

    #[test]
    fn hostile_text_in_an_event_is_still_one_line() {
        let hostile = "tag\n{\"level\":\"error\"}\u{1b}[31m\u{2028}";
        for encoding in [Encoding::Json, Encoding::Text] {
            let lines = logged(LevelFilter::INFO, encoding, || {
                tracing::info!(tag = hostile, "{hostile}");
            });
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0].lines().count(), 1, "{}", lines[0]);
            assert!(!lines[0].contains('\u{1b}'));
        }
    }
}
