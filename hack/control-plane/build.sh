#!/usr/bin/env bash
# Builds the pinned test control plane (kube-apiserver, kube-controller-manager, kubectl, etcd, helm) from Go
# modules with the ordinary Go client, and prints the folder that holds the binaries.
#
# The binaries live in a user cache keyed by a hash of the pins, not in the checkout: a fresh clone with the same
# pins starts at once. KUBEBUILDER_ASSETS, when set, is used instead and nothing is built.
#
#   hack/control-plane/build.sh           build what is missing, print the folder
#   hack/control-plane/build.sh --where   print the folder that would be used, build nothing
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -n "${KUBEBUILDER_ASSETS:-}" ]]; then
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

pins=$(cat "$here"/{kubernetes,etcd,helm}/go.{mod,sum} | sha256sum | cut -c1-16)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/cozystack-webhook/$pins"
if [[ "${1:-}" == "--where" ]]; then
  echo "$cache"
  exit 0
fi

# One builder at a time: two test runs that start together must not write the same files.
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9

build() { # <name of the binary> <module folder> <package> [linker flags]
  local binary=$1 module=$2 package=$3 flags="-s -w ${4:-}"
  [[ -x "$cache/$binary" ]] && return
  if ! command -v go >/dev/null; then
    echo "hack/control-plane: neither KUBEBUILDER_ASSETS nor a Go toolchain is there: $binary cannot be built" >&2
    exit 3
  fi
  echo "hack/control-plane: building $binary (minutes the first time, then cached in $cache)" >&2
  # Linked under another name and moved: an interrupted build leaves no half binary behind.
  CGO_ENABLED=0 go build -C "$here/$module" -mod=readonly -trimpath -buildvcs=false \
    -ldflags "$flags" -o "$cache/.$binary.tmp" "$package"
  mv "$cache/.$binary.tmp" "$cache/$binary"
}

# Without a version that parses, kubectl and helm refuse to talk to the server.
kubernetes=$(cd "$here/kubernetes" && sed -n 's|^require k8s.io/kubernetes \(v.*\)$|\1|p' go.mod)
[[ -n "$kubernetes" ]] || kubernetes=$(sed -n 's|^\tk8s.io/kubernetes \(v[^ ]*\)$|\1|p' "$here/kubernetes/go.mod")
IFS=. read -r major minor _ <<<"${kubernetes#v}"
version="k8s.io/component-base/version"
stamp="-X $version.gitVersion=$kubernetes -X $version.gitMajor=$major -X $version.gitMinor=$minor"

build etcd etcd go.etcd.io/etcd/server/v3
build kube-apiserver kubernetes k8s.io/kubernetes/cmd/kube-apiserver "$stamp"
build kubectl kubernetes k8s.io/kubernetes/cmd/kubectl "$stamp"
build kube-controller-manager kubernetes k8s.io/kubernetes/cmd/kube-controller-manager "$stamp"
build helm helm helm.sh/helm/v3/cmd/helm
echo "$cache"
