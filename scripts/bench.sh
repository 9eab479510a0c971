#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Measures the release build against real servers: see benches/sources.rs. SOURCES and RUNS change the size.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec cargo bench --locked --bench sources
