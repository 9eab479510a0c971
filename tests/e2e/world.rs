// SPDX-License-Identifier: Apache-2.0
//! Where sources live. A scenario is written once against [`World`] and runs in both: objects applied to a cluster that
//! `wharf controller` watches, and files in a directory that `wharf run` polls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;
use wharf_test_support::registry::sha256;
use wharf_test_support::servers::http::{Answer, Http};
use wharf_test_support::servers::{
    ApiServer, Distribution, Launch, PASSWORD, USERNAME, Wharf, eventually, scratch,
};

use crate::env;
use crate::objects::{REQUESTED_AT, ca_secret, condition, docker_secret, is_ready, revision};

/// A place with sources, and the `wharf` that looks after them.
pub(crate) struct World {
    pub(crate) wharf: Wharf,
    pub(crate) namespace: String,
    place: Place,
    /// As they were applied last.
    applied: Mutex<BTreeMap<String, Value>>,
    folder: TempDir,
}

enum Place {
    Cluster(&'static ApiServer),
    Directory(PathBuf),
}

/// Makes a test in each world of every scenario that is named, in the modules `cluster` and `standalone`.
macro_rules! in_both_worlds {
    ($($scenario:ident),+ $(,)?) => {
        mod cluster {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(crate::world::World::cluster().await).await;
            })+
        }
        mod standalone {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(crate::world::World::standalone().await).await;
            })+
        }
    };
}
pub(crate) use in_both_worlds;

/// So that what must not be in a log has every chance to get there.
const TALKATIVE: &str = "--log-level=debug";
/// Failures are tried again soon, so that a test need not wait.
const IMPATIENT: [&str; 2] = ["--min-retry-delay=250ms", "--max-retry-delay=2s"];

impl World {
    /// A namespace of the shared API server, and a controller that watches nothing else.
    pub(crate) async fn cluster() -> Self {
        let api = env::api().await;
        let folder = scratch("cluster");
        let namespace = new_namespace();
        api.namespace(&namespace).await;
        let store = folder.path().join("store");
        std::fs::create_dir(&store).unwrap();
        let launch = env::wharf()
            .args(["controller", "--watch-all-namespaces=false", TALKATIVE])
            .args(IMPATIENT)
            .arg("--kubeconfig")
            .arg(api.kubeconfig())
            .arg("--storage-path")
            .arg(&store)
            .env("RUNTIME_NAMESPACE", &namespace);
        let wharf = Wharf::start(launch).await;
        Self {
            wharf,
            namespace,
            place: Place::Cluster(api),
            applied: Mutex::default(),
            folder,
        }
    }

    /// A directory.
    pub(crate) async fn standalone() -> Self {
        Self::standalone_with(env::wharf().arg("run").arg(TALKATIVE)).await
    }

    /// A directory that this `wharf run` looks after.
    pub(crate) async fn standalone_with(run: Launch) -> Self {
        let folder = scratch("standalone");
        let directory = folder.path().join("sources");
        std::fs::create_dir(&directory).unwrap();
        let launch = run
            .arg(&directory)
            .arg("--state")
            .arg(folder.path().join("state"))
            .args(IMPATIENT);
        Self {
            wharf: Wharf::start(launch).await,
            namespace: "apps".to_owned(),
            place: Place::Directory(directory),
            applied: Mutex::default(),
            folder,
        }
    }

    /// Whether this is a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    /// Where the artifacts are on disk.
    pub(crate) fn store(&self) -> PathBuf {
        match self.place {
            Place::Cluster(_) => self.folder.path().join("store"),
            Place::Directory(_) => self.folder.path().join("state/store"),
        }
    }

    /// Creates or replaces an object.
    pub(crate) async fn apply(&self, object: Value) {
        self.try_apply(object)
            .await
            .unwrap_or_else(|error| panic!("apply: {error}"));
    }

    /// The same, where the API server may refuse.
    pub(crate) async fn try_apply(&self, mut object: Value) -> Result<(), String> {
        object["metadata"]["namespace"] = json!(self.namespace);
        match &self.place {
            Place::Cluster(api) => {
                api.try_kubectl(&["apply", "-f", "-"], &object.to_string())
                    .await?;
            }
            Place::Directory(directory) => {
                write_whole(&directory.join(file_name(&object)), &yaml(&object));
            }
        }
        self.applied().insert(key(&object), object);
        Ok(())
    }

    /// Changes a field of the spec of a source that was applied; null removes it.
    pub(crate) async fn set(&self, name: &str, field: &str, value: Value) {
        let mut object = self.applied()[&format!("OCIRepository/{name}")].clone();
        object["spec"][field] = value;
        self.apply(object).await;
    }

    /// Asks for a run at once.
    pub(crate) async fn request(&self, name: &str, when: &str) {
        let mut object = self.applied()[&format!("OCIRepository/{name}")].clone();
        object["metadata"]["annotations"] = json!({REQUESTED_AT: when});
        self.apply(object).await;
    }

    /// Waits until a request was answered.
    pub(crate) async fn answered(&self, name: &str, when: &str) -> Value {
        let what = format!("has answered the request of {when}");
        self.until(name, &what, |object| {
            object["status"]["lastHandledReconcileAt"] == when
        })
        .await
    }

    /// Deletes a source.
    pub(crate) async fn delete(&self, name: &str) {
        let object = self
            .applied()
            .remove(&format!("OCIRepository/{name}"))
            .expect("it was applied");
        match &self.place {
            Place::Cluster(api) => {
                api.kubectl(&[
                    "delete",
                    "ocirepository",
                    name,
                    "-n",
                    &self.namespace,
                    "--wait=false",
                ])
                .await;
            }
            Place::Directory(directory) => {
                std::fs::remove_file(directory.join(file_name(&object))).unwrap();
            }
        }
    }

    /// The source as it stands; `None` when there is none, or (in a directory) nothing was said about it yet.
    pub(crate) async fn read(&self, name: &str) -> Option<Value> {
        match &self.place {
            Place::Cluster(api) => api.get(&self.api_path(name)).await,
            Place::Directory(_) => {
                let status = format!("state/status/{}/{name}.yaml", self.namespace);
                let text = std::fs::read_to_string(self.folder.path().join(status)).ok()?;
                Some(serde_saphyr::from_str(&text).expect("a status file is whole"))
            }
        }
    }

    /// Waits until the source looks as is wanted.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let what = format!("{name} {what}");
        eventually(&what, async || match self.read(name).await {
            Some(object) if wanted(&object) => Ok(object),
            Some(object) => Err(format!("{:#}", object["status"])),
            None => Err(format!(
                "there is nothing about it; the log: {}",
                self.wharf.log()
            )),
        })
        .await
    }

    /// Waits until it is Ready.
    pub(crate) async fn ready(&self, name: &str) -> Value {
        self.until(name, "is Ready", is_ready).await
    }

    /// Waits until it is Ready at this revision.
    pub(crate) async fn ready_at(&self, name: &str, wanted: &str) -> Value {
        let what = format!("is Ready at {wanted}");
        self.until(name, &what, |object| {
            is_ready(object) && revision(object) == wanted
        })
        .await
    }

    /// Waits until it is not Ready for this reason, with these words in its message.
    pub(crate) async fn failed(&self, name: &str, reason: &str, words: &[&str]) -> Value {
        let what = format!("is not Ready because of {reason}: {words:?}");
        self.until(name, &what, |object| {
            let [ready, why, message] = condition(object, "Ready");
            ready == "False" && why == reason && words.iter().all(|word| message.contains(word))
        })
        .await
    }

    /// Waits until it is stalled for this reason, with these words in its message.
    pub(crate) async fn stalled(&self, name: &str, reason: &str, words: &[&str]) -> Value {
        let object = self.failed(name, reason, words).await;
        assert_eq!(
            condition(&object, "Stalled")[..2],
            ["True", reason],
            "{object:#}"
        );
        assert_eq!(condition(&object, "Reconciling")[0], "", "{object:#}");
        assert_eq!(
            object["status"]["observedGeneration"],
            object["metadata"]["generation"]
        );
        object
    }

    /// Fetches what the status names, and checks that it is what the status says.
    pub(crate) async fn artifact(&self, object: &Value) -> Vec<u8> {
        let artifact = &object["status"]["artifact"];
        let text = |field: &str| artifact[field].as_str().unwrap_or_default().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap();
        let manifest = revision(object)
            .rsplit_once('@')
            .map_or_else(|| revision(object), |(_, digest)| digest);
        let folder = format!("ocirepository/{}/{name}", self.namespace);
        assert_eq!(text("path"), format!("{folder}/{manifest}.tar.gz"));
        assert_eq!(text("url"), self.wharf.url(&text("path")));
        assert_eq!(
            object["status"]["url"],
            self.wharf.url(&format!("{folder}/latest.tar.gz"))
        );
        let answer = get(&text("url")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(sha256(&answer.body), text("digest"));
        assert_eq!(json!(answer.body.len()), artifact["size"]);
        answer.body.to_vec()
    }

    /// Everything that was announced so far: reason and message of each event.
    pub(crate) async fn events(&self, name: &str) -> Vec<(String, String)> {
        let text =
            |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        match &self.place {
            Place::Cluster(api) => {
                let list = api
                    .get(&format!("/api/v1/namespaces/{}/events", self.namespace))
                    .await
                    .unwrap();
                let mut events = list["items"].as_array().cloned().unwrap_or_default();
                events.retain(|event| event["involvedObject"]["name"] == name);
                events
                    .iter()
                    .map(|event| (text(event, "reason"), text(event, "message")))
                    .collect()
            }
            Place::Directory(_) => {
                let lines = self.wharf.log();
                let rows = lines
                    .lines()
                    .filter(|line| line.starts_with(&format!("{}/{name} ", self.namespace)));
                rows.map(|line| (String::new(), line.to_owned())).collect()
            }
        }
    }

    fn api_path(&self, name: &str) -> String {
        format!(
            "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/ocirepositories/{name}",
            self.namespace
        )
    }

    fn applied(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shared registry with TLS and a password, and the secrets `ca` and `login` for it; with it a folder that only this
/// kind of world pushes to.
pub(crate) async fn secured_in(world: &World) -> (&'static Distribution, &'static str) {
    let registry = env::secured().await;
    world
        .apply(ca_secret("ca", registry.authority().unwrap()))
        .await;
    world
        .apply(docker_secret("login", registry.host(), USERNAME, PASSWORD))
        .await;
    let place = if world.is_cluster() {
        "cluster"
    } else {
        "directory"
    };
    (registry, place)
}

/// GET, whatever the answer.
pub(crate) async fn get(url: &str) -> Answer {
    Http::plain().get(url).await.unwrap()
}

/// All regular files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// A file as an editor that is careful writes it: whole or not at all.
pub(crate) fn write_whole(path: &Path, text: &str) {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, text).unwrap();
    std::fs::rename(temporary, path).unwrap();
}

fn yaml(object: &Value) -> String {
    serde_saphyr::to_string(object).unwrap()
}

fn key(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{}/{}",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    )
}

fn file_name(object: &Value) -> String {
    key(object).to_lowercase().replace('/', "-") + ".yaml"
}

/// A name that no other test has. The API server is this process's own, so counting is enough.
fn new_namespace() -> String {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    format!("test-{}", MADE.fetch_add(1, Ordering::Relaxed))
}
