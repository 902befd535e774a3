#!/usr/bin/env bash
# Everything that must hold, and one line of totals at the end: `N passed, N failed[, N skipped]`.
# With CI set, a test that was skipped is a failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed_steps=0
step() { # <what> <command...>
  echo "=== $1"
  shift
  "$@" 2>&1 | tee -a "$log"
  local status=${PIPESTATUS[0]}
  if [[ $status != 0 ]]; then
    echo "=== failed: $*"
    failed_steps=$((failed_steps + 1))
  fi
}

step "format, clippy, generated files" hack/lint.sh
# Built first, so that its minutes are not counted as a test's; without Go the end-to-end tests say what is missing.
echo "=== test control plane"
hack/control-plane/build.sh || echo "the end-to-end tests will not run"
step "rules" cargo test --locked --no-fail-fast --package webhooks
step "service, cases, TLS, command line, repository" cargo test --locked --no-fail-fast --lib --bins --test cases --test cel --test cli --test repository --test server
step "end to end" cargo test --locked --test e2e

count() { grep -oE "[0-9]+ $1;" "$log" | awk '{sum += $1} END {print sum + 0}'; }
passed=$(count passed) failed=$(count failed) skipped=$(count ignored)
# A step that failed without a failed test (it did not build, or did not run) counts as one.
if ((failed_steps > 0 && failed == 0)); then
  failed=$failed_steps
fi
if ((skipped > 0)); then
  echo "$skipped TESTS WERE SKIPPED"
  [[ -z "${CI:-}" ]] || failed=$((failed + skipped))
  echo "$passed passed, $failed failed, $skipped skipped"
else
  echo "$passed passed, $failed failed"
fi
((failed == 0 && passed > 0))
