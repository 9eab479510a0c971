// SPDX-License-Identifier: Apache-2.0
//! The import table: which part of the program may know which other part.
//!
//! `ARCHITECTURE.md` explains the table, this module holds the code to it. It reads the sources as text (see [`scan`])
//! and the `[dependencies]` of the crates. Parts that do not exist yet are no fault; parts that are not in the table are.

mod manifest;
mod scan;

use std::{
    fs,
    path::{Path, PathBuf},
};

use scan::{Import, Target};

/// A part of the program and what it may name. Where parts lie inside one another, the inner one holds.
struct Rule {
    /// A folder or a file without its extension, relative to the repository.
    part: &'static str,
    /// Modules of the same crate. `ALL` for the parts that wire the others together.
    modules: &'static [&'static str],
    /// Crates of this workspace, or modules of them.
    crates: &'static [&'static str],
    /// Paths that nothing in this part may name, whatever the above says.
    never: &'static [&'static str],
}

const ALL: &str = "*";

/// What waits, talks or knows the clock: not for parts that only decide.
const EFFECTS: &[&str] = &[
    "tokio",
    "tokio_util",
    "futures",
    "hyper",
    "hyper_util",
    "reqwest",
    "kube",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];
/// What needs an async runtime, and the client that brings one.
const ASYNC: &[&str] = &[
    "tokio",
    "tokio_util",
    "tokio_rustls",
    "futures",
    "hyper",
    "hyper_util",
    "reqwest",
    "crate::registry",
];
const KUBE: &[&str] = &["kube", "k8s_openapi"];

/// The value types of `wharf-oci`: what it exports at its root, the choice among tags, and no effects.
const VALUES: &[&str] = &["wharf_oci::*", "wharf_oci::media_type", "wharf_oci::select"];
/// The same and the types of the API.
const API_AND_VALUES: &[&str] = &["wharf_api", VALUES[0], VALUES[1], VALUES[2]];

#[rustfmt::skip]
const TABLE: &[Rule] = &[
    Rule { part: "src/main", modules: &[ALL], crates: &[ALL], never: &[] },
    Rule { part: "src/lib", modules: &[], crates: &[], never: &[] },
    Rule { part: "src/cli", modules: &[ALL], crates: &[ALL], never: &[] },
    Rule {
        part: "src/cluster", modules: &["ports", "engine", "source", "pipeline", "store"],
        crates: API_AND_VALUES, never: &[],
    },
    Rule {
        part: "src/standalone", modules: &["ports", "engine", "source", "pipeline", "store"],
        crates: API_AND_VALUES, never: &["kube"],
    },
    Rule {
        part: "src/pipeline", modules: &["ports", "source", "store"],
        crates: &["wharf_api", "wharf_oci", "wharf_verify"], never: &["kube"],
    },
    // One run of one source joins the engine's question to the pipeline's answer, and counts it.
    Rule {
        part: "src/reconcile", modules: &["engine", "ports", "source", "pipeline", "store", "telemetry"],
        crates: &["wharf_api"], never: KUBE,
    },
    Rule { part: "src/engine", modules: &["source"], crates: &[], never: KUBE },
    Rule { part: "src/ports", modules: &["source"], crates: API_AND_VALUES, never: &["kube"] },
    Rule { part: "src/source", modules: &[], crates: API_AND_VALUES, never: EFFECTS },
    Rule { part: "src/serve", modules: &["store"], crates: VALUES, never: KUBE },
    Rule { part: "src/store", modules: &[], crates: VALUES, never: KUBE },
    Rule { part: "src/telemetry", modules: &[], crates: &[], never: KUBE },
    Rule { part: "crates/api", modules: &[ALL], crates: &[], never: &["tokio", "hyper", "reqwest", "kube::Client"] },
    Rule { part: "crates/oci/src/archive", modules: &[ALL], crates: &[], never: ASYNC },
    Rule { part: "crates/oci/src/select", modules: &[ALL], crates: &[], never: ASYNC },
    Rule { part: "crates/oci", modules: &[ALL], crates: &[], never: KUBE },
    Rule { part: "crates/verify", modules: &[ALL], crates: &["wharf_oci"], never: KUBE },
];

#[test]
fn every_import_is_in_the_table() {
    let found = violations(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_part_that_must_exist_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let parts: Vec<_> = sources(root)
        .iter()
        .filter_map(|file| rule_for(file))
        .map(|rule| rule.part)
        .collect();
    for part in [
        "src/main",
        "src/source",
        "src/engine",
        "crates/api",
        "crates/oci",
        "crates/verify",
    ] {
        assert!(parts.contains(&part), "no source file of {part} was read");
    }
}

#[test]
fn an_import_against_the_table_is_named_with_file_line_and_rule() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        "src/engine.rs",
        "//! Text.\n\nuse crate::{\n    source::SourceId,\n    cluster::Watch,\n};\n",
    );
    assert_eq!(
        violations(root.path()),
        ["src/engine.rs:5: crate::cluster; src/engine may import of this crate: source"]
    );
}

#[test]
fn each_way_to_name_a_forbidden_thing_is_found() {
    for (file, text) in [
        ("src/source/plan.rs", "use tokio::time::sleep;"),
        ("src/source/plan.rs", "use std::{fmt, fs::File};"),
        (
            "src/source/plan.rs",
            "fn now() { std::time::Instant::now(); }",
        ),
        ("src/source/plan.rs", "use ::kube::ResourceExt;"),
        ("src/source/plan.rs", "use kube as k;"),
        ("src/source/plan.rs", "use super::super::engine::Queue;"),
        (
            "src/source/plan.rs",
            "use wharf_oci::{Digest, registry::Client};",
        ),
        ("src/source/plan.rs", "use wharf_verify::Trusted;"),
        (
            "src/serve.rs",
            "mod tests { use super::super::pipeline::run; }",
        ),
        ("src/serve/mod.rs", "use super::pipeline;"),
        ("src/serve/mod.rs", "use wharf_oci::archive::scan;"),
        ("src/serve/http.rs", "pub(crate) use crate::pipeline as p;"),
        ("src/store/disk.rs", "type A = kube::Api<()>;"),
        ("src/engine.rs", "extern crate kube;"),
        (
            "crates/oci/src/archive/scan.rs",
            "use tokio::io::AsyncRead;",
        ),
        (
            "crates/oci/src/archive/scan.rs",
            "use crate::registry::Client;",
        ),
        ("crates/oci/src/select.rs", "use futures::Stream;"),
        ("crates/oci/src/registry/mod.rs", "use k8s_openapi::List;"),
        ("crates/verify/src/lib.rs", "use wharf_api::v1;"),
        ("crates/api/src/lib.rs", "use wharf_oci::Digest;"),
        ("crates/oci/src/lib.rs", "use wharf::store::Store;"),
        ("src/misc/mod.rs", "use crate::source::Plan;"),
    ] {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), file, text);
        assert_eq!(violations(root.path()).len(), 1, "{file}: {text}");
    }
}

#[test]
fn what_the_table_allows_is_allowed() {
    for (file, text) in [
        (
            "src/source/plan.rs",
            "use crate::source::spec::SourceSpec; use super::schedule; use std::time::Duration;",
        ),
        (
            "src/source/plan.rs",
            "use wharf_oci::{Digest, select::choose}; use k8s_openapi::List;",
        ),
        (
            "src/source/plan.rs",
            "mod tests { use super::*; mod deep { use super::super::super::report; } }",
        ),
        (
            "src/source/plan.rs",
            "// use tokio::spawn;\n/* kube::Api /* nested */ */ const T: &str = \"tokio::spawn\";",
        ),
        (
            "src/source/plan.rs",
            r##"const A: char = '"'; const B: &str = r#"kube::Api"#; fn f<'a>(x: &'a str) {}"##,
        ),
        (
            "src/source/plan.rs",
            "fn f(plan: Plan) { plan.kube::<u8>(); Plan::tokio(); }",
        ),
        (
            "src/engine.rs",
            "use tokio::spawn; use crate::source::SourceId;",
        ),
        (
            "src/cluster/watch.rs",
            "use kube::runtime::watcher; use crate::ports::SourceReader;",
        ),
        ("src/main.rs", "fn main() { wharf::cli::run(); }"),
        (
            "crates/oci/src/registry/mod.rs",
            "use tokio::net::TcpStream; use crate::Digest;",
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), file, text);
        assert_eq!(
            violations(root.path()),
            Vec::<String>::new(),
            "{file}: {text}"
        );
    }
}

#[test]
fn a_crate_that_depends_on_what_it_must_not_know_is_found() {
    for (file, text) in [
        (
            "crates/oci/Cargo.toml",
            "[dependencies]\nbytes = \"1\"\nkube = { workspace = true }\n",
        ),
        (
            "crates/oci/Cargo.toml",
            "[dependencies.wharf-api]\nworkspace = true\n",
        ),
        (
            "crates/verify/Cargo.toml",
            "[build-dependencies]\nk8s-openapi.workspace = true\n",
        ),
        (
            "crates/api/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\ntokio = \"1\" # why\n",
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), file, text);
        assert_eq!(violations(root.path()).len(), 1, "{file}: {text}");
    }
}

#[test]
fn dependencies_of_tests_are_free() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        "crates/oci/Cargo.toml",
        "[package]\nname = \"kube\"\n[dev-dependencies]\nkube = \"5\"\n",
    );
    assert_eq!(violations(root.path()), Vec::<String>::new());
}

/// Every import below `root` that the table does not allow, as `file:line: path; rule`.
fn violations(root: &Path) -> Vec<String> {
    let in_code = sources(root).into_iter().flat_map(|file| {
        let text = fs::read_to_string(root.join(&file)).unwrap();
        judge(&file, &scan::imports(&file, &text))
    });
    let in_manifests = manifests(root).into_iter().flat_map(|file| {
        let text = fs::read_to_string(root.join(&file)).unwrap();
        judge(&file, &manifest::dependencies(&text))
    });
    in_code.chain(in_manifests).collect()
}

fn judge(file: &Path, imports: &[Import]) -> Vec<String> {
    let Some(rule) = rule_for(file) else {
        return vec![format!(
            "{}:1: not in the table of tests/it/imports; add a row",
            file.display()
        )];
    };
    imports
        .iter()
        .filter_map(|import| Some((import, rule.against(&import.target)?)))
        .map(|(import, why)| {
            format!(
                "{}:{}: {}; {} {why}",
                file.display(),
                import.line,
                import.target,
                rule.part
            )
        })
        .collect()
}

impl Rule {
    /// Why this rule refuses the target, if it does.
    fn against(&self, target: &Target) -> Option<String> {
        let path = target.to_string();
        if let Some(never) = self.never.iter().find(|never| is_below(&path, never)) {
            return Some(format!("must never name {never}"));
        }
        match target {
            Target::Module(name) if !self.allows_module(name) => Some(format!(
                "may import of this crate: {}",
                listed(self.modules)
            )),
            Target::Crate(path) if is_ours(path) && !self.allows_crate(path) => Some(format!(
                "may import of the workspace: {}",
                listed(self.crates)
            )),
            _ => None,
        }
    }

    fn allows_module(&self, name: &str) -> bool {
        let own = self.part.rsplit('/').next() == Some(name);
        own || self.modules.contains(&ALL) || self.modules.contains(&name)
    }

    /// `wharf_oci::*` stands for what that crate exports at its root, which begins with a capital letter.
    fn allows_crate(&self, path: &str) -> bool {
        self.crates
            .iter()
            .any(|allowed| match allowed.strip_suffix("::*") {
                Some(root) => path
                    .strip_prefix(root)
                    .and_then(|rest| rest.strip_prefix("::"))
                    .is_some_and(|rest| rest.starts_with(char::is_uppercase)),
                None => *allowed == ALL || is_below(path, allowed),
            })
    }
}

/// The rule of the part that the file belongs to: the longest that fits.
fn rule_for(file: &Path) -> Option<&'static Rule> {
    let name = file.with_extension("");
    TABLE
        .iter()
        .filter(|rule| name.starts_with(rule.part))
        .max_by_key(|rule| rule.part.len())
}

/// A crate of this workspace that is not only for tests.
fn is_ours(path: &str) -> bool {
    let name = path.split("::").next().unwrap_or(path);
    name == "wharf" || (name.starts_with("wharf_") && name != "wharf_test_support")
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

/// The source files of the program and its crates, without those of tests, relative to `root`.
fn sources(root: &Path) -> Vec<PathBuf> {
    let crates = entries(&root.join("crates"))
        .into_iter()
        .map(|folder| folder.join("src"));
    let mut found = Vec::new();
    for folder in crates.chain([root.join("src")]) {
        collect(&folder, &mut found);
    }
    found
        .iter()
        .map(|file| file.strip_prefix(root).unwrap().to_owned())
        .collect()
}

fn manifests(root: &Path) -> Vec<PathBuf> {
    let files = entries(&root.join("crates"))
        .into_iter()
        .map(|folder| folder.join("Cargo.toml"));
    files
        .filter(|file| file.is_file())
        .map(|file| file.strip_prefix(root).unwrap().to_owned())
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What is in the folder, in order; nothing when there is no such folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    if !folder.is_dir() {
        return Vec::new();
    }
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
