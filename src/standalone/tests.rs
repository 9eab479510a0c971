// SPDX-License-Identifier: Apache-2.0
//! Standalone mode as the engine and the pipeline see it: real directories, real files.

use std::{fs, io::Write, sync::Mutex, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use wharf_api::v1::OCIRepositoryStatus;

use super::*;
use crate::{
    engine::Why,
    ports::PortError,
    source::{SourceId, report::Event},
};

/// Long enough for two looks on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

struct Setup {
    root: TempDir,
    out: Captured,
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Setup {
    fn new(files: &[(&str, &str)]) -> Self {
        let setup = Self {
            root: tempfile::tempdir().unwrap(),
            out: Captured::default(),
        };
        fs::create_dir(setup.dir()).unwrap();
        for (name, text) in files {
            setup.write(name, text);
        }
        setup
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("sources")
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir().join(name), text).unwrap();
    }

    fn open(&self) -> Standalone {
        let printer = Printer::new(Box::new(self.out.clone()), Format::Table);
        Standalone::open(&self.dir(), &self.state(), printer).unwrap()
    }

    /// Waits until all of it is printed, which another thread does.
    async fn prints(&self, texts: &[&str]) {
        let printed = || String::from_utf8(self.out.0.lock().unwrap().clone()).unwrap();
        let all = async {
            while !texts.iter().all(|text| printed().contains(text)) {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, all).await;
        assert!(in_time.is_ok(), "{texts:?} in {}", printed());
    }

    fn status_file(&self, name: &str) -> PathBuf {
        self.state().join(format!("status/default/{name}.yaml"))
    }
}

struct Running {
    triggers: mpsc::Receiver<Trigger>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(standalone: Standalone) -> Self {
        let (sender, triggers) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let task = tokio::spawn(standalone.run(sender, stop.clone()));
        Self {
            triggers,
            stop,
            task,
        }
    }

    async fn next(&mut self) -> Trigger {
        tokio::time::timeout(DEADLINE, self.triggers.recv())
            .await
            .unwrap()
            .unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

fn source(name: &str, tag: &str, requested: &str) -> String {
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata:\n  name: {name}\n  annotations: \
         {{reconcile.fluxcd.io/requestedAt: '{requested}'}}\nspec:\n  url: oci://r.example/org/{name}\n  interval: 1m\n  \
         ref: {{tag: {tag}}}\n"
    )
}

fn id(name: &str) -> SourceId {
    SourceId::new("default", name)
}

fn status(ready: &str, message: &str) -> OCIRepositoryStatus {
    serde_json::from_value(json!({"observedGeneration": 1, "conditions": [{
        "type": "Ready", "status": ready, "reason": "Because", "message": message,
        "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 1,
    }]}))
    .unwrap()
}

async fn read(ports: &Ports, name: &str) -> Arc<OCIRepository> {
    ports.sources.read(&id(name)).await.unwrap().unwrap()
}

#[tokio::test]
async fn every_source_is_triggered_at_start_with_its_registry() {
    let setup = Setup::new(&[
        ("a.yaml", &source("a", "x", "")),
        ("b.yaml", &source("b", "x", "")),
    ]);
    let mut running = Running::start(setup.open());
    let expected = |name| Trigger {
        id: id(name),
        host: "r.example".into(),
        why: Why::Changed,
    };
    assert_eq!(running.next().await, expected("a"));
    assert_eq!(running.next().await, expected("b"));
    running.stop().await;
}

#[tokio::test]
async fn a_changed_spec_a_touched_annotation_a_new_file_and_a_removed_one_are_triggers() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let standalone = setup.open();
    let ports = standalone.ports();
    let mut running = Running::start(standalone);
    assert_eq!(running.next().await.id, id("a"));

    setup.write("a.yaml", &source("a", "z", ""));
    assert_eq!(running.next().await.id, id("a"));
    assert_eq!(read(&ports, "a").await.metadata.generation, Some(2));

    setup.write("a.yaml", &source("a", "z", "now"));
    assert_eq!(running.next().await.id, id("a"));
    assert_eq!(read(&ports, "a").await.metadata.generation, Some(2));

    setup.write("b.yaml", &source("b", "x", ""));
    assert_eq!(running.next().await.id, id("b"));

    fs::remove_file(setup.dir().join("a.yaml")).unwrap();
    assert_eq!(running.next().await.id, id("a"));
    assert!(ports.sources.read(&id("a")).await.unwrap().is_none());
    setup.prints(&["default/a", "removed"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_status_is_on_disk_when_the_write_returns_and_outlives_the_process() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let ports = setup.open().ports();
    let before = read(&ports, "a").await;
    let after = ports
        .status
        .write(&before, &status("True", "stored: \"1.0\""))
        .await
        .unwrap();
    assert!(
        fs::read_to_string(setup.status_file("a"))
            .unwrap()
            .contains("kind: OCIRepository")
    );
    assert_eq!(read(&ports, "a").await, after);

    let ports = setup.open().ports();
    let again = read(&ports, "a").await;
    assert_eq!(again.status, Some(status("True", "stored: \"1.0\"")));
    assert_eq!(
        (again.metadata.generation, &again.metadata.uid),
        (Some(1), &before.metadata.uid)
    );
}

#[tokio::test]
async fn a_second_write_starts_from_the_first_and_a_stale_one_is_refused() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let ports = setup.open().ports();
    let before = read(&ports, "a").await;
    let first = ports
        .status
        .write(&before, &status("Unknown", "1"))
        .await
        .unwrap();
    let stale = ports.status.write(&before, &status("True", "stale")).await;
    assert!(
        matches!(stale, Err(PortError::Conflict { .. })),
        "{stale:?}"
    );
    ports
        .status
        .write(&first, &status("True", "2"))
        .await
        .unwrap();
    assert_eq!(read(&ports, "a").await.status, Some(status("True", "2")));
    assert!(
        fs::read_to_string(setup.status_file("a"))
            .unwrap()
            .contains("message: \"2\"")
    );
}

#[tokio::test]
async fn the_same_status_is_not_written_again() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let ports = setup.open().ports();
    let written = ports
        .status
        .write(&*read(&ports, "a").await, &status("True", "1"))
        .await
        .unwrap();
    fs::remove_file(setup.status_file("a")).unwrap();
    let again = ports
        .status
        .write(&written, &status("True", "1"))
        .await
        .unwrap();
    assert_eq!(again, written);
    assert!(!setup.status_file("a").exists());
}

#[tokio::test]
async fn a_status_that_cannot_be_written_is_an_error_and_changes_nothing() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let standalone = setup.open();
    let (ports, progress) = (standalone.ports(), standalone.progress());
    fs::write(setup.state().join("status/default"), "in the way").unwrap();
    let error = ports
        .status
        .write(&*read(&ports, "a").await, &status("True", "1"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("could not write the status of OCIRepository default/a"),
        "{error}"
    );
    assert!(read(&ports, "a").await.status.is_none());
    assert!(progress.borrow().is_settled() && !progress.borrow().all_ready());
}

#[tokio::test]
async fn waiting_for_one_pass_ends_when_every_source_was_answered() {
    let setup = Setup::new(&[
        ("a.yaml", &source("a", "x", "")),
        ("b.yaml", &source("b", "x", "")),
    ]);
    let standalone = setup.open();
    let (ports, mut progress) = (standalone.ports(), standalone.progress());
    assert!(!progress.borrow().is_settled());
    let waiting = tokio::spawn(async move {
        progress
            .wait_for(Progress::is_settled)
            .await
            .unwrap()
            .all_ready()
    });
    ports
        .status
        .write(&*read(&ports, "a").await, &status("True", "1"))
        .await
        .unwrap();
    ports
        .status
        .write(&*read(&ports, "b").await, &status("False", "no"))
        .await
        .unwrap();
    assert!(!waiting.await.unwrap());
    ports
        .status
        .write(&*read(&ports, "b").await, &status("True", "1"))
        .await
        .unwrap();
    assert!(standalone.progress().borrow().all_ready());
}

#[tokio::test]
async fn a_change_that_needs_no_answer_is_not_waited_for_and_a_request_is() {
    let declared = source("a", "x", "");
    let setup = Setup::new(&[("a.yaml", &declared)]);
    let standalone = setup.open();
    let (ports, mut progress) = (standalone.ports(), standalone.progress());
    let mut running = Running::start(standalone);
    assert_eq!(running.next().await.id, id("a"));
    ports
        .status
        .write(&*read(&ports, "a").await, &status("True", "1"))
        .await
        .unwrap();

    let labelled = declared.replace("metadata:\n", "metadata:\n  labels: {team: web}\n");
    setup.write("a.yaml", &labelled);
    assert_eq!(running.next().await.id, id("a"));
    assert!(read(&ports, "a").await.metadata.labels.is_some());
    assert!(progress.borrow_and_update().is_settled());

    setup.write("a.yaml", &source("a", "x", "now"));
    assert_eq!(running.next().await.id, id("a"));
    assert!(!progress.borrow_and_update().is_settled());
    running.stop().await;
}

#[tokio::test]
async fn an_unchanged_status_after_a_restart_settles_too() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let ports = setup.open().ports();
    ports
        .status
        .write(&*read(&ports, "a").await, &status("True", "1"))
        .await
        .unwrap();
    let standalone = setup.open();
    assert!(!standalone.progress().borrow().is_settled());
    let ports = standalone.ports();
    ports
        .status
        .write(&*read(&ports, "a").await, &status("True", "1"))
        .await
        .unwrap();
    assert!(standalone.progress().borrow().is_settled());
}

#[tokio::test]
async fn a_source_whose_file_went_away_between_two_processes_is_triggered_as_gone() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let ports = setup.open().ports();
    ports
        .status
        .write(&*read(&ports, "a").await, &status("True", "1"))
        .await
        .unwrap();
    fs::remove_file(setup.dir().join("a.yaml")).unwrap();
    let standalone = setup.open();
    let ports = standalone.ports();
    let mut running = Running::start(standalone);
    assert_eq!(running.next().await.id, id("a"));
    assert!(ports.sources.read(&id("a")).await.unwrap().is_none());
    assert!(!setup.status_file("a").exists());
    running.stop().await;
}

#[tokio::test]
async fn while_a_file_is_bad_a_source_of_an_earlier_process_is_not_taken_for_gone() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let ports = setup.open().ports();
    ports
        .status
        .write(&*read(&ports, "a").await, &status("True", "1"))
        .await
        .unwrap();
    setup.write("a.yaml", "apiVersion: [");
    let standalone = setup.open();
    assert_eq!(standalone.problems().len(), 1);
    let unclear = standalone.ports().sources.read(&id("a")).await;
    assert!(
        matches!(unclear, Err(PortError::Other { .. })),
        "{unclear:?}"
    );
    assert!(setup.status_file("a").exists());
}

#[tokio::test]
async fn a_bad_file_is_a_problem_with_file_and_line_and_the_good_ones_run() {
    let bad = source("b", "x", "").replace("interval:", "intervall:");
    let setup = Setup::new(&[("a.yaml", &source("a", "x", "")), ("b.yaml", &bad)]);
    let standalone = setup.open();
    let problems = standalone.problems();
    let place = format!("{}:", setup.dir().join("b.yaml").display());
    let told = problems[0].to_string();
    assert!(problems.len() == 1 && told.starts_with(&place), "{told}");
    let names: Vec<_> = standalone
        .sources()
        .iter()
        .map(|source| source.metadata.name.clone().unwrap())
        .collect();
    assert_eq!(names, ["a"]);
}

#[tokio::test]
async fn secrets_are_found_by_namespace_and_name() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: apps}\nstringData: {password: hunter2}\n";
    let ports = Setup::new(&[("s.yaml", secret)]).open().ports();
    let found = ports.secrets.read("apps", "s").await.unwrap();
    assert_eq!(found.data["password"], b"hunter2");
    assert!(!format!("{found:?}").contains("hunter2"));
    let absent = ports.secrets.read("default", "s").await.unwrap_err();
    assert_eq!(absent.to_string(), "secret default/s not found");
}

#[tokio::test]
async fn events_reach_the_printer() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let ports = setup.open().ports();
    let event = Event {
        is_warning: true,
        reason: "MultipleLayers".into(),
        message: "two".into(),
        annotations: std::collections::BTreeMap::new(),
    };
    ports
        .events
        .publish(&*read(&ports, "a").await, &event)
        .await;
    setup.prints(&["MultipleLayers: two"]).await;
}

#[tokio::test]
async fn an_absent_directory_and_an_unusable_state_directory_name_themselves() {
    let setup = Setup::new(&[]);
    let printer = || Printer::new(Box::new(io::sink()), Format::Table);
    let error = Standalone::open(
        &setup.root.path().join("nowhere"),
        &setup.state(),
        printer(),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("could not list the directory")
            && error.to_string().ends_with("nowhere")
    );
    let file = setup.root.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Standalone::open(&setup.dir(), &file, printer()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("could not use the state directory"),
        "{error}"
    );
}

#[tokio::test]
async fn an_empty_directory_has_nothing_to_do() {
    let standalone = Setup::new(&[]).open();
    assert!(standalone.sources().is_empty() && standalone.progress().borrow().is_settled());
}

#[tokio::test]
async fn the_loop_ends_when_nobody_receives() {
    let setup = Setup::new(&[("a.yaml", &source("a", "x", ""))]);
    let running = Running::start(setup.open());
    drop(running.triggers);
    tokio::time::timeout(DEADLINE, running.task)
        .await
        .unwrap()
        .unwrap();
}
