#!/usr/bin/env bash
# Runs every fuzz target for a short time, from a copy of its corpus; fails when one finds something.
#   EACH=15       seconds for each target
#   SEED=1        where chance begins; 0: elsewhere each time, to look for more than a pipeline does
#   RUNS=250000   at most so many inputs, so that a fast machine meets none that a slow one never saw; -1: as many as fit,
#                 as with SEED=0
#   ONLY=message  this target alone
set -euo pipefail
cd "$(dirname "$0")"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sallyport
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
../checkout.sh
each=${EACH:-15}
seed=${SEED:-1}
runs=${RUNS:-$((seed == 0 ? -1 : 250000))}
found=$cache/fuzz

# Coverage as cargo-fuzz asks for it. Its sanitizers are left out: they want nightly, and our code has no unsafe.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  RUSTFLAGS+=" -Cllvm-args=-sanitizer-coverage-$option"
done
# With --target, build scripts and macros are built without these flags.
target=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --locked --release --workspace --bins --target "$target"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fuzz SOURCE: one target. Says what it did, or what it found.
fuzz() {
  local name log
  name=$(basename "$1" .rs)
  log=$work/$name.log
  cp -r "$(dirname "$1")/../corpus/$name" "$work/$name"
  if "$CARGO_TARGET_DIR/$target/release/$name" -seed="$seed" -runs="$runs" -max_total_time="$each" -max_len=4096 -timeout=60 -rss_limit_mb=1024 \
    -print_final_stats=1 -artifact_prefix="$found/$name-" "$work/$name" >"$log" 2>&1; then
    echo "fuzz $name: $(grep -ao 'cov: [0-9]*' "$log" | tail -1), $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, nothing found"
  else
    tail -40 "$log" >&2
    echo "fuzz $name: FAILED; the input is in $found" >&2
    return 1
  fi
}

mkdir -p "$found"
failed=0 begun=0 running=()
for source in ../../operator/*/fuzz/fuzz_targets/*.rs; do
  [[ -z ${ONLY:-} || $(basename "$source" .rs) == "$ONLY" ]] || continue
  fuzz "$source" & running+=($!)
  begun=$((begun + 1))
  # Two at a time.
  if ((${#running[@]} == 2)); then
    wait "${running[0]}" || failed=1
    running=("${running[1]}")
  fi
done
for one in "${running[@]}"; do wait "$one" || failed=1; done
((begun > 0)) || { echo "there is no fuzz target ${ONLY:-}" >&2; exit 1; }
exit $failed
