#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes crds/ from the types: what `wharf crds` prints. The file is replaced only by a complete one.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

file=crds/source.toolkit.fluxcd.io_ocirepositories.yaml
trap 'rm -f "$file.new"' EXIT

cargo run --quiet --package wharf-api --example crds >"$file.new"
mv "$file.new" "$file"
