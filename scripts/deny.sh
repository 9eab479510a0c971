#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks the dependencies against deny.toml. Known vulnerabilities are in a database on GitHub: where that cannot be
# fetched the rest is still checked, and the last line says what was not.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo deny --all-features check bans licenses sources

if timeout 120 cargo deny fetch db >/dev/null 2>&1; then
  cargo deny --all-features check --disable-fetch advisories
else
  echo "NOT CHECKED: known vulnerabilities; the RustSec database could not be fetched."
  echo "Where the network reaches GitHub, run: cargo deny check advisories"
fi
