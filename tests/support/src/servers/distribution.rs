// SPDX-License-Identifier: Apache-2.0
//! The registry of the distribution project: the one most others are made of.

use std::process::Command;

use tempfile::TempDir;

use super::http::Http;
use super::{Process, scratch, tool};
use crate::tls::Authority;

/// Who may push and pull where a password is asked for.
pub const USERNAME: &str = "wharf";
/// The password of [`USERNAME`].
pub const PASSWORD: &str = "wharf-secret";
/// The two of them, as `htpasswd -B` writes them.
const HTPASSWD: &str = "wharf:$2a$04$RmmPVSGnh0v1oDIVhqZGo.4iPLxAHKkghS2KMdHMjYnjgKdfJ3KUm\n";

/// A running registry.
pub struct Distribution {
    process: Process,
    folder: TempDir,
    host: String,
    authority: Option<Authority>,
}

impl Distribution {
    /// Starts it with plain HTTP and open to all.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts it with TLS under an authority made for it, and a password ([`USERNAME`], [`PASSWORD`]).
    pub async fn start_secured() -> Self {
        Self::start_with(Some(Authority::new("Wharf's test authority"))).await
    }

    async fn start_with(authority: Option<Authority>) -> Self {
        let folder = scratch("registry");
        let config = configure(&folder, authority.as_ref());
        std::fs::write(folder.path().join("config.yml"), config).expect("write a configuration");
        let mut command = Command::new(tool("registry"));
        command
            .current_dir(folder.path())
            .env("OTEL_TRACES_EXPORTER", "none")
            .args(["serve", "config.yml"]);
        let mut process = Process::spawn("registry", &mut command, &folder.path().join("log"));
        let listening = process.ready(async |log| {
            let host = log.split_once("listening on ").and_then(|(_, rest)| {
                let end = rest.find([',', '"', ' '])?;
                Some(rest[..end].to_owned())
            });
            host.ok_or_else(|| "it has told no address".to_owned())
        });
        let host = listening.await.unwrap_or_else(|error| panic!("{error}"));
        let registry = Self {
            process,
            folder,
            host,
            authority,
        };
        let answer = registry
            .http()
            .get(&format!("{}/v2/", registry.base_url()))
            .await;
        assert_eq!(answer.expect("ask the registry").status, 200);
        registry
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `http://127.0.0.1:port`, or `https`.
    pub fn base_url(&self) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.host)
    }

    /// `oci://127.0.0.1:port/repository`, as in the `url` of a source.
    pub fn url(&self, repository: &str) -> String {
        format!("oci://{}/{repository}", self.host)
    }

    /// The certificate of the authority, when it speaks TLS.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// The same in a file, for `--ca-file`.
    pub fn authority_file(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A client that may do everything.
    pub fn http(&self) -> Http {
        match self.authority() {
            Some(pem) => Http::trusting(pem).basic(USERNAME, PASSWORD),
            None => Http::plain(),
        }
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// JSON is YAML, and needs no care with indentation.
fn configure(folder: &TempDir, authority: Option<&Authority>) -> String {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("write a registry's file");
    };
    let mut config = serde_json::json!({
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": true}},
        "storage": {
            "filesystem": {"rootdirectory": file("data")},
            "delete": {"enabled": true},
            "maintenance": {"uploadpurging": {"enabled": false}},
        },
        "http": {"addr": "127.0.0.1:0", "secret": "any"},
    });
    if let Some(authority) = authority {
        let identity = authority.local_leaf();
        write("ca.crt", authority.pem());
        write("tls.crt", identity.certificate_pem());
        write("tls.key", identity.key_pem());
        write("htpasswd", HTPASSWD);
        config["http"]["tls"] =
            serde_json::json!({"certificate": file("tls.crt"), "key": file("tls.key")});
        config["auth"] =
            serde_json::json!({"htpasswd": {"realm": "wharf", "path": file("htpasswd")}});
    }
    config.to_string()
}
