// SPDX-License-Identifier: Apache-2.0
//! Tests of the whole program that need no server of somebody else: one binary, a line per module.

#![cfg(test)]

/// What the command line does with Argo CD's proxy and `insecure`.
mod argocd;
/// The command line as people and scripts meet it.
mod cli;
/// Where the command line finds credentials, and where nobody looks for them.
mod credentials;
/// The flags for what may be reached.
mod egress;
/// The import table of ARCHITECTURE.md.
mod imports;
/// What typical mistakes are told in.
mod mistakes;
/// What is lost on disk is made again.
mod recovery;
/// The settings file of registries, through the command line.
mod registries_config;
