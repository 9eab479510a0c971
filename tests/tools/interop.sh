#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Provides the other clients and the other registry of `make interop`, beside what build.sh builds for `make test`:
#
#   regctl, crane             built from Go modules, by build.sh
#   skopeo, docker-registry   those on the PATH, or else Debian's packages, unpacked and not installed
#   oras-python               a Python that can import oras, in an environment of its own
#
# All go to ${WHARF_TOOLS:-<repository>/target/tools}/bin. One line a tool says what happened. Nothing is changed on
# the machine, and root is not needed. README.md in this folder says more.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${WHARF_TOOLS:-$here/../../target/tools}
debian_tools=(skopeo docker-registry)

main() {
  local tool foreign=()
  "$here/build.sh" registry referrers-registry regctl crane
  out=$(cd "$out" && pwd)
  exec 9>"$out/.lock"
  flock 9
  for tool in "${debian_tools[@]}"; do
    from_path "$tool" || foreign+=("$tool")
  done
  if [ ${#foreign[@]} -gt 0 ]; then
    cached "${foreign[@]}" || from_debian "${foreign[@]}"
  fi
  oras_python
}

# The PATH may change: a link is looked up again by each run.
from_path() {
  local tool=$1 found
  found=$(command -v "$tool") && [ "$found" != "$out/bin/$tool" ] || return 1
  ln -sfn "$found" "$out/bin/$tool"
  echo "$tool: taken from the PATH"
}

cached() {
  local tool
  for tool in "$@"; do
    [ ! -L "$out/bin/$tool" ] && "$out/bin/$tool" --version >/dev/null 2>&1 || return 1
  done
  printf '%s: cached\n' "$@"
}

# Fetched from the archive that apt knows, and checked by apt. The lists of packages are the machine's, where they are
# there and not too old, else fetched into a folder of ours, for which nobody needs to be root.
from_debian() {
  local started=$SECONDS tool package
  for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null ||
      fail "not found: $*; install skopeo and docker-registry (Debian and Ubuntu have packages of these names)"
  done
  apt=(apt-get -qq -o APT::Sandbox::User=root)
  download "$@" || { own_lists && download "$@"; } ||
    fail "apt could not fetch the packages: $*; install them so that they are on the PATH"
  for package in "$out"/.debian.new/packages/*.deb; do
    dpkg-deb -x "$package" "$out/.debian.new"
  done
  rm -r "$out/.debian.new/packages"
  rm -rf "$out/debian"
  mv "$out/.debian.new" "$out/debian"
  for tool in "$@"; do
    wrapper "$tool" "export LD_LIBRARY_PATH=$(libraries)" "$out/debian/usr/bin/$tool"
    echo "$tool: unpacked from Debian in $((SECONDS - started)) s"
  done
}

# The packages of these names, and the libraries they need which are not installed. What else Debian would install
# with them serves containers, not registries.
download() {
  local plan packages
  plan=$("${apt[@]}" install --simulate --no-install-recommends "$@" 2>/dev/null) || return 1
  mapfile -t packages < <(awk '$1 == "Inst" && $2 ~ /^lib/ { print $2 }' <<<"$plan")
  rm -rf "$out/.debian.new"
  mkdir -p "$out/.debian.new/packages"
  (cd "$out/.debian.new/packages" && "${apt[@]}" download "$@" "${packages[@]}")
}

own_lists() {
  local state=$out/apt
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  apt+=(-o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache" -o Debug::NoLocking=1)
  "${apt[@]}" update
}

libraries() {
  find "$out/debian" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:
}

oras_python() {
  local started=$SECONDS environment=$out/oras-python stamp
  stamp=$(cat "$here/oras-python/requirements.txt" <(python3 --version 2>&1) | sha256sum | cut -d' ' -f1)
  if [ "$(cat "$out/stamps/oras-python" 2>/dev/null)" = "$stamp" ] &&
    "$out/bin/oras-python" -c 'import oras' 2>/dev/null; then
    echo "oras-python: cached"
    return
  fi
  rm -rf "$environment" "$out/stamps/oras-python"
  python3 -m venv "$environment" || fail "python3 makes no virtual environment; run: scripts/install-python.sh"
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r "$here/oras-python/requirements.txt" || fail "could not install oras from PyPI"
  wrapper oras-python "" "$environment/bin/python"
  echo "$stamp" >"$out/stamps/oras-python"
  echo "oras-python: installed in $((SECONDS - started)) s"
}

# A script and not a link: an environment of Python does not know itself through a link, and a library of Debian's has
# to be told to one program alone.
wrapper() {
  local tool=$1 before=$2 program=$3
  printf '#!/bin/sh\n%s\nexec "%s" "$@"\n' "$before" "$program" >"$out/bin/.$tool.new"
  chmod +x "$out/bin/.$tool.new"
  mv -f "$out/bin/.$tool.new" "$out/bin/$tool"
}

fail() {
  echo "interop.sh: $*" >&2
  exit 1
}

main "$@"
