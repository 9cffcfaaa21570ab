#!/usr/bin/env bash
# The tests on a real cluster of their own, which is removed afterwards.
#   NAME=e2e    name of the cluster
#   KEEP=1      leave the cluster up, and the namespaces of failed tests in it (NO_CLEANUP=1: of all tests)
#   ONLY=drift  run only the tests whose name contains this
set -euo pipefail
cd "$(dirname "$0")/.."

name=${NAME:-e2e}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sallyport
tool=$cache/tool/sallyport-cluster
record=$cache/clusters/$name/observer.jsonl
started=$cache/clusters/$name/observer.started
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
export SALLYPORT_E2E_CLUSTER=$name
e2e/checkout.sh

observer=
finish() {
  if [[ -n $observer ]]; then kill "$observer" 2>/dev/null || true; fi
  if [[ -z ${KEEP:-} ]]; then "$tool" down --name "$name"; else echo "left up: $tool status --name $name"; fi
}
trap finish EXIT

# Compiled before the cluster runs: both want all cores. With the features of the whole workspace, as the other tests are, so
# that what they share is built once. The programs setup and observer are built with their package's tests.
tests=(cargo test --quiet --workspace --features sallyport-e2e/cluster)
"${tests[@]}" --test together --test alone --no-run

"$tool" up --name "$name"
"$tool" images load --name "$name" >/dev/null
"$CARGO_TARGET_DIR/debug/setup" --cluster "$name"

rm -f "$started"
"$CARGO_TARGET_DIR/debug/observer" watch --cluster "$name" --record "$record" --started "$started" &
observer=$!
for _ in {1..600}; do [[ -e $started ]] && break; sleep 0.1; done
[[ -e $started ]] || { echo "the observer does not start" >&2; exit 1; }

# Six at a time, some of which wait for room on the node (e2e/src/room.rs).
failed=0
"${tests[@]}" --test together -- --test-threads=6 --show-output ${ONLY:+"$ONLY"} || failed=1
"${tests[@]}" --test alone -- --test-threads=1 --show-output ${ONLY:+"$ONLY"} || failed=1

kill -TERM "$observer"
wait "$observer" || failed=1
observer=
exit $failed
