# The commands of a day's work; CONTRIBUTING.md says what each is for. Without just(1) they can be
# copied from here.

_default:
    @just --list

# The loop while working: format, lints, unit tests, the project's own rules
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test --lib
    cargo test --test tests tidy::

# Every test; those that lack a program, or root, are listed at the end
test *args:
    cargo test {{args}}

# Tests against real programs (rsyslog, nginx, Prometheus …); a missing program is a failure
real:
    LOGWEIR_TEST_NO_SKIP=1 cargo test --test tests -- clients:: rsyslog:: monitoring:: metrics:: docs::

# Packages: built, installed, upgraded and purged on booted containers (as root)
packages:
    LOGWEIR_TEST_PACKAGES=1 cargo test --test tests -- --nocapture --test-threads=1 packages:: booted::

# Fuzz targets, each for some seconds: just fuzz 600 relp_server
fuzz seconds="30" *targets:
    fuzz/run.sh {{seconds}} {{targets}}

# logweir beside the bare loop and its peers, few lines; then the parts of the hot path
bench:
    cargo bench --bench compare -- --quick
    cargo bench --bench parts

# A site with trouble for so many minutes, as root; a seed gives the same troubles again
soak minutes="3" *args:
    cargo bench --bench compare -- --case soak --minutes {{minutes}} {{args}}

# Everything that CI runs; installs what is missing, as root
ci:
    .ci/run
