#!/bin/sh
# Starts the daemon with quickstart.toml, sends it squid log lines for ten seconds, and shows
# how they flow. Ends by itself; everything it writes is in /tmp/logweir-quickstart.
set -eu
cd "$(dirname "$0")/.."

if [ -z "${LOGWEIR:-}" ]; then
    LOGWEIR="${CARGO_TARGET_DIR:-target}"/release/logweir
    echo "== building $LOGWEIR (cargo build --release; the first time takes some minutes)"
    cargo build --release --bin logweir
fi
out=/tmp/logweir-quickstart
rm -rf "$out"
mkdir -p "$out"

echo "== the flow"
"$LOGWEIR" check -c examples/quickstart.toml --graph text

"$LOGWEIR" run -c examples/quickstart.toml 2>"$out/log" &
daemon=$!
load=
trap 'kill $daemon $load 2>/dev/null || true' EXIT
until [ -S "$out/control.sock" ]; do
    kill -0 "$daemon" 2>/dev/null || { cat "$out/log"; exit 1; }
    sleep 0.1
done

"$LOGWEIR" gen --to udp://127.0.0.1:8420 --format squid --rate 20000 --lines 200000 >"$out/gen" &
load=$!
for second in 3 6 9; do
    sleep 3
    printf '\n== top, after %s seconds\n' "$second"
    "$LOGWEIR" top --once -c examples/quickstart.toml
done
wait "$load"
load=
printf '\n== sent\n'
cat "$out/gen"

kill "$daemon"
wait "$daemon"
trap - EXIT
printf '\n== a line of every hundred: %s/sampled.log\n' "$out"
head -n 3 "$out/sampled.log"
printf '\n== what the filter process printed: %s/mobile.log\n' "$out"
head -n 3 "$out/mobile.log"
printf '\n== server errors, counted by wc -l: %s\n' "$(cat "$out/errors")"
printf '\n== the final ledger: every line has one fate\n'
grep -h ' ledger: ' "$out/log"
cat <<EOF

== what to try now
start it again and leave it running:
    $LOGWEIR run -c examples/quickstart.toml &
send it lines without end, and look (q quits):
    $LOGWEIR gen --to udp://127.0.0.1:8420 --lines 0 --rate 20000 &
    $LOGWEIR top -c examples/quickstart.toml
see the lines that a filter lets pass:
    $LOGWEIR tap mobile -n 5 -c examples/quickstart.toml
change examples/quickstart.toml (sample = 10, for instance), and put it in force without a loss:
    $LOGWEIR check -c examples/quickstart.toml && $LOGWEIR ctl reload -c examples/quickstart.toml
end both:
    kill %1 %2
a configuration of your own:
    $LOGWEIR init
EOF
