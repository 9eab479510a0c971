// SPDX-License-Identifier: Apache-2.0
//! Status, written as one merge patch that the API server refuses when the object is no longer the one that was read.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use wharf_api::v1::{OCIRepository, OCIRepositoryStatus};

use super::{patch, port_error, sources::Cache};
use crate::{
    ports::{PortError, StatusWriter},
    source::spec::id_of,
};

/// Under which name our fields are recorded.
const FIELD_MANAGER: &str = "wharf";

pub(super) struct Status {
    client: Client,
    cache: Cache,
}

impl Status {
    pub(super) fn new(client: Client, cache: Cache) -> Self {
        Self { client, cache }
    }

    async fn patch(
        &self,
        source: &OCIRepository,
        body: &Value,
    ) -> Result<Arc<OCIRepository>, PortError> {
        let id = id_of(source);
        let api: Api<OCIRepository> = Api::namespaced(self.client.clone(), &id.namespace);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let mut after = api
            .patch_status(&id.name, &params, &Patch::Merge(body))
            .await
            .map_err(|error| port_error(format_args!("status of OCIRepository {id}"), error))?;
        after.metadata.managed_fields = None;
        let after = Arc::new(after);
        self.cache.advance(source, &after);
        Ok(after)
    }
}

impl StatusWriter for Status {
    fn write<'a>(
        &'a self,
        source: &'a OCIRepository,
        status: &'a OCIRepositoryStatus,
    ) -> BoxFuture<'a, Result<Arc<OCIRepository>, PortError>> {
        async move {
            match body(source, status).map_err(|error| PortError::Other {
                what: format!("status of OCIRepository {}", id_of(source)),
                source: Box::new(error),
            })? {
                Some(body) => self.patch(source, &body).await,
                None => Ok(Arc::new(source.clone())),
            }
        }
        .boxed()
    }
}

/// The patch with its lock: the resource version and the uid that were read. `None` when nothing changed.
fn body(
    source: &OCIRepository,
    status: &OCIRepositoryStatus,
) -> Result<Option<Value>, serde_json::Error> {
    let before = source
        .status
        .as_ref()
        .map(serde_json::to_value)
        .transpose()?
        .unwrap_or_else(|| json!({}));
    let patch = patch::between(&before, &serde_json::to_value(status)?);
    let lock =
        json!({"resourceVersion": source.metadata.resource_version, "uid": source.metadata.uid});
    Ok(patch.map(|status| json!({"metadata": lock, "status": status})))
}
