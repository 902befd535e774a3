#!/usr/bin/env bash
# Carries a v0.38/v0.39 cluster over to the package-based platform: checks tools, shows the plan, asks, applies, verifies.
# Arguments are handed on to `cozystack-webhook migrate apply`, but for --yes, which answers the question.
# BACKUP names the backup file (default: cozystack-backup-<time>.json here); COZYSTACK_WEBHOOK the program.
set -euo pipefail

program=${COZYSTACK_WEBHOOK:-cozystack-webhook}
yes=
plan=() apply=()
while [ $# -gt 0 ]; do
  case $1 in
    --yes) yes=1 ;;
    -h | --help)
      sed -n '2,4s/^# //p' "$0"
      echo
      exec "$program" migrate apply --help
      ;;
    # What plan and verify know, too.
    --kubeconfig | --context | --target) plan+=("$1" "${2:?$1 needs a value}") && apply+=("$1" "$2") && shift ;;
    --kubeconfig=* | --context=* | --target=* | --chart-refs | --stamp) plan+=("$1") && apply+=("$1") ;;
    *) apply+=("$1") ;;
  esac
  shift
done

for tool in kubectl "$program"; do
  if ! command -v "$tool" >/dev/null; then
    echo "error: $tool is not there" >&2
    exit 2
  fi
done
backup=${BACKUP:-cozystack-backup-$(date -u +%Y%m%dT%H%M%SZ).json}

status=0
"$program" migrate plan "${plan[@]}" || status=$?
if [ "$status" -gt 1 ]; then
  exit "$status"
fi
if [ "$status" = 1 ]; then
  echo
  echo "Something above needs a decision: it does not happen by itself."
fi
if [ -z "$yes" ]; then
  printf '\nBack up to %s and write this? [y/N] ' "$backup"
  read -r answer || answer=
  case $answer in
    y | Y | yes) ;;
    *)
      echo "nothing was written"
      exit 1
      ;;
  esac
fi
status=0
"$program" migrate apply --backup "$backup" "${apply[@]}" || status=$?
if [ "$status" -gt 1 ]; then
  echo "run the same again, with BACKUP=$backup: it goes on where it stopped" >&2
  exit "$status"
fi
"$program" migrate verify --backup "$backup" "${plan[@]}"
