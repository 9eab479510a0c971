#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the real servers, clients and libraries that the tests run against.
#
#   build.sh [tool ...]     default: everything that `make test` needs
#
# The binaries go to ${WHARF_TOOLS:-<repository>/target/tools}/bin, the custom
# resource definitions (the tool named "crds") to .../crds. One line a tool says
# what happened. A tool is built again only when its module or its recipe below
# changed. README.md in this folder says what is built from what, and why.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${WHARF_TOOLS:-$here/../../target/tools}

default_tools=(etcd kube-apiserver kubectl kube-controller-manager
  registry referrers-registry semver-oracle kustomize-controller crds)
optional_tools=(source-controller regctl crane)

# What KUBEBUILDER_ASSETS holds by convention: all three or none are taken.
asset_tools=(kube-apiserver etcd kubectl)

main() {
  local tool
  local tools=("$@")
  if [ ${#tools[@]} -eq 0 ]; then
    tools=("${default_tools[@]}")
  fi
  for tool in "${tools[@]}"; do
    contains "$tool" "${default_tools[@]}" "${optional_tools[@]}" ||
      fail "unknown tool \"$tool\"; known: ${default_tools[*]} ${optional_tools[*]}"
  done

  mkdir -p "$out/bin" "$out/stamps"
  out=$(cd "$out" && pwd)
  lock
  for tool in "${tools[@]}"; do
    provide "$tool"
  done
}

# One run at a time may write to the folder. The lock goes with the process, so
# a killed run leaves nothing to clean up.
lock() {
  command -v flock >/dev/null || fail "flock is not installed; install util-linux"
  exec 9>"$out/.lock"
  flock -n 9 && return
  echo "waiting for another run that builds into $out"
  flock 9
}

provide() {
  local tool=$1 stamp started verb=built
  if is_asset "$tool"; then
    ln -sfn "$(cd "$KUBEBUILDER_ASSETS" && pwd)/$tool" "$out/bin/$tool"
    rm -f "$out/stamps/$tool"
    echo "$tool: taken from KUBEBUILDER_ASSETS"
    return
  fi

  recipe "$tool"
  stamp=$(fingerprint)
  if is_current "$tool" "$stamp"; then
    echo "$tool: cached"
    return
  fi

  check_go
  started=$SECONDS
  rm -f "$out/stamps/$tool"
  if [ "$tool" = crds ]; then
    verb=copied
    copy_crds
  else
    build "$tool"
  fi
  echo "$stamp" >"$out/stamps/$tool"
  echo "$tool: $verb in $((SECONDS - started)) s"
}

# Sets modules (folders here, the first is built in), package, versioned (the
# Go module whose version the binary has to report, or empty) and variables
# (linker variables, in which VERSION, MAJOR and MINOR are filled in).
recipe() {
  local kube=k8s.io/component-base/version
  local distribution=github.com/distribution/distribution/v3
  versioned='' variables='' package=''
  case $1 in
    kube-apiserver | kube-controller-manager | kubectl)
      modules=(kubernetes)
      package=k8s.io/kubernetes/cmd/$1
      versioned=k8s.io/kubernetes
      variables="$kube.gitVersion=VERSION $kube.gitMajor=MAJOR $kube.gitMinor=MINOR $kube.gitTreeState=clean"
      ;;
    etcd)
      modules=(etcd)
      package=go.etcd.io/etcd/server/v3
      ;;
    registry)
      modules=(distribution)
      package=$distribution/cmd/registry
      versioned=$distribution
      variables=$distribution/version.version=VERSION
      ;;
    referrers-registry | semver-oracle)
      modules=("$1")
      package=.
      ;;
    kustomize-controller | source-controller)
      modules=("$1")
      package=github.com/fluxcd/$1
      ;;
    regctl)
      modules=(regctl)
      package=github.com/regclient/regclient/cmd/regctl
      ;;
    crane)
      modules=(crane)
      package=github.com/google/go-containerregistry/cmd/crane
      versioned=github.com/google/go-containerregistry
      variables=github.com/google/go-containerregistry/cmd/crane/cmd.Version=VERSION
      ;;
    crds)
      modules=(kustomize-controller source-controller)
      ;;
  esac
}

# Everything that decides what comes out, in one word.
fingerprint() {
  local module file
  {
    echo "$package $versioned $variables"
    for module in "${modules[@]}"; do
      for file in go.mod go.sum main.go; do
        if [ -f "$here/$module/$file" ]; then
          cat "$here/$module/$file"
        fi
      done
    done
  } | sha256sum | cut -d' ' -f1
}

is_current() {
  local tool=$1 stamp=$2 result=$out/bin/$1
  if [ "$tool" = crds ]; then
    result=$out/crds
  fi
  [ -e "$result" ] && [ ! -L "$result" ] && [ "$(cat "$out/stamps/$tool" 2>/dev/null)" = "$stamp" ]
}

# The new binary takes the old one's place in one step, so that a test that runs
# meanwhile sees either of them, whole.
build() {
  local tool=$1 flags='-s -w' variable
  for variable in $(linker_variables); do
    flags+=" -X $variable"
  done
  (cd "$here/${modules[0]}" && go_ build -trimpath -ldflags "$flags" -o "$out/bin/.$tool.new" "$package")
  mv -f "$out/bin/.$tool.new" "$out/bin/$tool"
}

linker_variables() {
  local version major minor
  if [ -z "$versioned" ]; then
    return
  fi
  version=$(cd "$here/${modules[0]}" && go_ list -m -f '{{.Version}}' "$versioned")
  IFS=. read -r major minor _ <<<"${version#v}"
  echo "$variables" | sed "s/VERSION/$version/g; s/MAJOR/$major/g; s/MINOR/$minor/g"
}

# The definitions that kustomize-controller needs, as its authors publish them.
# Left out is OCIRepository, which is ours: applying the whole folder must never
# put another project's definition over it.
copy_crds() {
  local module
  rm -rf "$out/.crds.new"
  mkdir "$out/.crds.new"
  for module in "${modules[@]}"; do
    cp "$(module_folder "$module" "github.com/fluxcd/$module")"/config/crd/bases/*.yaml "$out/.crds.new/"
  done
  chmod -R u+w "$out/.crds.new"
  rm -f "$out/.crds.new/source.toolkit.fluxcd.io_ocirepositories.yaml"
  rm -rf "$out/crds"
  mv "$out/.crds.new" "$out/crds"
}

module_folder() {
  (cd "$here/$1" && go_ mod download "$2" && go_ list -m -f '{{.Dir}}' "$2")
}

# Static binaries, and nothing of the caller's Go settings that would change
# what is built.
go_() {
  CGO_ENABLED=0 GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' go "$@"
}

check_go() {
  local wanted
  wanted=$(awk '$1 == "go" { print $2 }' "$here/${modules[0]}/go.mod")
  command -v go >/dev/null ||
    fail "go is not installed, and the test servers are built with it; install Go $wanted or later"
  (cd "$here/${modules[0]}" && go_ list -m >/dev/null) ||
    fail "this Go does not build the test servers; install Go $wanted or later"
}

is_asset() {
  local tool
  [ -n "${KUBEBUILDER_ASSETS:-}" ] && contains "$1" "${asset_tools[@]}" || return 1
  for tool in "${asset_tools[@]}"; do
    [ -x "$KUBEBUILDER_ASSETS/$tool" ] || return 1
  done
}

contains() {
  local wanted=$1 candidate
  shift
  for candidate in "$@"; do
    [ "$candidate" != "$wanted" ] || return 0
  done
  return 1
}

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

main "$@"
