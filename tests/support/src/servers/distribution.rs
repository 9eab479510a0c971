// SPDX-License-Identifier: Apache-2.0
//! The registry of the distribution project: the one most others are made of.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::Http;
use super::{Process, TokenService, scratch, tool};
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
    guard: Guard,
}

/// Whom the registry lets in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    Nobody,
    Password,
    Tokens,
}

impl Distribution {
    /// Starts it with plain HTTP and open to all.
    pub async fn start() -> Self {
        let config = Config::new();
        config.start("registry", None, Guard::Nobody).await
    }

    /// Starts it with TLS under an authority made for it, and a password ([`USERNAME`], [`PASSWORD`]).
    pub async fn start_secured() -> Self {
        Self::start_with_password("registry").await
    }

    /// Starts the older generation that Debian has (2.8, `docker-registry`), secured in the same way. It is there once
    /// `tests/tools/interop.sh` has run.
    pub async fn start_debian() -> Self {
        Self::start_with_password("docker-registry").await
    }

    /// Starts it with TLS under this authority; it sends everybody to the token service.
    pub async fn start_with_tokens(authority: Authority, tokens: &TokenService) -> Self {
        let mut config = Config::new();
        config.serve_tls(&authority);
        config.write("tokens.crt", tokens.certificate_pem());
        config.document["auth"] = json!({"token": {
            "realm": tokens.realm(), "service": tokens.service(), "issuer": tokens.issuer(),
            "rootcertbundle": config.path("tokens.crt"),
        }});
        let authority = Some(authority);
        config.start("registry", authority, Guard::Tokens).await
    }

    async fn start_with_password(program: &str) -> Self {
        let authority = Authority::new("Wharf's test authority");
        let mut config = Config::new();
        config.serve_tls(&authority);
        config.write("htpasswd", HTPASSWD);
        config.document["auth"] =
            json!({"htpasswd": {"realm": "wharf", "path": config.path("htpasswd")}});
        config
            .start(program, Some(authority), Guard::Password)
            .await
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
    pub fn authority_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A client that may do everything; where tokens are asked for it has none ([`TokenService::token`]).
    pub fn http(&self) -> Http {
        let http = self.authority().map_or_else(Http::plain, Http::trusting);
        match self.guard {
            Guard::Password => http.basic(USERNAME, PASSWORD),
            Guard::Nobody | Guard::Tokens => http,
        }
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// A configuration in the making, with the files it names.
struct Config {
    folder: TempDir,
    document: Value,
}

impl Config {
    fn new() -> Self {
        let folder = scratch("registry");
        let document = json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": true}},
            "storage": {
                "filesystem": {"rootdirectory": folder.path().join("data")},
                "delete": {"enabled": true},
                "maintenance": {"uploadpurging": {"enabled": false}},
            },
            "http": {"addr": "127.0.0.1:0", "secret": "any"},
        });
        Self { folder, document }
    }

    fn serve_tls(&mut self, authority: &Authority) {
        let identity = authority.local_leaf();
        self.write("ca.crt", authority.pem());
        self.write("tls.crt", identity.certificate_pem());
        self.write("tls.key", identity.key_pem());
        self.document["http"]["tls"] =
            json!({"certificate": self.path("tls.crt"), "key": self.path("tls.key")});
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("write a registry's file");
    }

    /// Starts the program with it. It answers when this returns, if only that it wants to know who asks.
    async fn start(
        self,
        program: &str,
        authority: Option<Authority>,
        guard: Guard,
    ) -> Distribution {
        // JSON is YAML, and needs no care with indentation.
        self.write("config.yml", &self.document.to_string());
        let mut command = Command::new(tool(program));
        command
            .current_dir(self.folder.path())
            .env("OTEL_TRACES_EXPORTER", "none")
            .args(["serve", "config.yml"]);
        let mut process = Process::spawn(program, &mut command, &self.path("log"));
        let host = process.ready(async |log| listening(log)).await;
        let registry = Distribution {
            host: host.unwrap_or_else(|error| panic!("{error}")),
            process,
            folder: self.folder,
            authority,
            guard,
        };
        let answer = registry
            .http()
            .get(&format!("{}/v2/", registry.base_url()))
            .await;
        let expected = if guard == Guard::Tokens { 401 } else { 200 };
        assert_eq!(answer.expect("ask the registry").status, expected);
        registry
    }
}

/// The address that the log tells.
fn listening(log: &str) -> Result<String, String> {
    let host = log.split_once("listening on ").and_then(|(_, rest)| {
        let end = rest.find([',', '"', ' '])?;
        Some(rest[..end].to_owned())
    });
    host.ok_or_else(|| "it has told no address".to_owned())
}
