// SPDX-License-Identifier: Apache-2.0
//! The credentials of the person at the command line: those that `docker login` and `podman login` left.
//!
//! Enters as the environment; leaves as the [`Credentials`] for a repository, from the first file that has some. The only
//! place of this program that runs credential helpers: the files are those of the person who runs it. A controller has no
//! keychain, and what it reads from Secrets runs nothing.

mod helper;

use std::{ffi::OsString, path::PathBuf};

use wharf_oci::{
    Repository,
    registry::{Credentials, DockerConfig},
};

use super::{Failure, output, registry::read_capped};

/// A Docker config file is small; one that is not is none.
const MAX_CONFIG: u64 = 1 << 20;

/// Where credentials are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keychain {
    files: Vec<PathBuf>,
    /// What a variable names: somebody means that it is there.
    named: Vec<(&'static str, PathBuf)>,
}

impl Keychain {
    /// The files of whoever runs this.
    pub(super) fn of_environment() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    /// In this order: Docker's (`$DOCKER_CONFIG/config.json`, or that in `~/.docker`), `$REGISTRY_AUTH_FILE`, and Podman's
    /// (in `$XDG_RUNTIME_DIR/containers`, then in `$XDG_CONFIG_HOME/containers` or `~/.config/containers`).
    fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| {
            variable(name)
                .filter(|text| !text.is_empty())
                .map(PathBuf::from)
        };
        let home = path("HOME");
        let at_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let named = ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE"];
        let named = named.map(|name| path(name).map(|path| (name, path)));
        let docker = path("DOCKER_CONFIG").or_else(|| at_home(".docker"));
        let runtime = path("XDG_RUNTIME_DIR");
        let config = path("XDG_CONFIG_HOME").or_else(|| at_home(".config"));
        let podman = [runtime, config]
            .into_iter()
            .map(|directory| directory.map(|directory| directory.join("containers/auth.json")));
        let files = [
            docker.map(|directory| directory.join("config.json")),
            path("REGISTRY_AUTH_FILE"),
        ];
        Self {
            files: files.into_iter().chain(podman).flatten().collect(),
            named: named.into_iter().flatten().collect(),
        }
    }

    /// What variables name and what is not there. Docker says nothing about it and Podman refuses to work: a line is enough
    /// for who expected credentials, and stops nobody who wants none.
    fn missing(&self) -> impl Iterator<Item = String> {
        let named = self.named.iter();
        let missing = named.filter(|(_, path)| path.try_exists().is_ok_and(|exists| !exists));
        missing.map(|(name, path)| format!("{name}: {}: no such file or directory", path.display()))
    }

    /// The credentials for a repository; nobody in particular where no file has any.
    pub(super) async fn credentials_for(
        &self,
        repository: &Repository,
    ) -> Result<Credentials, Failure> {
        for missing in self.missing() {
            output::warn(&missing);
        }
        for path in self.files.iter().filter(|path| path.is_file()) {
            let shown = path.display().to_string();
            let config = DockerConfig::parse(&read_capped(path, MAX_CONFIG)?, &shown)
                .map_err(|error| Failure::new(format!("{shown} cannot be used"), error))?;
            let found = from_file(&config, repository)
                .await
                .map_err(|error| Failure::new(format!("{shown} cannot be used"), error))?;
            if found != Credentials::Anonymous {
                return Ok(found);
            }
        }
        Ok(Credentials::Anonymous)
    }
}

/// What the helper of the host knows, else what stands in the file.
async fn from_file(
    config: &DockerConfig,
    repository: &Repository,
) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
    if let Some(helper) = config.helper_for(repository)?
        && let Some(credentials) = helper::ask(&helper).await?
    {
        return Ok(credentials);
    }
    Ok(config.credentials_for(repository))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(variables: &[(&str, &str)]) -> Vec<String> {
        let keychain = Keychain::new(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.into())
        });
        let shown = keychain.files.iter().map(|path| path.display().to_string());
        shown.collect()
    }

    #[test]
    fn files_are_looked_for_where_docker_and_podman_leave_them() {
        assert_eq!(
            files(&[("HOME", "/h")]),
            ["/h/.docker/config.json", "/h/.config/containers/auth.json"]
        );
        let all = [
            ("HOME", "/h"),
            ("DOCKER_CONFIG", "/d"),
            ("REGISTRY_AUTH_FILE", "/r/auth.json"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("XDG_CONFIG_HOME", "/c"),
        ];
        assert_eq!(
            files(&all),
            [
                "/d/config.json",
                "/r/auth.json",
                "/run/user/1/containers/auth.json",
                "/c/containers/auth.json"
            ]
        );
        assert!(files(&[("HOME", "")]).is_empty());
    }
}
