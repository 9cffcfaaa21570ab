#!/usr/bin/env bash
# Runs Kubernetes' own NetworkPolicy suite (all specs but SCTP) against the policy agent, on a cluster of its own; then
# its default-deny specs with enforcement off, where each of them has to fail. Prints `N passed, M failed` for both.
#
#   netpol.sh [--force] [--keep] [--procs N] [--focus REGEXP]
#
# The result depends on the agent and the pinned programs alone, so a run that passed leaves a stamp named by the hash
# of these, and the same inputs are not run again unless --force (or FORCE=1) asks for it. --focus leaves no stamp.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sallyport
cluster=netpol
# Each process spends most of its time waiting for pods to start and to go.
procs=4 focus= keep= force=${FORCE:-}
while [ $# -gt 0 ]; do
  case $1 in
    --force) force=1 ;;
    --keep) keep=1 ;;
    --procs) procs=$2; shift ;;
    --focus) focus=$2; shift ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
  shift
done

# What decides the result: the agent, the suite, the cluster's programs and their settings, and this script.
inputs() {
  cd "$here"
  find policy-agent binaries/{netpol,agnhost,kubernetes,containerd,runc,cni,etcd} internal/node/templates netpol.sh -type f \
    ! -name '*.md' \( ! -name '*_test.go' -o -path 'binaries/netpol/*' \) -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  go env GOVERSION
}
stamp=$cache/stamps/netpol-$(inputs | sha256sum | cut -c1-12)
if [ -z "$force$focus" ] && [ -e "$stamp" ]; then
  echo "NetworkPolicy suite: $(cat "$stamp") (the agent and its pins are unchanged since; --force runs it again)"
  exit 0
fi

tool=$cache/tool/sallyport-cluster
[ -x "$tool" ] || { echo "netpol.sh: $tool is missing: run \`make tool\`" >&2; exit 1; }
export PATH=$PATH:/usr/sbin:/sbin
ginkgo=$("$tool" bin ginkgo)
suite=$("$tool" bin netpol.test)
kubeconfig=$cache/clusters/$cluster/kubeconfig
log=$cache/log/netpol.log
repositories=$(mktemp)
mkdir -p "$cache/log" "$cache/stamps"

cleanup() {
  rm -f "$repositories"
  if [ -z "$keep" ]; then "$tool" down --name "$cluster" >/dev/null; fi
}
trap cleanup EXIT
"$tool" up --name "$cluster"
"$tool" images load --name "$cluster" agnhost
# The suite takes its image, by tag, from the cluster's own registry.
echo 'promoterE2eRegistry: registry.sallyport.test:5000/sallyport' >"$repositories"
export KUBE_TEST_REPO_LIST=$repositories

# run MODE FOCUS: sets passed and failed to how many specs did, with the agent in that mode.
run() {
  "$tool" policy --name "$cluster" "$1"
  "$ginkgo" --procs="$procs" --no-color --keep-going --focus="$2" --skip='Feature:SCTPConnectivity' "$suite" -- \
    --provider=skeleton --kubeconfig="$kubeconfig" >"$log" 2>&1 || true
  local totals
  totals=$(grep -aE '^(SUCCESS|FAIL)! -- ' "$log" | tail -1) || {
    tail -40 "$log" >&2; echo "netpol.sh: the suite did not come to its end; whole log: $log" >&2; exit 1; }
  passed=$(sed -E 's/.* ([0-9]+) Passed.*/\1/' <<<"$totals")
  failed=$(sed -E 's/.* ([0-9]+) Failed.*/\1/' <<<"$totals")
}

started=$SECONDS
run on "$focus"
enforced="$passed passed, $failed failed"
echo "NetworkPolicy suite: $enforced ($((SECONDS - started)) s)"
if [ "$failed" -gt 0 ] || [ "$passed" -eq 0 ]; then
  grep -aE '^ *\[FAIL\]' "$log" | sort -u >&2 || true
  echo "netpol.sh: the policy agent does not pass; whole log: $log" >&2
  exit 1
fi
if [ -n "$focus" ]; then exit 0; fi

started=$SECONDS
run off 'default-deny'
echo "With enforcement off, its default-deny specs: $passed passed, $failed failed ($((SECONDS - started)) s)"
if [ "$passed" -gt 0 ] || [ "$failed" -eq 0 ]; then
  echo "netpol.sh: a default-deny spec passes although nobody enforces, so the suite proves nothing here; whole log: $log" >&2
  exit 1
fi
echo "$enforced; with enforcement off, $failed of $failed default-deny specs failed" >"$stamp"
