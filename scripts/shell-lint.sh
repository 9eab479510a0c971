#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks the shell scripts: their syntax always, their habits where shellcheck is installed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

mapfile -t scripts < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)

for script in "${scripts[@]}"; do
  bash -n "$script"
done
if command -v shellcheck >/dev/null; then
  shellcheck "${scripts[@]}"
  echo "${#scripts[@]} shell scripts: syntax and shellcheck pass"
else
  echo "${#scripts[@]} shell scripts: syntax passes; NOT CHECKED with shellcheck, which is not installed"
fi
