#!/bin/sh
# lintel layout --dictionary: lines that libFuzzer and AFL read, and frames that are frames.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# The lines of $1 are comments or entries, of at most 128 bytes, with names that differ.
check_syntax()
{
    ! grep -vE '^(#.*|[A-Za-z_][A-Za-z0-9_]*="([A-Za-z]|\\x[0-9a-f]{2})+")$' "$1" ||
        die "$2: lines that are no entries"
    sed -n 's/^[^#"]*"\(.*\)"$/\1/p' "$1" | sed 's/\\x../x/g' | awk 'length($0) > 128 { exit 1 }' ||
        die "$2: an entry of more than 128 bytes"
    [ -z "$(sed -n 's/^\([^#=]*\)=.*/\1/p' "$1" | sort | uniq -d)" ] || die "$2: a name twice"
}
run 0 layout --dictionary
mv out all
check_syntax all 'all layouts'
lintel layout | cut -d ' ' -f 1 >names
while read -r name; do
    grep -q "^# $name: " all || die "$name is not among all"
    run 0 layout --dictionary "$name"
    mv out one
    check_syntax one "$name"
    prefix=$(printf '%s' "$name" | sed 's/[^a-z0-9]/_/g; s/^[0-9]/frame_&/')
    for file in one all; do
        entry=$(grep "^${prefix}_frame=" $file) || die "$name: no frame"
        printf '%s' "$entry" | sed 's/^[^"]*"//; s/"$//' >text
        # A letter stands for itself, \xNN for a byte.
        sed 's/\\x\(..\)/\n\1\n/g' text | awk '
            BEGIN { for (i = 65; i < 123; i++) code[sprintf("%c", i)] = sprintf("%02x", i) }
            NR % 2 == 0 { printf "%s", $0; next }
            { for (j = 1; j <= length($0); j++) printf "%s", code[substr($0, j, 1)] }' | unhex >frame
        run 0 decode --json --layout "$name" frame
        [ "$(wc -l <out)" -eq 1 ] || die "$name: its frame is not one frame"
    done
done <names

# Lengths about the limits, in the place and shape that they have on the wire.
run 0 layout --dictionary postgres
grep -qx 'postgres_length_0="\\x00\\x00\\x00\\x04"' out || die "0"
grep -qx 'postgres_length_1="\\x00\\x00\\x00\\x05"' out || die "1"
grep -qx 'postgres_length_limit="\\x01\\x00\\x00\\x04"' out || die "the limit"
grep -qx 'postgres_length_over_limit="\\x01\\x00\\x00\\x05"' out || die "over the limit"
grep -qx 'postgres_length_most="\\xff\\xff\\xff\\xff"' out || die "the most"
grep -qx 'postgres_length_too_small="\\x00\\x00\\x00\\x03"' out || die "too small"
run 0 layout --dictionary mqtt
grep -qx 'mqtt_length_most="\\xff\\xff\\xff\\x7f"' out || die "the most"
grep -qx 'mqtt_length_overlong="\\x80\\x00"' out || die "an overlong varint"
run 0 layout --dictionary oncrpc
grep -qx 'oncrpc_length_most="\\x7f\\xff\\xff\\xff"' out || die "the most"
run 0 layout --dictionary amqp
grep -qx 'amqp_end="\\xce"' out || die "a constant of the trailer"

# A SPEC, and a prefix.
run 0 layout --dictionary --prefix my-own "!2s:magic='zz' H:length-3 3x * 2s:end='AB'"
expect "# !2s:magic='zz' H:length-3 3x * 2s:end='AB'
my_own_frame=\"zz\\x00\\x03\\x00\\x00\\x00AB\"
my_own_magic=\"zz\"
my_own_length_0=\"\\x00\\x03\"
my_own_length_1=\"\\x00\\x04\"
my_own_length_limit=\"\\xff\\xff\"
my_own_length_word_0=\"\\x00\\x00\"
my_own_length_word_1=\"\\x00\\x01\"
my_own_length_too_small=\"\\x00\\x02\"
my_own_end=\"AB\""
run 0 layout --dictionary '!200s:long B:length *'
grep -q '^# its shortest frame is over 128 bytes$' out || die "a frame that is too long for AFL"
run 0 layout --dictionary 'B:length ?:a b:sign=-3,twice*2 *'
! grep _frame= out || die "a frame where there can be none"
run 2 layout --dictionary '!H:size *'
run 2 layout --dictionary --prefix x
