#!/bin/bash
# run.sh [SECONDS [TARGET...]]: builds the fuzz targets once and runs each of them for SECONDS
# (default 30), two at a time. Without a TARGET it runs all. Needs the stable toolchain and a C++
# compiler. Exits with 1 at a crash and says how to replay it.
#
# run.sh build: builds only. run.sh replay TARGET FILE: runs one input.
#
# What was learnt stays in fuzz/corpus/ for the next run; what crashes goes to fuzz/artifacts/.
# An input that crashed once belongs in fuzz/seeds/TARGET/, where every run tries it first.
set -euo pipefail

cd "$(dirname "$0")"
export CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$PWD/target}
jobs=${FUZZ_JOBS:-2}
host=$(rustc -vV | sed -n 's/^host: //p')
programs=$CARGO_TARGET_DIR/$host/release

all_targets() {
    basename -s .rs -a fuzz_targets/*.rs
}

# build: the libFuzzer instrumentation and AddressSanitizer are in the stable compiler, too, but
# it offers the latter only with RUSTC_BOOTSTRAP.
build() {
    local coverage=-Cllvm-args=-sanitizer-coverage
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cpasses=sancov-module $coverage-level=4 \
        $coverage-inline-8bit-counters $coverage-pc-table $coverage-trace-compares \
        -Zsanitizer=address --cfg fuzzing -Cforce-frame-pointers" \
        cargo build --quiet --release --target "$host" --bins
}

# limits: a bound on an input's length, on one allocation and on all memory. What a stranger can
# make the daemon allocate is bounded far below.
limits=(-max_len=4096 -timeout=10 -malloc_limit_mb=64 -rss_limit_mb=1024)

# run TARGET SECONDS: one target; its log goes to artifacts/TARGET.log.
run() {
    local target=$1 seconds=$2 folders=("corpus/$1")
    mkdir -p "corpus/$target" "artifacts/$target"
    [ ! -d "seeds/$target" ] || folders+=("seeds/$target")
    if "$programs/$target" "${folders[@]}" "${limits[@]}" -dict=dictionary.txt -print_final_stats=1 \
        -max_total_time="$seconds" -artifact_prefix="artifacts/$target/" \
        >"artifacts/$target.log" 2>&1; then
        summary "$target"
    else
        printf '%-16s CRASHED\n' "$target"
        grep -v '^    #' "artifacts/$target.log" | tail -n 25 | cut -c 1-300
        sed -n "s|.*Test unit written to \(artifacts/.*\)|replay it: fuzz/run.sh replay $target fuzz/\1|p" \
            "artifacts/$target.log"
        return 1
    fi
}

# summary TARGET: executions and coverage (edges) of a run that ended well.
summary() {
    local log=artifacts/$1.log executions edges
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
    printf '%-16s %9s executions  %6s edges covered\n' "$1" "$executions" "${edges:-?}"
}

# Folders of spools are made and removed thousands of times: in memory where there is such a place.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
export ASAN_OPTIONS=detect_odr_violation=0:allocator_may_return_null=1

if [ "${1:-}" = build ]; then
    build
    exit
fi
if [ "${1:-}" = replay ]; then
    build
    cd - >/dev/null
    exec "$programs/$2" "${limits[@]}" "$3"
fi

seconds=${1:-30}
shift || true
mapfile -t targets < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else all_targets; fi)
build
"$programs/seed"

crashed=0
running=0
for target in "${targets[@]}"; do
    if [ "$running" -ge "$jobs" ]; then
        wait -n || crashed=1
        running=$((running - 1))
    fi
    run "$target" "$seconds" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || crashed=1
    running=$((running - 1))
done
exit "$crashed"
