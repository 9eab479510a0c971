// SPDX-License-Identifier: Apache-2.0
//! Wharf against other clients, on real registries: what one pushes, the other reads.
//!
//! `make interop` provides clients and registries (`tests/tools/interop.sh`) and `wharf`, and shows the matrix. Each cell
//! has a repository of its own and compares bytes: those of the manifest, of the layer, and of the files in it.

#![cfg(test)]

/// The other clients: `regctl`, `crane`, `skopeo`, `oci-client`, the Python library `oras`.
mod clients;
/// Running a program of somebody else's.
mod command;
/// The files that travel.
mod content;
/// The cells, and the table made of them.
mod matrix;
/// The registries, and how each is reached.
mod places;
/// `wharf` and its library.
mod wharf;

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::print_stdout,
    reason = "the table is what this suite is run for"
)]
async fn wharf_and_every_other_client_read_what_the_other_pushed() {
    let places = Box::pin(places::start()).await;
    let matrix = matrix::Matrix::fill(places).await;
    println!("{matrix}");
    let failures = matrix.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
