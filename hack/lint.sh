#!/usr/bin/env bash
# Format, clippy, generated files, and cargo-deny where it is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- -D warnings
cargo run --locked --quiet -- generate --check .
if cargo deny --version >/dev/null 2>&1; then
  # Advisories need a database from the network; everything else is here.
  cargo deny --offline check bans licenses sources
else
  echo "lint: cargo-deny is not installed, deny.toml was not checked (cargo install --locked cargo-deny)"
fi
