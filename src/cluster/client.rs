// SPDX-License-Identifier: Apache-2.0
//! The client of the API server: from a kubeconfig, or from the pod's service account.

use std::{path::Path, time::Duration};

use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// How long a connection may take. A watch that is open is not bounded by it.
const CONNECT: Duration = Duration::from_secs(10);
/// How long silence may last; longer than the five minutes after which the API server ends a watch. Other requests
/// have a deadline of their own.
const READ: Duration = Duration::from_secs(305);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("kubeconfig {path} cannot be used")]
    Kubeconfig {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: KubeconfigError,
    },
    /// None was named, and neither a kubeconfig nor a service account was found.
    #[error(
        "no API server: give --kubeconfig, set KUBECONFIG, or run in a pod with a service account"
    )]
    Nowhere(#[source] kube::config::InferConfigError),
    /// The client cannot be made of what the configuration says.
    #[error("the API server's configuration cannot be used")]
    Client(#[source] kube::Error),
}

/// Makes a client. It connects when it is first used.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::infer().await.map_err(ConnectError::Nowhere)?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    let agent = HeaderValue::from_static(concat!("wharf/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    Client::try_from(config).map_err(ConnectError::Client)
}

async fn from_file(path: &Path) -> Result<Config, ConnectError> {
    let failed = |source| ConnectError::Kubeconfig {
        path: path.display().to_string(),
        source,
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(failed)
}
