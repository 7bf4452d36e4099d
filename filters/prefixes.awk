# Counts the lines of each address prefix: /24 for IPv4, /48 for IPv6.
#
# usage:   awk [-v field=3] -f prefixes.awk
# input:   lines with fields apart by blanks; without `field` the first field that is an address
# output:  "COUNT PREFIX" in no order at the end of input, lines without an address as "COUNT -"
# example: [output.prefixes]
#          from = "squid"
#          sample = 100
#          pipe = "awk -f /usr/lib/logweir/filters/prefixes.awk | sort -rn > /srv/log/prefixes"

function prefix4(text,    part) {
    if (text !~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) return ""
    split(text, part, ".")
    if (part[1] > 255 || part[2] > 255 || part[3] > 255 || part[4] > 255) return ""
    return (part[1] + 0) "." (part[2] + 0) "." (part[3] + 0) ".0/24"
}

# A group without its leading zeros, in lower case.
function group(text) {
    text = tolower(text)
    sub(/^0+/, "", text)
    return text == "" ? "0" : text
}

function prefix6(text,    gap, head, tail, heads, tails, i, out) {
    if (tolower(text) ~ /^::ffff:[0-9.]+$/) return prefix4(substr(text, 8))
    if (text !~ /^[0-9A-Fa-f:]+$/ || text ~ /:::/ || text ~ /::.*::/) return ""
    gap = index(text, "::")
    if (!gap) {
        if (split(text, head, ":") != 8) return ""
        heads = 8
    } else {
        heads = split(substr(text, 1, gap - 1), head, ":")
        tails = split(substr(text, gap + 2), tail, ":")
        if (heads + tails > 7) return ""
        for (i = heads + 1; i <= 8 - tails; i++) head[i] = "0"
        for (i = 1; i <= tails; i++) head[8 - tails + i] = tail[i]
    }
    for (i = 1; i <= 8; i++) if (head[i] == "" || length(head[i]) > 4) return ""
    out = group(head[1]) ":" group(head[2]) ":" group(head[3]) "::/48"
    sub(/^0:0:0::/, "::", out)
    sub(/:0:0::/, "::", out)
    sub(/:0::/, "::", out)
    return out
}

function prefix(text,    found) {
    found = prefix4(text)
    return found == "" && text ~ /:.*:/ ? prefix6(text) : found
}

{
    found = ""
    if (field) found = prefix($field)
    else for (i = 1; i <= NF && found == ""; i++) found = prefix($i)
    count[found == "" ? "-" : found]++
}

END { for (found in count) print count[found], found }
