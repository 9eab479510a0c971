// SPDX-License-Identifier: Apache-2.0
//! The flags, as they are typed. Nothing is checked here beyond a flag's own form; [`super::config`] makes values of them.

#![expect(
    clippy::doc_markdown,
    reason = "the command line shows these comments as plain text"
)]

use std::{num::NonZeroU64, path::PathBuf};

use clap::{
    Args as ClapArgs, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser as _},
};

/// What the flags are grouped by in --help, where one group is filled from several places.
const REGISTRY: &str = "Registry access";
const SERVING: &str = "Serving";
const LOGGING: &str = "Logging";

/// A source controller for OCI artifacts, with or without a cluster.
#[derive(Debug, Parser)]
#[command(
    name = "wharf",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 'run --once' ended and not every source is Ready."
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run in a cluster: watch OCIRepository objects, store and serve their artifacts.
    #[command(
        after_help = "Examples:\n  wharf crds | kubectl apply -f -\n  wharf controller --storage-path ./data \
                      --storage-adv-addr localhost:9090\n  wharf controller --kubeconfig ~/.kube/config --watch-label-selector \
                      sharding.fluxcd.io/key=wharf"
    )]
    Controller(ControllerArgs),
    /// Run without a cluster: the same over a directory of the same YAML.
    #[command(
        after_help = "Examples:\n  wharf run ./sources\n  wharf run ./sources --once\n  wharf run ./sources --state \
                      /var/lib/wharf -o json"
    )]
    Run(RunArgs),
    /// Pack a directory, or take a tar+gzip file as it is, and push it as an artifact.
    #[command(
        after_help = "Examples:\n  wharf push ./deploy ghcr.io/org/app:1.0.0\n  wharf push ./deploy.tar.gz \
                      registry.test:5000/app:dev --insecure\n  wharf push ./deploy ghcr.io/org/app:1.0.0 --revision \
                      main@sha1:5f0c2e1\n  echo \"$TOKEN\" | wharf push ./deploy ghcr.io/org/app:1 --username robot \
                      --password-stdin"
    )]
    Push(PushArgs),
    /// Pull an artifact and unpack it into a directory.
    #[command(
        after_help = "Examples:\n  wharf pull ghcr.io/org/app:1.0.0 ./app\n  wharf pull ghcr.io/org/app@sha256:... \
                      ./app\n  wharf pull registry.test/app:1.0.0 ./app --ca-file ca.pem\n  wharf pull \
                      registry.test/app:1.0.0 ./app --argocd-config secrets.yaml"
    )]
    Pull(PullArgs),
    /// Print the CustomResourceDefinitions.
    #[command(after_help = "Example:\n  wharf crds | kubectl apply -f -")]
    Crds,
    /// Print the version.
    Version(VersionArgs),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  wharf completion bash > /etc/bash_completion.d/wharf")]
    Completion(CompletionArgs),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For scripts: one JSON document per line.
    Json,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogEncoding {
    /// One JSON object per line.
    Json,
    /// For people.
    #[value(alias = "console")]
    Text,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What helps to find a defect.
    Debug,
    /// What happens.
    Info,
    /// Only what failed.
    Error,
}

/// `wharf controller`.
#[derive(Debug, ClapArgs)]
pub struct ControllerArgs {
    /// The kubeconfig file. Without it: KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Watch all namespaces; with false only the one in RUNTIME_NAMESPACE.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub watch_all_namespaces: bool,
    /// The namespace to watch when not all are.
    #[arg(long, env = "RUNTIME_NAMESPACE", hide = true)]
    pub runtime_namespace: Option<String>,
    /// Watch only objects with these labels.
    #[arg(long, value_name = "SELECTOR")]
    pub watch_label_selector: Option<String>,
    /// The store's directory. It must exist.
    #[arg(
        long,
        env = "STORAGE_PATH",
        default_value = "/data",
        value_name = "DIR"
    )]
    pub storage_path: PathBuf,
    /// Where artifacts are served.
    #[arg(
        long,
        help_heading = SERVING,
        env = "STORAGE_ADDRESS",
        default_value = ":9090",
        value_name = "ADDR"
    )]
    pub storage_addr: String,
    /// The host (and port) that consumers reach the artifact server under. Without it, it is made of the host name and
    /// the port of --storage-addr.
    #[arg(
        long,
        help_heading = SERVING,
        env = "STORAGE_ADV_ADDR",
        default_value = "",
        value_name = "HOST"
    )]
    pub storage_adv_addr: String,
    /// Where /metrics is served.
    #[arg(
        long,
        help_heading = SERVING,
        env = "METRICS_ADDR",
        default_value = ":8080",
        value_name = "ADDR"
    )]
    pub metrics_addr: String,
    /// Where /healthz and /readyz are served.
    #[arg(long, help_heading = SERVING, default_value = ":9440", value_name = "ADDR")]
    pub health_addr: String,
    /// How logs are written.
    #[arg(long, help_heading = LOGGING, default_value = "json", value_name = "ENCODING")]
    pub log_encoding: LogEncoding,
    /// Common flags.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `wharf run`.
#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    /// The directory with OCIRepository and Secret files.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Where artifacts and status files are kept. Default: .wharf below DIR.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Reconcile everything once, then exit: 0 when all sources are Ready, 3 when not.
    #[arg(long)]
    pub once: bool,
    /// How changes are printed.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Output,
    /// Where artifacts are served.
    #[arg(
        long,
        help_heading = SERVING,
        env = "STORAGE_ADDRESS",
        default_value = "127.0.0.1:9090",
        value_name = "ADDR"
    )]
    pub storage_addr: String,
    /// The host (and port) that consumers reach the artifact server under. Default: the address of --storage-addr.
    #[arg(
        long,
        help_heading = SERVING,
        env = "STORAGE_ADV_ADDR",
        default_value = "",
        value_name = "HOST"
    )]
    pub storage_adv_addr: String,
    /// Where /metrics is served. Off unless given.
    #[arg(long, help_heading = SERVING, value_name = "ADDR")]
    pub metrics_addr: Option<String>,
    /// Where /healthz and /readyz are served. Off unless given.
    #[arg(long, help_heading = SERVING, value_name = "ADDR")]
    pub health_addr: Option<String>,
    /// How logs are written.
    #[arg(long, help_heading = LOGGING, default_value = "text", value_name = "ENCODING")]
    pub log_encoding: LogEncoding,
    /// Common flags.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Flags of everything that reconciles.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Reconciling")]
pub struct CommonArgs {
    /// What is logged.
    #[arg(long, help_heading = LOGGING, default_value = "info", value_name = "LEVEL")]
    pub log_level: LogLevel,
    /// How many sources are worked on at once.
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub concurrent: usize,
    /// The wait after the first failure; doubles with each further one.
    #[arg(long, default_value = "750ms", value_name = "DURATION")]
    pub min_retry_delay: String,
    /// The longest wait after failures.
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    pub max_retry_delay: String,
    /// How far intervals are spread, in percent.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..100), value_name = "PERCENT")]
    pub interval_jitter_percentage: u8,
    /// How long a superseded artifact is kept.
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub artifact_retention_ttl: String,
    /// How many artifacts of a source are kept at most.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub artifact_retention_records: usize,
    /// Which layers are served byte for byte instead of being packed anew.
    #[arg(long, default_value = "auto", value_name = "MODE")]
    pub passthrough: Passthrough,
    /// Refuse artifacts with several layers instead of taking the first.
    #[arg(long)]
    pub strict_layers: bool,
    /// Settings of registries.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What may be reached.
    #[command(flatten)]
    pub egress: EgressArgs,
    /// The bounds of archives.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// What registries may lead to. Link-local and cloud metadata addresses are refused whatever is set here, unless they
/// are listed by themselves.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Egress")]
pub struct EgressArgs {
    /// Reach only what is clearly the registry's own: no loopback, private or reserved address that is not listed, no
    /// redirect elsewhere but for blobs, no credentials to a token service on another host that is not listed, none over
    /// plain HTTP or TLS that is not verified, and through a proxy only listed hosts.
    #[arg(long)]
    pub strict_egress: bool,
    /// Addresses that may be dialled although they would be refused: a network such as 10.20.0.0/16, or one address.
    /// Link-local and metadata addresses are not opened by a network that holds others too. May be repeated.
    #[arg(long, value_name = "NETWORK")]
    pub egress_allow: Vec<String>,
    /// With --strict-egress: the token service of a registry on another host, for instance
    /// registry.example=auth.example:8443. Those of Docker Hub and GitLab.com are known. May be repeated.
    #[arg(long, value_name = "REGISTRY=HOST", requires = "strict_egress")]
    pub egress_realm: Vec<String>,
    /// With --strict-egress: a host that may be asked for through a proxy, for instance ghcr.io or *.example.com. May be
    /// repeated.
    #[arg(long, value_name = "HOST", requires = "strict_egress")]
    pub egress_proxied: Vec<String>,
}

/// Whether canonical layers are served byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Passthrough {
    /// Those that can be.
    Auto,
    /// None: everything is re-packed.
    Off,
}

/// The bounds of archives. Real artifacts do not reach the defaults.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Archive limits")]
pub struct LimitArgs {
    /// The largest layer, compressed. Default 256 MiB.
    #[arg(long, value_name = "BYTES")]
    pub max_compressed_bytes: Option<u64>,
    /// The largest archive, expanded.
    #[arg(long, value_name = "BYTES")]
    pub max_expanded_bytes: Option<u64>,
    /// The most entries in an archive.
    #[arg(long, value_name = "N")]
    pub max_entries: Option<u64>,
    /// The largest ratio of expanded to compressed bytes, beyond the first MiB.
    #[arg(long, value_name = "N")]
    pub max_ratio: Option<u64>,
    /// The longest path in an archive.
    #[arg(long, value_name = "BYTES")]
    pub max_path_bytes: Option<u64>,
    /// The deepest directory in an archive.
    #[arg(long, value_name = "N")]
    pub max_depth: Option<u64>,
    /// The largest extension header of an entry.
    #[arg(long, value_name = "BYTES")]
    pub max_header_bytes: Option<u64>,
    /// The most gzip members in a layer.
    #[arg(long, value_name = "N")]
    pub max_gzip_members: Option<u64>,
}

/// Flags of everything that talks to a registry by itself.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = REGISTRY)]
pub struct RegistryArgs {
    /// The user name. Without it: what --argocd-config says, then what docker login or podman login left (config files
    /// and credential helpers), or anonymous.
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// Read the password from standard input.
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// A file with CA certificates that are trusted beside the system's.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// A file with a client certificate (and its chain) to show to the registry.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// A file with the key of the client certificate.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// Allow plain HTTP where the registry does not speak HTTPS. localhost, loopback and RFC 1918 addresses need no flag.
    /// Certificates are verified all the same.
    #[arg(long, visible_alias = "plain-http")]
    pub insecure: bool,
    /// Do not verify the registry's certificate: whoever answers is believed.
    #[arg(long, conflicts_with = "ca_file")]
    pub insecure_skip_tls_verify: bool,
    /// A YAML file with Argo CD's repository and repo-creds Secrets and its ConfigMap argocd-tls-certs-cm, as kubectl get
    /// -o yaml prints them: credentials, certificates, proxy, noProxy, insecure and insecureOCIForceHttp are used.
    /// --username, --cert-file, --ca-file and --insecure-skip-tls-verify go before what it says. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub argocd_config: Vec<PathBuf>,
    /// Settings of registries.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What may be reached.
    #[command(flatten)]
    pub egress: EgressArgs,
}

/// Flags of everything that talks to registries.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = REGISTRY)]
pub struct SettingsArgs {
    /// A YAML file with settings per registry host: mirrors, CA, client certificate, plain HTTP, proxy, rate, concurrency.
    /// It is read at the start. An empty value is none.
    #[arg(long, env = "WHARF_REGISTRIES_CONFIG", value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub registries_config: Option<PathBuf>,
}

/// `wharf push`.
#[derive(Debug, ClapArgs)]
pub struct PushArgs {
    /// A directory, or a tar+gzip file.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Where to: repository and tag, for instance ghcr.io/org/app:1.0.0.
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Where the content comes from (annotation org.opencontainers.image.source).
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// Which revision of it (annotation org.opencontainers.image.revision).
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Another repository of the same registry that may have the layer already: the registry takes it from there. Without a
    /// registry in its name, team/base for instance, it is one of the registry that is pushed to.
    #[arg(long, value_name = "REPOSITORY")]
    pub mount_from: Option<String>,
    /// Send the layer in chunks of so many bytes, so that a connection that breaks costs no more than one. Without it the
    /// layer goes in one piece, and in chunks only to a registry that refuses that as too large.
    #[arg(long, value_name = "BYTES", value_parser = chunk)]
    pub chunk_bytes: Option<NonZeroU64>,
    /// More annotations of the manifest.
    #[arg(short, long = "annotation", value_name = "KEY=VALUE")]
    pub annotations: Vec<String>,
    /// How the result is printed.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Output,
    /// Registry flags.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The bounds of archives.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// `wharf pull`.
#[derive(Debug, ClapArgs)]
pub struct PullArgs {
    /// What: repository with a tag or digest.
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Where to. It is made if it is not there; files in it are not overwritten.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// How the result is printed.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Output,
    /// Registry flags.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The bounds of archives.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// `wharf version`.
#[derive(Debug, ClapArgs)]
pub struct VersionArgs {
    /// How it is printed.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Output,
}

/// `wharf completion`.
#[derive(Debug, ClapArgs)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

fn chunk(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse()
        .map_err(|_| "expected a number of bytes, 1 or more")
}
