#!/bin/sh
# Builds the packages: packaging/build.sh [deb] [rpm]
# Needs cargo-deb for the one, cargo-generate-rpm for the other (cargo install NAME). The packages
# are in debian/ and generate-rpm/ of the target folder.
set -eu

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
# What packages hold besides the binary; Cargo.toml names it as target/release/packaging.
staged=$target/release/packaging
[ $# -gt 0 ] || set -- deb rpm

cargo build --release --locked --bin logweir
rm -rf "$staged"
cargo run --locked --quiet --example assets -- "$staged"
cp man/*.[157] "$staged/man"
gzip -9n "$staged"/man/*
mkdir "$staged/share"
for shared in packaging/logweir.toml packaging/grafana/*.json packaging/prometheus/*.yml; do
    if [ -e "$shared" ]; then
        cp "$shared" "$staged/share"
    fi
done

mkdir -p "$staged/udp2log/bin" "$staged/udp2log/man"
for name in udp2log log2udp packet-loss udp2log-demux kafkatee; do
    printf '#!/bin/sh\nexec /usr/bin/logweir %s "$@"\n' "$name" >"$staged/udp2log/bin/$name"
    echo ".so man1/logweir-$name.1" >"$staged/udp2log/man/$name.1"
done

for kind in "$@"; do
    case $kind in
    deb)
        cargo deb --locked --no-build
        cargo deb --locked --no-build --variant udp2log
        ;;
    rpm)
        cargo generate-rpm
        cargo generate-rpm --variant udp2log
        ;;
    *)
        echo "usage: packaging/build.sh [deb] [rpm]" >&2
        exit 2
        ;;
    esac
done
