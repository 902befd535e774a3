#!/usr/bin/env bash
# Builds the pinned test control plane (kube-apiserver, kube-controller-manager, kubectl, etcd, helm) and the Flux
# controllers from Go modules with the ordinary Go client, and prints the folder that holds the binaries and, under
# flux-crds/, the CRDs of Flux.
#
# The binaries live in a user cache, not in the checkout: a fresh clone with the same pins starts at once. Each family
# of tools has a folder of its own there, keyed by a hash of its pins and of how it is built: new pins of one family
# leave the others alone. The folder that is printed holds links to them. KUBEBUILDER_ASSETS, when set, is used instead
# and nothing is built.
#
#   hack/control-plane/build.sh           build what is missing, print the folder
#   hack/control-plane/build.sh --where   print the folder that would be used, build nothing
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -n "${KUBEBUILDER_ASSETS:-}" ]]; then
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

# Without a version that parses, kubectl and helm refuse to talk to the server.
kubernetes=$(sed -n 's|^require k8s.io/kubernetes \(v.*\)$|\1|p' "$here/kubernetes/go.mod")
[[ -n "$kubernetes" ]] || kubernetes=$(sed -n 's|^\tk8s.io/kubernetes \(v[^ ]*\)$|\1|p' "$here/kubernetes/go.mod")
IFS=. read -r major minor _ <<<"${kubernetes#v}"
version="k8s.io/component-base/version"
stamp="-X $version.gitVersion=$kubernetes -X $version.gitMajor=$major -X $version.gitMinor=$minor"

families=(etcd kubernetes helm flux)
recipe() { # <family>: what is made, one a line: `<binary> <module folder> <package> [linker flags]`, or
  # `crds <module folder> <module>`
  case $1 in
    etcd) echo "etcd etcd go.etcd.io/etcd/server/v3" ;;
    kubernetes)
      echo "kube-apiserver kubernetes k8s.io/kubernetes/cmd/kube-apiserver $stamp"
      echo "kubectl kubernetes k8s.io/kubernetes/cmd/kubectl $stamp"
      echo "kube-controller-manager kubernetes k8s.io/kubernetes/cmd/kube-controller-manager $stamp"
      ;;
    helm) echo "helm helm helm.sh/helm/v3/cmd/helm" ;;
    flux)
      echo "kustomize-controller flux github.com/fluxcd/kustomize-controller"
      echo "helm-controller flux github.com/fluxcd/helm-controller"
      echo "crds flux github.com/fluxcd/kustomize-controller"
      echo "crds flux github.com/fluxcd/helm-controller"
      echo "crds flux-crds github.com/fluxcd/source-controller"
      ;;
  esac
}

key() { sha256sum | cut -c1-16; }
cache="${XDG_CACHE_HOME:-$HOME/.cache}/cozystack-webhook"
declare -A folders
for family in "${families[@]}"; do
  modules=$(recipe "$family" | cut -d' ' -f2 | sort -u)
  folders[$family]=$family-$({
    recipe "$family"
    for module in $modules; do cat "$here/$module"/go.{mod,sum}; done
  } | key)
done
all=$cache/$(for family in "${families[@]}"; do echo "${folders[$family]}"; done | key)
if [[ "${1:-}" == "--where" ]]; then
  echo "$all"
  exit 0
fi

need_go() { # <for what>
  command -v go >/dev/null && return
  echo "hack/control-plane: neither KUBEBUILDER_ASSETS nor a Go toolchain is there: $1 cannot be built" >&2
  exit 3
}

# Everything is made under another name and moved: an interrupted run leaves no half binary behind.
build() { # <folder> <binary> <module folder> <package> [linker flags]
  local folder=$1 binary=$2 module=$3 package=$4 flags="-s -w ${5:-}"
  [[ -x "$folder/$binary" ]] && return
  need_go "$binary"
  echo "hack/control-plane: building $binary (minutes the first time, then cached in $folder)" >&2
  CGO_ENABLED=0 go build -C "$here/$module" -mod=readonly -trimpath -buildvcs=false \
    -ldflags "$flags" -o "$folder/.$binary.tmp" "$package"
  mv "$folder/.$binary.tmp" "$folder/$binary"
}

copy_crds() { # <folder> <module folder> <module>
  local folder=$1/flux-crds name=${3##*/} source
  [[ -d "$folder/$name" ]] && return
  need_go "the CRDs of $name"
  # Checked against go.sum.
  go mod download -C "$here/$2" "$3"
  source=$(go list -C "$here/$2" -m -f '{{.Dir}}' "$3")
  rm -rf "$folder/.$name.tmp"
  mkdir -p "$folder/.$name.tmp"
  cp "$source"/config/crd/bases/*.yaml "$folder/.$name.tmp/"
  # The module cache is read-only.
  chmod -R u+w "$folder/.$name.tmp"
  mv "$folder/.$name.tmp" "$folder/$name"
}

mkdir -p "$all"
for family in "${families[@]}"; do
  folder=$cache/${folders[$family]}
  mkdir -p "$folder"
  # One builder of a family at a time: two test runs that start together must not write the same files.
  exec 9>"$folder/.lock"
  flock 9
  while read -r name module package flags; do
    if [[ $name == crds ]]; then
      copy_crds "$folder" "$module" "$package"
    else
      build "$folder" "$name" "$module" "$package" "$flags"
    fi
  done < <(recipe "$family")
  for made in "$folder"/*; do
    # Renamed over what is there: nobody sees the folder without it.
    ln -sfn "$made" "$all/.link.$$"
    mv -fT "$all/.link.$$" "$all/${made##*/}"
  done
  exec 9>&-
done
echo "$all"
