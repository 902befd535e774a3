#!/usr/bin/env bash
# Runs a fuzz target on the pinned stable toolchain: coverage comes from LLVM's own pass, no sanitizer is used (there is
# no unsafe code to watch; overflow checks and debug assertions are on). What it finds is left in hack/fuzz/artifacts.
#
#   hack/fuzz/run.sh <target> [seconds]     60 seconds unless told
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${1:?which target? $(cd "$here/targets" && echo *.rs | sed 's/\.rs//g')}
seconds=${2:-60}

host=$(rustc -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -C passes=sancov-module -C codegen-units=1"
flags+=" -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares"
# Flags for this target only: build scripts and procedural macros run as they are.
export "CARGO_TARGET_$(echo "$host" | tr 'a-z-' 'A-Z_')_RUSTFLAGS=$flags"
cargo build --release --locked --manifest-path "$here/Cargo.toml" --bin "$target" --target "$host"

mkdir -p "$here/corpus/$target" "$here/artifacts"
# It starts with the expressions of the test cases, as they stand there.
if [[ "$target" == cel && -z "$(ls -A "$here/corpus/cel")" ]]; then
  grep -h '^- expression: ' "$here"/../../testcases/cel/*.yaml | sed 's/^- expression: //' |
    split -l 1 -a 4 - "$here/corpus/cel/case-"
fi
exec "${CARGO_TARGET_DIR:-$here/target}/$host/release/$target" "$here/corpus/$target" \
  -artifact_prefix="$here/artifacts/" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 \
  -print_final_stats=1
