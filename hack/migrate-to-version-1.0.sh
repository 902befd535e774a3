#!/usr/bin/env bash
# Carries a v0.38/v0.39 cluster over to the package-based platform: shows the plan, asks, applies, verifies.
# Arguments are handed on to `cozystack-webhook migrate apply`, but for --yes, which answers the question.
# --backup (or BACKUP) names the backup file (default: cozystack-backup-<time>.json here); COZYSTACK_WEBHOOK the program.
set -euo pipefail

program=${COZYSTACK_WEBHOOK:-cozystack-webhook}
yes= backup=
plan=() apply=()
while [ $# -gt 0 ]; do
  case $1 in
    --yes) yes=1 ;;
    --backup) backup=${2:?--backup needs a value} && shift ;;
    --backup=*) backup=${1#--backup=} ;;
    -h | --help)
      sed -n '2,4s/^# //p' "$0"
      echo
      exec "$program" migrate apply --help
      ;;
    # What plan and verify know, too.
    --kubeconfig | --context | --namespace | --target) plan+=("$1" "${2:?$1 needs a value}") && apply+=("$1" "$2") && shift ;;
    --kubeconfig=* | --context=* | --namespace=* | --target=* | --chart-refs | --stamp) plan+=("$1") && apply+=("$1") ;;
    *) apply+=("$1") ;;
  esac
  shift
done

if ! command -v "$program" >/dev/null; then
  echo "error: $program is not there" >&2
  exit 2
fi
backup=${backup:-${BACKUP:-cozystack-backup-$(date -u +%Y%m%dT%H%M%SZ).json}}

status=0
"$program" migrate plan --detailed-exitcode ${plan[@]+"${plan[@]}"} || status=$?
case $status in
  0)
    echo "nothing is to be written"
    exit 0
    ;;
  1) printf '\nSomething above needs a decision: it does not happen by itself.\n' ;;
  10) ;;
  *) exit "$status" ;;
esac
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
"$program" migrate apply --backup "$backup" ${apply[@]+"${apply[@]}"} || status=$?
if [ "$status" -gt 1 ]; then
  echo "run the same again with --backup $backup: it goes on where it stopped" >&2
  exit "$status"
fi
"$program" migrate verify --backup "$backup" ${plan[@]+"${plan[@]}"}
