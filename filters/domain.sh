#!/bin/sh
# Keeps the lines whose URL's host is in one of the domains, or below it.
#
# usage:   domain.sh DOMAIN...
# input:   lines with fields apart by blanks; the URL is the first field that begins with a scheme
#          (http://...), or the HOST:PORT after CONNECT
# output:  those lines as they are, each at once
# example: [filter.wikipedia]
#          from = "squid"
#          run = "/usr/lib/logweir/filters/domain.sh wikipedia.org wikipedia.com"
#
# AWK names the awk to use. mawk waits for a full block of input unless it is told not to.

[ $# -gt 0 ] || { echo "usage: domain.sh DOMAIN..." >&2; exit 2; }
awk=${AWK:-awk}
at_once=
case $($awk -W version </dev/null 2>/dev/null) in mawk*) at_once='-W interactive' ;; esac

DOMAINS=$* LC_ALL=C exec $awk $at_once '
BEGIN {
    n = split(ENVIRON["DOMAINS"], list, " ")
    for (i = 1; i <= n; i++) {
        name = tolower(list[i])
        sub(/^\.+/, "", name); sub(/\.+$/, "", name)
        wanted[name] = 1
    }
}

function host_of(    i, url) {
    for (i = 1; i <= NF; i++) {
        if ($i ~ /^[A-Za-z][A-Za-z0-9+.-]*:\/\//) {
            url = $i
            sub(/^[^:]*:\/\//, "", url)
            break
        }
        if ($i == "CONNECT" && i < NF) { url = $(i + 1); break }
    }
    sub(/[\/?#].*/, "", url)
    sub(/^.*@/, "", url)
    sub(/:[0-9]*$/, "", url)
    sub(/\.$/, "", url)
    return tolower(url)
}

# Whether a host, or what is left of it behind one of its dots, is wanted.
function within(host,    dot) {
    while (host != "") {
        if (host in wanted) return 1
        dot = index(host, ".")
        if (!dot) return 0
        host = substr(host, dot + 1)
    }
    return 0
}

within(host_of()) { print; fflush() }
'
