#!/bin/sh
# Takes the person out of an address: the last octet of IPv4, the last 80 bits of IPv6 become 0.
#
# usage:   anonymise.sh [FIELD]
# input:   any lines. Without FIELD every address in the line is changed, and so is what only looks
#          like one (a version such as 119.0.6045.123 does not, its numbers are too large). With
#          FIELD only that field, counted from 1, apart by single blanks or tabs.
# output:  every line, each at once; 192.0.2.77 as 192.0.2.0, 2001:db8:5:6::7 as 2001:db8:5::
# example: [filter.anonymous]
#          from = "squid"
#          run = "/usr/lib/logweir/filters/anonymise.sh 5"
#
# AWK names the awk to use. mawk waits for a full block of input unless it is told not to.

awk=${AWK:-awk}
at_once=
case $($awk -W version </dev/null 2>/dev/null) in mawk*) at_once='-W interactive' ;; esac

LC_ALL=C exec $awk $at_once -v field="${1:-0}" '
function is4(text,    part, i) {
    if (text !~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) return 0
    split(text, part, ".")
    for (i = 1; i <= 4; i++) if (length(part[i]) > 3 || part[i] > 255) return 0
    return 1
}

function hide4(text) { sub(/[0-9]+$/, "0", text); return text }

function hide6(text,    gap, head, tail, heads, tails, i, out) {
    if (text !~ /^[0-9A-Fa-f:]+$/ || text ~ /:::/ || text ~ /::.*::/) return ""
    gap = index(text, "::")
    heads = split(gap ? substr(text, 1, gap - 1) : text, head, ":")
    tails = gap ? split(substr(text, gap + 2), tail, ":") : 0
    if (gap ? heads + tails > 7 : heads != 8) return ""
    for (i = 1; i <= heads; i++) if (head[i] == "" || length(head[i]) > 4) return ""
    for (i = 1; i <= tails; i++) if (tail[i] == "" || length(tail[i]) > 4) return ""
    # The first three groups; of those only the gap holds can be left out, at the end.
    for (i = heads + 1; i <= 3; i++) head[i] = i <= 8 - tails ? "0" : tail[i - 8 + tails]
    for (i = 3; i > 0 && head[i] ~ /^0+$/; i--) ;
    for (out = ""; i > 0; i--) out = head[i] (out == "" ? "" : ":" out)
    return out "::"
}

# The text, its address made anonymous; unchanged where it is none.
function hide(text,    hidden, at) {
    if (is4(text)) return hide4(text)
    if (tolower(text) ~ /^::ffff:/ && is4(substr(text, 8))) return hide4(text)
    at = index(text, ":")
    if (at && is4(substr(text, 1, at - 1)))             # with a port
        return hide4(substr(text, 1, at - 1)) substr(text, at)
    hidden = text ~ /:.*:/ ? hide6(text) : ""
    return hidden == "" ? text : hidden
}

# The text with every address in it made anonymous. A run of address characters that stands in a
# word is none; a full stop or a colon behind an address is not part of it.
function hide_all(text,    out, token, rest, last) {
    out = ""
    while (match(text, /[0-9A-Fa-f:.]+/)) {
        token = substr(text, RSTART, RLENGTH)
        last = RSTART > 1 ? substr(text, RSTART - 1, 1) : substr(out, length(out), 1)
        rest = substr(text, RSTART + RLENGTH)
        out = out substr(text, 1, RSTART - 1)
        if (last !~ /[A-Za-z0-9_]/ && rest !~ /^[A-Za-z0-9_]/) out = out hide_end(token)
        else out = out token
        text = rest
    }
    return out text
}

function hide_end(token,    tail) {
    tail = ""
    if (token ~ /\.$/ || token ~ /[^:]:$/) {
        tail = substr(token, length(token))
        token = substr(token, 1, length(token) - 1)
    }
    return hide(token) tail
}

# The line with one field changed and every blank kept.
function hide_field(text, wanted,    out, i, at) {
    out = ""
    for (i = 1; at = match(text, /[ \t]/); i++) {
        if (i == wanted) return out hide_all(substr(text, 1, at - 1)) substr(text, at)
        out = out substr(text, 1, at)
        text = substr(text, at + 1)
    }
    return out (i == wanted ? hide_all(text) : text)
}

{ print field ? hide_field($0, field) : hide_all($0); fflush() }
'
