#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs one suite: the test binary tests/NAME. Says so when there is none yet.
#
#   suite.sh root
set -euo pipefail

name=${1:?usage: suite.sh NAME}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ ! -e "tests/$name/main.rs" ]; then
  echo "no $name suites yet"
  exit 0
fi
exec scripts/cargo-test.sh --test "$name"
