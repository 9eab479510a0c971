#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs `cargo test` with the given arguments, all of it even when something fails, and adds up the results.
# The last line is "N passed, N failed, N skipped"; the exit status is cargo's. A run without a single test fails:
# it checked nothing.
set -euo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT

status=0
cargo test --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

summary=$(awk '
  /^test result: / { passed += $4; failed += $6; skipped += $8 }
  END { printf "%d passed, %d failed, %d skipped", passed, failed, skipped }
' "$log")

if [ "$status" -eq 0 ] && [[ $summary == "0 passed, "* ]]; then
  echo "no test matched: cargo test $*" >&2
  status=1
fi
echo
echo "$summary"
exit "$status"
