#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks that the named prerequisites are there, and for each that is not, says how to get it.
#
#   need.sh cargo cc openssl
set -euo pipefail

missing=0

main() {
  local need
  for need in "$@"; do
    check "$need"
  done
  exit "$missing"
}

check() {
  case $1 in
    cargo) program cargo "install Rust from https://rustup.rs; rust-toolchain.toml picks the version" ;;
    cc) program "${CC:-cc}" "install a C compiler (Debian: apt-get install gcc), or name one in CC" ;;
    go) program go "install Go 1.26 or later from https://go.dev/dl" ;;
    openssl) program openssl "install openssl (Debian: apt-get install openssl)" ;;
    flock) program flock "install util-linux (Debian: apt-get install util-linux)" ;;
    python3) program python3 "install Python 3.10 or later; on Debian, run: scripts/install-python.sh" ;;
    tar) program tar "install tar (Debian: apt-get install tar)" ;;
    strace) program strace "install strace (Debian: apt-get install strace)" ;;
    cargo-deny) program cargo-deny "run: scripts/install-cargo-deny.sh" ;;
    ip) program ip "install iproute2 (Debian: apt-get install iproute2)" ;;
    unshare) program unshare "install util-linux (Debian: apt-get install util-linux)" ;;
    root) [ "$(id -u)" -eq 0 ] || lacking root "run it as root" ;;
    *) lacking "$1" "scripts/need.sh does not know it; add a line there" ;;
  esac
}

program() {
  command -v "$1" >/dev/null || lacking "$1" "$2"
}

lacking() {
  echo "missing: $1; $2" >&2
  missing=1
}

main "$@"
