# The most frequent values of a field.
#
# usage:   awk -v field=9 [-v n=10] [-v every=100000] -f top.awk
# input:   lines with fields apart by blanks; field 0 is the whole line
# output:  "COUNT VALUE", most frequent first, equal ones in the order of their bytes; at the end
#          of input, and with `every` also after so many lines, each report followed by an empty
#          line and the count begun anew
# example: [output.top-urls]
#          from = "squid"
#          sample = 100
#          pipe = "awk -v field=9 -f /usr/lib/logweir/filters/top.awk > /srv/log/top-urls"

BEGIN { if (field == "") field = 1; if (n == "") n = 10 }

function report(    i, value, best) {
    for (i = 0; i < n; i++) {
        best = ""
        for (value in count)
            if (best == "" || count[value] > count[best] || \
                (count[value] == count[best] && value "" < best "")) best = value
        if (best == "") break
        print count[best], best
        delete count[best]
    }
    for (value in count) delete count[value]
}

field > NF || $field == "" { next }
{ count[$field]++ }
every && ++seen % every == 0 { report(); print ""; fflush() }
END { report() }
