#!/usr/bin/env bash
# Builds and serves without a cluster, posts a review and a conversion to itself over TLS, prints question and answer,
# and goes on serving until Ctrl-C. ONCE=1 ends after the answers. PORT is the first of four ports (default 18443).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "building (minutes the first time) ..."
cargo build --locked --quiet
port=${PORT:-18443}
admission=127.0.0.1:$port conversion=127.0.0.1:$((port + 1)) probes=127.0.0.1:$((port + 2)) metrics=127.0.0.1:$((port + 3))
folder=$(mktemp -d)
ca=$folder/ca.crt

"${CARGO_TARGET_DIR:-target}/debug/cozystack-webhook" serve --self-signed --authority-file "$ca" --objects testcases/manifests \
  --admission-address "$admission" --conversion-address "$conversion" \
  --probes-address "$probes" --metrics-address "$metrics" --drain 0 2>"$folder/log" &
service=$!
stop() {
  kill -TERM "$service" 2>/dev/null || true
  wait "$service" 2>/dev/null || true
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 0' INT TERM

for _ in $(seq 100); do
  curl -fs "http://$probes/readyz" >/dev/null && break
  if ! kill -0 "$service" 2>/dev/null; then
    cat "$folder/log" >&2
    exit 3
  fi
  sleep 0.1
done

ask() { # <path> <file>
  echo
  echo "--- POST https://$1 ($2)"
  cat "$2"
  echo "--- answer"
  curl -fsS --cacert "$ca" --json "@$2" "https://$1"
  echo
}
ask "$admission/validate/cozystack.io/applicationdefinitions" testcases/reviews/review.json
ask "$conversion/convert/cozystackresourcedefinitions" testcases/reviews/conversion.json

[[ -z "${ONCE:-}" ]] || exit 0
cat <<TXT

Serving until Ctrl-C. Post your own:
  curl --cacert $ca --json @testcases/reviews/review.json https://$admission/validate/cozystack.io/applicationdefinitions
  curl --cacert $ca --json @testcases/reviews/conversion.json https://$conversion/convert/cozystackresourcedefinitions
  curl http://$probes/readyz?verbose
  curl http://$metrics/metrics
Its log:
TXT
tail -f "$folder/log" --pid "$service"
