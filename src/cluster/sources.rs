// SPDX-License-Identifier: Apache-2.0
//! The sources in memory, and the question whether one that is not there is gone.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use futures::{FutureExt, future::BoxFuture};
use kube::{Api, Client, api::ListParams};
use wharf_api::v1::OCIRepository;

use super::answered;
use crate::{
    ports::{PortError, SourceReader},
    source::{SourceId, spec::id_of},
};

/// Which objects are ours.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only objects with these labels.
    pub labels: Option<String>,
}

impl Scope {
    pub(super) fn api<K>(&self, client: Client) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

/// The objects that the watch has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache(Arc<RwLock<HashMap<SourceId, Arc<OCIRepository>>>>);

impl Cache {
    pub(super) fn find(&self, id: &SourceId) -> Option<Arc<OCIRepository>> {
        self.read().get(id).cloned()
    }

    pub(super) fn insert(&self, source: OCIRepository) {
        self.write().insert(id_of(&source), Arc::new(source));
    }

    pub(super) fn remove(&self, id: &SourceId) {
        self.write().remove(id);
    }

    pub(super) fn ids(&self) -> Vec<SourceId> {
        self.read().keys().cloned().collect()
    }

    /// Takes the object as our own write left it, unless the watch has brought another state meanwhile.
    pub(super) fn advance(&self, before: &OCIRepository, after: &Arc<OCIRepository>) {
        let mut objects = self.write();
        if let Some(cached) = objects.get_mut(&id_of(after))
            && cached.metadata.resource_version == before.metadata.resource_version
        {
            *cached = Arc::clone(after);
        }
    }

    // Every change is one operation on the map, so a poisoned one is whole.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<SourceId, Arc<OCIRepository>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<SourceId, Arc<OCIRepository>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The object without what nobody here reads: the managers of its fields, and the copy of it that kubectl keeps inside.
pub(super) fn lean(mut source: OCIRepository) -> OCIRepository {
    source.metadata.managed_fields = None;
    if let Some(annotations) = &mut source.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    source
}

/// Reads sources from the cache; asks the API server before it calls one gone.
pub(super) struct Sources {
    client: Client,
    cache: Cache,
    scope: Scope,
}

impl Sources {
    pub(super) fn new(client: Client, cache: Cache, scope: Scope) -> Self {
        Self {
            client,
            cache,
            scope,
        }
    }

    /// A cache can be behind; the API server is not.
    async fn confirm(&self, id: &SourceId) -> Result<Option<Arc<OCIRepository>>, PortError> {
        let is_in_scope = |namespace: &String| *namespace == id.namespace;
        if !self.scope.namespace.as_ref().is_none_or(is_in_scope) {
            let what = format!("OCIRepository {id}");
            return Err(PortError::NotOurs { what });
        }
        let api: Api<OCIRepository> = Api::namespaced(self.client.clone(), &id.namespace);
        let what = || format!("OCIRepository {id}");
        let Some(object) = answered(what(), api.get_opt(&id.name)).await? else {
            return Ok(None);
        };
        let is_ours = answered(what(), self.matches_labels(&api, id)).await?;
        if is_ours {
            Ok(Some(Arc::new(lean(object))))
        } else {
            Err(PortError::NotOurs { what: what() })
        }
    }

    /// The API server evaluates selectors; a second implementation of them here could differ.
    async fn matches_labels(
        &self,
        api: &Api<OCIRepository>,
        id: &SourceId,
    ) -> Result<bool, kube::Error> {
        let Some(labels) = &self.scope.labels else {
            return Ok(true);
        };
        let named = ListParams::default()
            .labels(labels)
            .fields(&format!("metadata.name={}", id.name));
        Ok(!api.list_metadata(&named).await?.items.is_empty())
    }
}

impl SourceReader for Sources {
    fn read<'a>(
        &'a self,
        id: &'a SourceId,
    ) -> BoxFuture<'a, Result<Option<Arc<OCIRepository>>, PortError>> {
        async move {
            match self.cache.find(id) {
                Some(source) => Ok(Some(source)),
                None => self.confirm(id).await,
            }
        }
        .boxed()
    }
}
