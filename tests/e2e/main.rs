// SPDX-License-Identifier: Apache-2.0
//! End to end: the real `wharf` against a real API server, etcd, registries and kustomize-controller.
//!
//! One binary, one environment: the servers are started once, by the first test that needs them, and shared; each test
//! has a namespace (or a directory) and a `wharf` of its own. `make tools` builds the servers. A line per module says
//! what belongs there.

#![cfg(test)]

/// The shared servers.
mod env;
/// Objects to apply, and what is read of them.
mod objects;
/// Pushing to a real registry without Wharf's help.
mod publish;
/// Where sources live: in a cluster, or in a directory. The same scenario runs in both.
mod world;

/// What is in an archive decides: what is refused, what is left out, what is served. In both worlds.
mod archives;
/// Which bytes are served: those of the layer, or the same ones on every machine.
mod bytes;
/// Certificates that people make by hand, secrets with the wrong keys, client certificates, `insecure`.
mod certificates;
/// What only a cluster has: columns, pruning, the schema's refusals, deletion of a namespace.
mod cluster;
/// The distribution-spec's assertions against the real registries, so that the scriptable one is proved.
mod conformance;
/// `kill -9` at random moments.
mod crash;
/// A real kustomize-controller applies what is served.
mod kustomize;
/// The life of a source: apply, follow, request, suspend, resume, delete. In both worlds.
mod lifecycle;
/// A registry that is down for long and comes back.
mod outage;
/// What the process does when it cannot start, or cannot write.
mod process;
/// Through a proxy, by `proxySecretRef` and by the environment.
mod proxy;
/// `wharf push` and `wharf pull` against the real registries.
mod push_pull;
/// A registry that is away, shows a wrong certificate, refuses or lies. In both worlds.
mod registry;
/// A range of versions instead of a tag. In both worlds.
mod semver;
/// The settings file of registries: mirrors, trust, proxies, bounds.
mod settings;
/// What cannot be acted on as it is written. In both worlds.
mod specs;
