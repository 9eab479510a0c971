// SPDX-License-Identifier: Apache-2.0
//! Asking a credential helper: `docker-credential-<name> get`, with the server on standard input.
//!
//! The program is the one that `PATH` leads to; its name cannot be a path, see [`HelperName`]. It may take some time, since
//! it may ask a person, and is killed when that is over or when nobody waits any more. Of what it says only a cap is read,
//! and only what it says of a failure is shown. Source: Docker's protocol of credential helpers.
//!
//! [`HelperName`]: wharf_oci::registry::HelperName

use std::{io, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::timeout,
};
use wharf_oci::registry::{Credentials, Helper};

/// Long enough to unlock a keychain.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_ANSWER: u64 = 64 << 10;
const MAX_SHOWN: usize = 200;
/// The name that stands for "the secret is an identity token".
const TOKEN: &str = "<token>";

/// Why a credential helper gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelperError {
    /// It is not there, or cannot be run.
    #[error("the credential helper {program} could not be run; is it installed and in PATH?")]
    Run {
        program: String,
        #[source]
        cause: io::Error,
    },
    /// Its pipes broke.
    #[error("the credential helper {program} could not be spoken to")]
    Pipe {
        program: String,
        #[source]
        cause: io::Error,
    },
    /// It took too long, and was killed.
    #[error("the credential helper {program} did not answer within {} s", after.as_secs_f32())]
    Timeout { program: String, after: Duration },
    /// It said more than any answer is long.
    #[error("the credential helper {program} answered with more than {MAX_ANSWER} bytes")]
    TooLarge { program: String },
    /// It failed.
    #[error("the credential helper {program} failed ({status}){words}")]
    Failed {
        program: String,
        status: std::process::ExitStatus,
        words: String,
    },
    /// What it said is not an answer. It is not shown, it may hold a password.
    #[error("the credential helper {program} answered with something that is not its JSON")]
    Answer { program: String },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// What the helper knows; `None` if it knows nothing of this server.
pub(super) async fn ask(helper: &Helper) -> Result<Option<Credentials>, HelperError> {
    ask_within(helper.name.program(), helper, PATIENCE).await
}

async fn ask_within(
    program: String,
    helper: &Helper,
    after: Duration,
) -> Result<Option<Credentials>, HelperError> {
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|cause| HelperError::Run {
            program: program.clone(),
            cause,
        })?;
    match timeout(after, converse(&mut child, &helper.server, &program)).await {
        Ok(said) => read(&said?, helper, program),
        Err(_) => Err(HelperError::Timeout { program, after }),
    }
}

struct Said {
    status: std::process::ExitStatus,
    out: Vec<u8>,
    err: Vec<u8>,
}

async fn converse(child: &mut Child, server: &str, program: &str) -> Result<Said, HelperError> {
    let pipe = |cause| HelperError::Pipe {
        program: program.to_owned(),
        cause,
    };
    let (input, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let tell = async {
        if let Some(mut input) = input {
            // One that knows without being asked may be gone already.
            let _ = input.write_all(server.as_bytes()).await;
        }
    };
    let ((), out, err) = tokio::join!(tell, capped(out), capped(err));
    let (out, err) = (out.map_err(pipe)?, err.map_err(pipe)?);
    if out.len() as u64 > MAX_ANSWER {
        let program = program.to_owned();
        return Err(HelperError::TooLarge { program });
    }
    let status = child.wait().await.map_err(pipe)?;
    Ok(Said { status, out, err })
}

async fn capped(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(MAX_ANSWER + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn read(said: &Said, helper: &Helper, program: String) -> Result<Option<Credentials>, HelperError> {
    let out = String::from_utf8_lossy(&said.out);
    if !said.status.success() {
        if out.to_ascii_lowercase().contains("credentials not found") {
            return Ok(None);
        }
        let words = words(&out, &String::from_utf8_lossy(&said.err));
        let status = said.status;
        return Err(HelperError::Failed {
            program,
            status,
            words,
        });
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(&said.out) else {
        return Err(HelperError::Answer { program });
    };
    let source = format!("{program} for {}", helper.server);
    Ok(match (answer.username.as_str(), answer.secret) {
        ("", secret) if secret.is_empty() => None,
        (TOKEN, secret) => Some(Credentials::identity_token(secret, source)),
        (username, secret) => Some(Credentials::basic(username, secret, source)),
    })
}

/// The first line of what it said of its failure: by its protocol on standard output, else where programs do. Something
/// that looks like an answer is not shown.
fn words(out: &str, err: &str) -> String {
    let first = |text: &str| {
        let line = text.trim().lines().next().unwrap_or_default().to_owned();
        Some(line).filter(|line| !line.is_empty() && !line.contains(['{', '"']))
    };
    let shown = first(out).or_else(|| first(err)).unwrap_or_default();
    let clean: String = shown
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_SHOWN)
        .collect();
    if clean.is_empty() {
        clean
    } else {
        format!(": {clean}")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn helper() -> Helper {
        Helper {
            name: "x".parse().unwrap(),
            server: "r.example".into(),
        }
    }

    fn answered(code: i32, out: &str, err: &str) -> Result<Option<Credentials>, String> {
        let said = Said {
            status: std::process::ExitStatus::from_raw(code << 8),
            out: out.into(),
            err: err.into(),
        };
        read(&said, &helper(), helper().name.program()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_is_a_password_or_an_identity_token_or_nothing() {
        let source = "docker-credential-x for r.example";
        let json = r#"{"ServerURL":"r.example","Username":"u","Secret":"p"}"#;
        assert_eq!(
            answered(0, json, ""),
            Ok(Some(Credentials::basic("u", "p", source)))
        );
        let token = r#"{"Username":"<token>","Secret":"t"}"#;
        assert_eq!(
            answered(0, token, ""),
            Ok(Some(Credentials::identity_token("t", source)))
        );
        assert_eq!(answered(0, r#"{"Username":"","Secret":""}"#, ""), Ok(None));
        let unknown = "credentials not found in native keychain\n";
        assert_eq!(answered(1, unknown, ""), Ok(None));
    }

    #[test]
    fn what_is_no_answer_is_not_shown() {
        for out in [
            "",
            "canary",
            "[]",
            r#"{"Username":"canary"}"#,
            r#"{"Username":7,"Secret":"canary"}"#,
        ] {
            let error = answered(0, out, "").unwrap_err();
            assert!(
                error.contains("docker-credential-x") && !error.contains("canary"),
                "{error}"
            );
        }
        let error = answered(
            1,
            r#"{"Username":"u","Secret":"canary"}"#,
            "locked\x1b[2J\nmore",
        );
        let error = error.unwrap_err();
        assert!(
            error.ends_with("failed (exit status: 1): locked [2J"),
            "{error}"
        );
    }

    /// Runs a shell script as the helper.
    async fn run(script: &str, after: Duration) -> Result<Option<Credentials>, HelperError> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker-credential-x");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        ask_within(path.display().to_string(), &helper(), after).await
    }

    #[tokio::test]
    async fn a_helper_is_told_the_server_and_that_it_shall_get() {
        let script = r#"read -r server; printf '{"Username":"%s","Secret":"%s"}' "$1" "$server""#;
        let got = run(script, PATIENCE).await.unwrap().unwrap();
        let expected = Credentials::basic("get", "r.example", got.source().unwrap());
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn a_helper_that_never_answers_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("echo $$ >{}; exec sleep 600", pid.display());
        // Long enough for the script to write its number on a busy machine; the answer never comes, whatever it is.
        let error = run(&script, Duration::from_secs(2)).await.unwrap_err();
        assert!(matches!(error, HelperError::Timeout { .. }), "{error}");
        let pid = std::fs::read_to_string(&pid).unwrap();
        let is_running = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        for _ in 0..1000 {
            if !is_running() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the helper is still running");
    }

    #[tokio::test]
    async fn a_helper_that_says_too_much_or_reads_nothing_is_told_of() {
        let error = run("exec cat /dev/zero", PATIENCE).await.unwrap_err();
        assert!(matches!(error, HelperError::TooLarge { .. }), "{error}");
        let error = run("exec <&-; echo 'no such vault'; exit 3", PATIENCE).await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.ends_with("failed (exit status: 3): no such vault"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let mut helper = helper();
        helper.name = "wharf-has-no-such-helper".parse().unwrap();
        let error = ask(&helper).await.unwrap_err().to_string();
        assert!(
            error.contains("docker-credential-wharf-has-no-such-helper could not be run"),
            "{error}"
        );
    }
}
