// SPDX-License-Identifier: Apache-2.0
//! The steps of the demo: each one shows the command it stands for, then does it.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};
use wharf_api::v1::{Artifact, OCIRepository};
use wharf_oci::{
    Digest,
    archive::{self, Limits},
};
use wharf_test_support::registry::FakeRegistry;

/// How long anything may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where `app.yaml` expects the registry.
const REGISTRY: &str = "localhost:5050";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Numbers the chapters and prints what was found.
#[derive(Default)]
pub(crate) struct Story {
    chapters: usize,
}

impl Story {
    /// Opens the next chapter.
    pub(crate) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        println!("\n--- {}. {title}", self.chapters);
    }
}

/// The stage: a registry, a state directory, and the program.
pub(crate) struct Demo {
    wharf: PathBuf,
    registry: String,
    sources: PathBuf,
    scratch: tempfile::TempDir,
    // Held, not read: the registry ends with the demo.
    _local: Option<FakeRegistry>,
}

impl Demo {
    /// Finds the program and starts or names the registry.
    pub(crate) async fn prepare(story: &mut Story) -> Result<Self> {
        story.chapter("A registry");
        let scratch = tempfile::tempdir()?;
        let (registry, local) = match std::env::var("REGISTRY")
            .ok()
            .filter(|name| !name.is_empty())
        {
            Some(name) => (name, None),
            None => local_registry().await?,
        };
        println!(
            "{registry}{}",
            if local.is_some() {
                ", in this process"
            } else {
                ", named by REGISTRY"
            }
        );
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
        let sources = if registry == REGISTRY {
            here
        } else {
            adapted(&here, &registry, scratch.path())?
        };
        Ok(Self {
            wharf: program()?,
            registry,
            sources,
            scratch,
            _local: local,
        })
    }

    /// The manifests as they are in the repository.
    pub(crate) fn app() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart/app")
    }

    /// The manifests with another message in the `ConfigMap`.
    pub(crate) fn changed_app(&self) -> Result<PathBuf> {
        let copy = self.scratch.path().join("app");
        fs::create_dir(&copy)?;
        for entry in fs::read_dir(Self::app())? {
            let entry = entry?;
            let text = fs::read_to_string(entry.path())?;
            fs::write(
                copy.join(entry.file_name()),
                text.replace("delivered by Wharf", "delivered again"),
            )?;
        }
        Ok(copy)
    }

    /// `wharf push`.
    pub(crate) async fn push(&self, directory: &Path) -> Result<()> {
        let reference = format!("{}/quickstart/app:1.0.0", self.registry);
        println!("$ wharf push {} {reference}", shown(directory));
        let status = Command::new(&self.wharf)
            .arg("push")
            .arg(directory)
            .arg(&reference)
            .status()
            .await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("wharf push ended with {status}").into())
        }
    }

    /// `wharf run`, in the background. It ends with the demo, however that ends.
    pub(crate) fn start_wharf(&self) -> Result<Child> {
        println!("$ wharf run {}", shown(&self.sources));
        let mut command = Command::new(&self.wharf);
        command
            .arg("run")
            .arg(&self.sources)
            .arg("--state")
            .arg(self.state());
        command.args(["--storage-addr", "127.0.0.1:0", "--log-level", "error"]);
        Ok(command.stdin(Stdio::null()).kill_on_drop(true).spawn()?)
    }

    /// Waits until the status names an artifact other than the one before.
    pub(crate) async fn wait_for_artifact(&self, before: Option<&Artifact>) -> Result<Artifact> {
        let file = self.state().join("status/default/quickstart.yaml");
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(artifact) = published(&file)?
                && before.is_none_or(|before| before.revision != artifact.revision)
            {
                return Ok(artifact);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("no new artifact within {} s", PATIENCE.as_secs()).into())
    }

    /// Ends Wharf as a service manager would, and expects it to obey.
    pub(crate) async fn stop(&self, wharf: &mut Child) -> Result<()> {
        let id = wharf
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        let id = id.ok_or("wharf ended by itself")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let status = tokio::time::timeout(PATIENCE, wharf.wait()).await??;
        if status.success() {
            Ok(())
        } else {
            Err(format!("wharf run ended with {status}").into())
        }
    }

    fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }
}

/// Proves a download against the status and lists what is in it.
pub(crate) fn show_artifact(artifact: &Artifact, bytes: &[u8]) -> Result<()> {
    let digest = Digest::sha256_of(bytes);
    println!("$ curl -s {} | sha256sum", artifact.url);
    println!("{}  (status says {})", digest.hex(), artifact.digest);
    if digest.to_string() != artifact.digest {
        return Err("the download is not what the status says".into());
    }
    println!("$ curl -s {} | tar tz", artifact.url);
    for entry in archive::list(bytes, &Limits::default())? {
        println!("{:>8}  {}", entry.size, entry.name);
    }
    Ok(())
}

/// Closes the story.
pub(crate) fn end() {
    println!("\nDone: pushed, stored, served, followed. Nothing is left running.");
    println!(
        "Next: wharf run --help, or in a cluster: wharf crds | kubectl apply -f - && wharf controller --help"
    );
}

/// GET, as any consumer would.
pub(crate) async fn download(artifact: &Artifact) -> Result<Bytes> {
    let url: hyper::Uri = artifact.url.parse()?;
    let authority = url
        .authority()
        .ok_or("the artifact's URL has no host")?
        .to_string();
    let stream = TcpStream::connect(&authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(url.path())
        .header("host", &authority)
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if !answer.status().is_success() {
        return Err(format!("GET {url} answered {}", answer.status()).into());
    }
    let body = answer.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok(body)
}

/// The address of `app.yaml` if it is free, any other if not.
async fn local_registry() -> Result<(String, Option<FakeRegistry>)> {
    let usual = FakeRegistry::builder()
        .bind(([127, 0, 0, 1], 5050).into())
        .start()
        .await;
    if let Ok(registry) = usual {
        return Ok((REGISTRY.to_owned(), Some(registry)));
    }
    let registry = FakeRegistry::start().await;
    Ok((registry.host(), Some(registry)))
}

/// A copy of the sources that names another registry.
fn adapted(sources: &Path, registry: &str, scratch: &Path) -> Result<PathBuf> {
    let copy = scratch.join("sources");
    fs::create_dir(&copy)?;
    let text = fs::read_to_string(sources.join("app.yaml"))?;
    fs::write(copy.join("app.yaml"), text.replace(REGISTRY, registry))?;
    Ok(copy)
}

/// The binary that was built with this example.
fn program() -> Result<PathBuf> {
    let example = std::env::current_exe()?;
    let target = example
        .parent()
        .and_then(Path::parent)
        .ok_or("cannot tell where wharf was built")?;
    let wharf = target.join("wharf");
    if wharf.is_file() {
        Ok(wharf)
    } else {
        Err("wharf is not built, run: cargo build --bin wharf".into())
    }
}

fn published(file: &Path) -> Result<Option<Artifact>> {
    let Ok(text) = fs::read_to_string(file) else {
        return Ok(None);
    };
    let object: OCIRepository = serde_saphyr::from_str(&text)?;
    Ok(object.status.and_then(|status| status.artifact))
}

/// A path as somebody in the repository would type it.
fn shown(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR"))
        .unwrap_or(path)
        .display()
        .to_string()
}
