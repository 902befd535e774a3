#!/usr/bin/env bash
# Makes an OCI image layout without a daemon: a static binary, an account to run as, nothing else. The same binary gives
# the same digest.
#
#   hack/image.sh [folder]     the folder is IMAGE_DIR or target/image by default
#
# PROFILE is a profile of cargo (default release), SOURCE_DATE_EPOCH the time of all files (default 0).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=cozystack-webhook
user=65532
out=${1:-${IMAGE_DIR:-target/image}}
profile=${PROFILE:-release}
epoch=${SOURCE_DATE_EPOCH:-0}
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
machine=$(uname -m)
case $machine in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *)
    echo "image: no image for $machine" >&2
    exit 3
    ;;
esac
# It is replaced as a whole: only what this script made may go.
if [[ -e "$out" && ! -f "$out/oci-layout" ]]; then
  echo "image: $out is there and no image layout" >&2
  exit 2
fi

target=$machine-unknown-linux-musl
if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx "$target"; then
  echo "image: adding the Rust target $target with rustup"
  rustup target add "$target" 2>/dev/null || echo "image: it is not to be had, the host's libc is linked instead"
fi
if command -v rustup >/dev/null && rustup target list --installed | grep -qx "$target"; then
  # The C and assembly of the cryptography calls next to nothing of a libc: where there is no compiler for musl the
  # host's does, without the checks that only glibc has.
  if ! command -v musl-gcc >/dev/null; then
    export "CC_${target//-/_}=cc" "CFLAGS_${target//-/_}=-U_FORTIFY_SOURCE"
  fi
else
  target=$machine-unknown-linux-gnu
  export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
fi
echo "image: building $name $version for $target (profile $profile)"
cargo build --locked --quiet --profile "$profile" --target "$target" --bin "$name"
# cargo calls the folder of the profile dev by its old name.
binary=${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/$name
linked=$(ldd "$binary" 2>&1 || true)
if [[ $linked != *"statically linked"* && $linked != *"not a dynamic executable"* ]]; then
  printf 'image: %s is not static:\n%s\n' "$binary" "$linked" >&2
  exit 3
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root layout=$work/layout
blobs=$layout/blobs/sha256
mkdir -p "$root/etc" "$blobs"
cp "$binary" "$root/$name"
echo "nonroot:x:$user:$user:nonroot:/:/sbin/nologin" >"$root/etc/passwd"
echo "nonroot:x:$user:" >"$root/etc/group"
chmod 0755 "$root/$name" "$root/etc"
chmod 0644 "$root/etc/passwd" "$root/etc/group"
tar --create --file "$work/layer.tar" --directory "$root" --format ustar --sort name --mtime "@$epoch" \
  --owner "$user" --group "$user" --numeric-owner "$name" etc
gzip -9 --no-name --stdout "$work/layer.tar" >"$work/layer.tar.gz"

digest() { # <file>
  sha256sum "$1" | sed 's/^\([0-9a-f]*\) .*/sha256:\1/'
}
size() { # <file>
  stat --format %s "$1"
}
# Puts a file among the blobs and prints the members of its descriptor.
descriptor() { # <media type> <file>
  local hash
  hash=$(digest "$2")
  printf '"mediaType":"application/vnd.oci.image.%s","digest":"%s","size":%s' "$1" "$hash" "$(size "$2")"
  cp "$2" "$blobs/${hash#sha256:}"
}

layer=$(descriptor layer.v1.tar+gzip "$work/layer.tar.gz")
cat >"$work/config.json" <<JSON
{"architecture":"$architecture","os":"linux","created":"$created",
"config":{"User":"$user:$user","Entrypoint":["/$name"],"WorkingDir":"/","Labels":{
"org.opencontainers.image.title":"$name",
"org.opencontainers.image.version":"$version",
"org.opencontainers.image.licenses":"Apache-2.0",
"org.opencontainers.image.source":"https://github.com/cozystack/cozystack-webhook"}},
"rootfs":{"type":"layers","diff_ids":["$(digest "$work/layer.tar")"]},
"history":[{"created":"$created","created_by":"hack/image.sh"}]}
JSON
config=$(descriptor config.v1+json "$work/config.json")
cat >"$work/manifest.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":{$config},
"layers":[{$layer}]}
JSON
manifest=$(descriptor manifest.v1+json "$work/manifest.json")
cat >"$layout/index.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{$manifest,
"platform":{"architecture":"$architecture","os":"linux"},
"annotations":{"org.opencontainers.image.ref.name":"$version"}}]}
JSON
echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"

rm -rf "$out"
mkdir -p "$(dirname "$out")"
mv "$layout" "$out"
echo "image: $out holds $name:$version for linux/$architecture"
echo "image: digest $(digest "$work/manifest.json"), layer $(size "$work/layer.tar.gz") bytes, binary $(size "$binary") bytes"
