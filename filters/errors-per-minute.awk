# Counts the server errors (status 5xx) of each minute.
#
# usage:   awk -f errors-per-minute.awk
# input:   squid's native log (epoch first, TCP_MISS/503 fourth), Wikimedia's squid format (an ISO
#          time among the first fields, TCP_MISS/503), or Apache's common and combined formats
# output:  a line a minute, "2026-11-23T05:31 17 of 4022"; a minute is printed once the one after
#          it is over too (lines arrive a little out of order), the rest at the end of input.
#          squid's times are printed in UTC, the others as they are in the log.
# example: [output.errors]
#          from = "squid"
#          pipe = "awk -f /usr/lib/logweir/filters/errors-per-minute.awk >> /srv/log/5xx"

BEGIN { split("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", names, " ")
        for (i = 1; i <= 12; i++) month[names[i]] = sprintf("%02d", i) }

# Days since 1970 to a date, by the calendar's 400-year cycle (strftime is not in every awk).
function utc(epoch,    days, era, doe, yoe, doy, mp, y, m, s) {
    days = int(epoch / 86400); s = int(epoch) - days * 86400; days += 719468
    era = int(days / 146097); doe = days - era * 146097
    yoe = int((doe - int(doe / 1460) + int(doe / 36524) - int(doe / 146096)) / 365)
    doy = doe - (365 * yoe + int(yoe / 4) - int(yoe / 100))
    mp = int((5 * doy + 2) / 153); m = mp < 10 ? mp + 3 : mp - 9
    y = yoe + era * 400 + (m <= 2)
    return sprintf("%04d-%02d-%02dT%02d:%02d", y, m, doy - int((153 * mp + 2) / 5) + 1,
                   int(s / 3600), int(s / 60) % 60)
}

function minute_of(    i, t) {
    if ($1 ~ /^[0-9]+\.[0-9][0-9][0-9]$/) return utc($1)
    for (i = 1; i <= 4; i++) {
        if ($i ~ /^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:/) return substr($i, 1, 16)
        if ($i ~ /^\[[0-9][0-9]\/[A-Z][a-z][a-z]\//) {
            t = $i
            return substr(t, 9, 4) "-" month[substr(t, 5, 3)] "-" substr(t, 2, 2) \
                "T" substr(t, 14, 5)
        }
    }
    return ""
}

function status_of(    i, part, n) {
    for (i = 1; i <= 7 && i <= NF; i++)
        if ($i ~ /^[A-Z_]+\/[0-9][0-9][0-9]$/) { n = split($i, part, "/"); return part[n] }
    # Combined: the first number after the request's closing quote.
    n = split($0, part, "\"")
    if (n < 3) return ""
    split(part[3], part, " ")
    return part[1]
}

# Prints the minutes before `end` (all of them for ""), oldest first.
function report(end,    m, oldest) {
    for (;;) {
        oldest = ""
        for (m in lines)
            if ((end == "" || m < end) && (oldest == "" || m < oldest)) oldest = m
        if (oldest == "") return
        print oldest, errors[oldest] + 0, "of", lines[oldest]
        fflush()
        delete lines[oldest]; delete errors[oldest]
    }
}

{
    minute = minute_of()
    if (minute == "") next
    if (minute > newest) { report(newest); newest = minute }
    lines[minute]++
    if (status_of() ~ /^5[0-9][0-9]$/) errors[minute]++
}

END { report("") }
