#!/usr/bin/env bash
# Installs what building and testing need through the ordinary package clients, and says so. Silent when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v curl >/dev/null || packages+=(curl)
command -v git >/dev/null || packages+=(git)
command -v taskset >/dev/null || packages+=(util-linux)
command -v flock >/dev/null || packages+=(util-linux)
if ((${#packages[@]})); then
  echo "setup: installing Debian packages: ${packages[*]}"
  as_root=()
  [[ $(id -u) == 0 ]] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq "${packages[@]}"
fi

if ! command -v cargo >/dev/null; then
  echo "setup: no cargo. Install rustup (Debian package rustup, or as rust-lang.org says), then run this again." >&2
  exit 3
fi
toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
if command -v rustup >/dev/null && ! rustup toolchain list | grep -q "^$toolchain"; then
  echo "setup: installing Rust $toolchain with rustup"
  rustup toolchain install "$toolchain" --profile minimal --component clippy --component rustfmt
fi
for tool in clippy fmt; do
  if ! cargo "$tool" --version >/dev/null 2>&1; then
    echo "setup: installing the Rust component of cargo $tool with rustup"
    rustup component add --toolchain "$toolchain" "${tool/fmt/rustfmt}"
  fi
done
