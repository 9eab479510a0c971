#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs Python with its module venv, from the packages of Debian or Ubuntu. Does nothing when both are there.
set -euo pipefail

if python3 -c 'import ensurepip, venv' 2>/dev/null; then
  python3 --version
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "install-python.sh: this is neither Debian nor Ubuntu; install Python 3.10 or later with its module venv" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  sudo=(sudo)
fi
"${sudo[@]}" apt-get -qq update
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends python3 python3-venv
python3 --version
