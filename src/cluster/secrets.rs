// SPDX-License-Identifier: Apache-2.0
//! Secrets, read with `get` when they are needed and kept nowhere: the controller's role needs neither list nor watch.

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::core::v1;
use kube::{Api, Client};

use super::answered;
use crate::ports::{PortError, Secret, SecretReader};

pub(super) struct Secrets {
    client: Client,
}

impl Secrets {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl SecretReader for Secrets {
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Secret, PortError>> {
        async move {
            let api: Api<v1::Secret> = Api::namespaced(self.client.clone(), namespace);
            let what = format!("secret {namespace}/{name}");
            let secret = answered(what, api.get(name)).await?;
            let data = secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key, value.0))
                .collect();
            Ok(Secret {
                kind: secret.type_.unwrap_or_default(),
                data,
            })
        }
        .boxed()
    }
}
