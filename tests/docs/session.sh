# The words that a page's tests have for what a host does: the beginning of every session.
cd /root
# A test fails when any of its commands does.
trap 'failed=1' ERR

# start_logweir [FILE]: as `systemctl start logweir`, with what the unit allows.
start_logweir() {
    local config=${1:-/etc/logweir/logweir.toml}
    (
        umask 0027
        exec setpriv --reuid=logweir --regid=logweir --init-groups --no-new-privs \
            --inh-caps=-all,+net_bind_service --ambient-caps=+net_bind_service \
            --bounding-set=-all,+net_bind_service \
            logweir run -c "$config" >>/tmp/daemon.log 2>&1
    ) &
    daemon=$!
    until logweir ctl status -c "$config" >/dev/null 2>&1; do
        kill -0 "$daemon" 2>/dev/null || { cat /tmp/daemon.log; return 1; }
        sleep 0.05
    done
    eval "daemon_$(echo "$config" | tr -c 'a-z0-9\n' _)=$daemon"
}

# stop_logweir [FILE]: as `systemctl stop logweir`.
stop_logweir() {
    local name
    name=daemon_$(echo "${1:-/etc/logweir/logweir.toml}" | tr -c 'a-z0-9\n' _)
    kill "${!name}"
    wait "${!name}"
}

# settled [FILE]: when what was sent has gone as far as it goes.
settled() {
    local config=${1:-/etc/logweir/logweir.toml} before='' now
    while now=$(counts "$config") && [ "$now" != "$before" ]; do
        before=$now
        sleep 1.2
    done
    [ -n "$now" ]
}

# counts FILE: every count of a daemon.
counts() {
    logweir top --once --json -c "$1" | grep -oE '"[a-z_]*(lines|bytes)[a-z_]*": *[0-9]+'
}

# waits COMMAND...: until it succeeds, or for half a minute at most.
waits() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.05
    done
    false
}

# says_nothing_of FILE COMMAND...: runs a command that only warns of what it does not know.
says_nothing_of() {
    local said
    said=$("${@:2}" 2>&1)
    ! grep -E "(^|error: )$1:[0-9]+" <<<"$said"
}
