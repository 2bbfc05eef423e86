# proto/layouts -> the table of known layouts in C. A line: NAME SPEC # REFERENCE.
function quote(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); return "\"" s "\"" }
/^[ \t]*(#|$)/ { next }
{
    name = $1
    rest = $0
    sub(/^[^ \t]+[ \t]+/, "", rest)
    mark = match(rest, /[ \t]+#[ \t]*/)
    if (!mark) { print "known.awk: line " NR ": no reference" > "/dev/stderr"; exit 1 }
    print "    {" quote(name) ", " quote(substr(rest, 1, RSTART - 1)) ",\n     " \
          quote(substr(rest, RSTART + RLENGTH)) "},"
}
