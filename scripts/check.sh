#!/usr/bin/env bash
# All that is checked before a change lands. --static leaves the tests out. Every step runs even when one before it failed,
# so that one run tells all that is wrong.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
step() {
  local name=$1
  shift
  echo "== $name"
  "$@" || failed+=("$name")
}

step lint npm run --silent lint
step typecheck npm run --silent typecheck
step deps npm run --silent deps
step unused npm run --silent unused
step docs npm run --silent docs -- --check
step changes npm run --silent changelog -- --check
step binaries node scripts/check-uws.mjs
if [[ ${1:-} != --static ]]; then
  step test npm test
fi

if ((${#failed[@]} > 0)); then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
echo "all checks passed"
