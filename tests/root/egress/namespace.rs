// SPDX-License-Identifier: Apache-2.0
//! A network and a mount namespace for a test: a machine that has every address that a test wants to see dialled or not.
//!
//! A test is run again inside by the same binary; what it needs of the outside is `unshare`, `ip` and `mount`.

use std::{
    env, fs,
    net::IpAddr,
    path::Path,
    process::{Command, Output},
};

use tempfile::NamedTempFile;

const INSIDE: &str = "WHARF_TEST_NAMESPACE";

/// Whether the test is inside. If not, it has been run there when this returns, and it has passed.
pub(crate) fn enter(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut unshare = Command::new("unshare");
    let output = unshare
        .args(["--net", "--mount", "--kill-child"])
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let told = told(&output);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
    false
}

/// Indented, so that nobody takes the inner result for one of the outer tests.
fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// Gives this namespace's loopback device these addresses.
pub(crate) fn add_addresses(addresses: impl IntoIterator<Item = IpAddr>) {
    run("ip", &["link", "set", "lo", "up"]);
    for address in addresses {
        let is_there = address.is_loopback() && address != IpAddr::from([127, 0, 0, 2]);
        if is_there {
            continue;
        }
        let width = if address.is_ipv4() { 32 } else { 128 };
        let network = format!("{address}/{width}");
        let mut arguments = vec!["addr", "add", &network, "dev", "lo"];
        if address.is_ipv6() {
            arguments.push("nodad");
        }
        run("ip", &arguments);
    }
}

/// Puts another file in the place of one of the system's, in this namespace only. It is kept while the value is.
pub(crate) fn replace(path: &str, text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let source: &Path = file.path();
    run("mount", &["--bind", source.to_str().unwrap(), path]);
    file
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        told(&output)
    );
}
