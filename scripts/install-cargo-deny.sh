#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs cargo-deny, at the version that deny.toml is written for, into target/cargo-tools, where the Makefile looks
# for it. Does nothing when that version is there already, in that folder or on the PATH.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.20.2
export PATH="$PWD/target/cargo-tools/bin:$PATH"

if [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $version" ]; then
  echo "cargo-deny $version is there"
  exit 0
fi
cargo install --quiet --locked --root target/cargo-tools "cargo-deny@$version"
echo "cargo-deny $version installed in target/cargo-tools"
