// SPDX-License-Identifier: Apache-2.0
//! Every registry with every client in both directions, and what came of it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;
use wharf_test_support::registry::sha256;
use wharf_test_support::servers::Grant;

use crate::clients::{Artifact, Client};
use crate::places::Place;
use crate::{content, wharf};

/// The widths of the table's columns.
const FIRST: usize = 36;
const WIDTH: usize = 12;

/// Who pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// Wharf pushes, the other client pulls.
    FromWharf,
    /// The other client pushes, Wharf pulls.
    ToWharf,
}

/// What came of it.
enum Outcome {
    Works,
    Failed(String),
}

struct Cell {
    /// The place's rank and name.
    place: (usize, &'static str),
    direction: Direction,
    client: Client,
    outcome: Outcome,
}

/// The cells, filled, in the order of the table.
pub(crate) struct Matrix {
    cells: Vec<Cell>,
    versions: Vec<String>,
}

impl Matrix {
    /// Tries everything; the registries beside one another.
    pub(crate) async fn fill(places: Vec<Place>) -> Self {
        let mut versions = Vec::new();
        for client in Client::ALL {
            versions.push(client.version().await);
        }
        let mut rows = JoinSet::new();
        for (rank, place) in places.into_iter().enumerate() {
            rows.spawn(row(rank, Arc::new(place)));
        }
        let mut cells: Vec<Cell> = rows.join_all().await.into_iter().flatten().collect();
        cells.sort_by_key(|cell| (cell.place.0, cell.direction, cell.client));
        Self { cells, versions }
    }

    /// What went wrong, each with where.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = self.cells.iter().filter_map(|cell| match &cell.outcome {
            Outcome::Failed(reason) => Some(format!(
                "{}, {}, {}: {reason}",
                cell.place.1,
                cell.client.name(),
                cell.direction
            )),
            Outcome::Works => None,
        });
        failed.collect()
    }
}

async fn row(rank: usize, place: Arc<Place>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for direction in [Direction::FromWharf, Direction::ToWharf] {
        for client in Client::ALL {
            cells.push(Cell {
                place: (rank, place.name),
                direction,
                client,
                outcome: outcome(&place, direction, client, rank).await,
            });
        }
    }
    cells
}

async fn outcome(place: &Place, direction: Direction, client: Client, rank: usize) -> Outcome {
    let seed = (rank * 10 + client as usize) as u64;
    let tried = match direction {
        Direction::FromWharf => from_wharf(place, client, seed).await,
        Direction::ToWharf => to_wharf(place, client, seed + 1000).await,
    };
    tried.map_or_else(Outcome::Failed, |()| Outcome::Works)
}

async fn from_wharf(place: &Place, client: Client, seed: u64) -> Result<(), String> {
    let artifact = Artifact::new(&format!("interop/from-wharf/{}", client.name()), "1.0.0");
    let work = place.folder(&format!("from-wharf-{}", client.name()));
    let source = work.join("source");
    content::make(&source, seed);
    let pushed = wharf::push(place, &artifact, &source).await?;
    with_token(place, "wharf", Grant::Basic)?;

    let pulled = client.pull(place, &artifact, &work).await?;
    with_token(place, client.name(), client.grant())?;
    same("manifest", &sha256(&pulled.manifest), &pushed.manifest)?;
    same("layer", &sha256(&pulled.layer), &pushed.layer)?;
    let unpacked = content::unpack(&pulled.layer, &work).await?;
    same_files(&unpacked, &content::files(&source))
}

async fn to_wharf(place: &Place, client: Client, seed: u64) -> Result<(), String> {
    let artifact = Artifact::new(&format!("interop/to-wharf/{}", client.name()), "1.0.0");
    let work = place.folder(&format!("to-wharf-{}", client.name()));
    let (source, archive) = (work.join("source"), work.join("content.tgz"));
    content::make(&source, seed);
    content::pack(&source, &archive).await?;
    let digest = client.push(place, &artifact, &archive, &work).await?;
    with_token(place, client.name(), client.grant())?;

    let found = wharf::find(place, &artifact, &work).await?;
    with_token(place, "wharf-oci", Grant::Basic)?;
    same("manifest", &found.digest, &digest)?;
    let layer = std::fs::read(&archive).unwrap();
    same("layer", &sha256(&found.layer), &sha256(&layer))?;
    let target = work.join("target");
    wharf::pull(place, &artifact, &target, &work).await?;
    with_token(place, "wharf", Grant::Basic)?;
    same_files(&content::files(&target), &content::files(&source))
}

/// Where tokens are needed, whoever came in must have got one, in this way and no other.
fn with_token(place: &Place, who: &str, expected: Grant) -> Result<(), String> {
    let Some(grants) = place.grants() else {
        return Ok(());
    };
    let as_expected = !grants.is_empty() && grants.iter().all(|grant| *grant == expected);
    let told = || format!("{who} got tokens by {grants:?} and not by {expected:?}");
    as_expected.then_some(()).ok_or_else(told)
}

fn same(what: &str, got: &str, expected: &str) -> Result<(), String> {
    let differs = || format!("the {what} is {got}, pushed was {expected}");
    (got == expected && got.starts_with("sha256:"))
        .then_some(())
        .ok_or_else(differs)
}

fn same_files(got: &content::Files, expected: &content::Files) -> Result<(), String> {
    let names: BTreeSet<_> = got.keys().chain(expected.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| got.get(*name) != expected.get(*name));
    let differ: Vec<_> = differ.collect();
    let told = || format!("these files are not as they were packed: {differ:?}");
    differ.is_empty().then_some(()).ok_or_else(told)
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FromWharf => "pushed by wharf, pulled by",
            Self::ToWharf => "pulled by wharf, pushed by",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Works => "ok",
            Self::Failed(_) => "FAILED",
        })
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{:FIRST$}", "")?;
        for client in Client::ALL {
            write!(f, "{:WIDTH$}", client.name())?;
        }
        write!(f, "\n{:FIRST$}", "")?;
        for version in &self.versions {
            write!(f, "{version:WIDTH$}")?;
        }
        for row in self.cells.chunks(Client::ALL.len()) {
            if row[0].direction == Direction::FromWharf {
                write!(f, "\n{}", row[0].place.1)?;
            }
            write!(f, "\n  {:1$}", row[0].direction.to_string(), FIRST - 2)?;
            for cell in row {
                write!(f, "{:WIDTH$}", cell.outcome.to_string())?;
            }
        }
        let (cells, failed) = (self.cells.len(), self.failures().len());
        write!(
            f,
            "\ninterop: {cells} cells, {} work, {failed} failed",
            cells - failed
        )
    }
}
