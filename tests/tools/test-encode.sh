#!/bin/sh
# lintel encode: every way to cut its input, ids, fragments, limits; and back through decode.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

text() # ARGUMENT...: encodes standard input, and shows it as text
{
    run 0 encode "$@"
    mv out frames
    run 0 decode frames
}

# ---- lines -----------------------------------------------------------------------------------
printf 'a\n\nb\r\nc' | text
expect '#0 type 0 id 1 1 byte "a"
#17 type 0 id 2 0 bytes ""
#33 type 0 id 3 2 bytes "b\r"
#51 type 0 id 4 1 byte "c"'
printf 'a\n' | text --lines
expect '#0 type 0 id 1 1 byte "a"'
printf '\n' | text
expect '#0 type 0 id 1 0 bytes ""'
for mode in --lines '--chunk 3' --json; do
    # shellcheck disable=SC2086 # an option and its value
    run 0 encode $mode </dev/null
    [ ! -s out ] || die "no input is to give no frame"
done
printf 'hello' | text
run 0 decode --hex frames
expect '#0 type 0 id 1 5 bytes
00000000  4c 54 01 00 00 00 00 00  00 00 00 01 00 00 00 05  |LT..............|
00000010  68 65 6c 6c 6f                                    |hello|'

# ---- whole, chunks -----------------------------------------------------------------------------
text --whole </dev/null
expect '#0 type 0 id 1 0 bytes ""'
printf 'a\nb\n' | text --whole
expect '#0 type 0 id 1 4 bytes "a\nb\n"'
printf 'abcdefgh' | text --chunk 3
expect '#0 type 0 id 1 3 bytes "abc"
#19 type 0 id 2 3 bytes "def"
#38 type 0 id 3 2 bytes "gh"'
printf 'abcdef' | text --chunk 3
expect '#0 type 0 id 1 3 bytes "abc"
#19 type 0 id 2 3 bytes "def"'
run 2 encode --whole --lines </dev/null
run 2 encode --chunk 3 --json </dev/null
run 2 encode file
complains 'takes no argument'

# ---- ids -------------------------------------------------------------------------------------
printf 'a\nb\nc' | text --id 4294967294
expect '#0 type 0 id 4294967294 1 byte "a"
#17 type 0 id 4294967295 1 byte "b"
#34 type 0 id 1 1 byte "c"'
printf 'a\nb' | text --id 0
expect '#0 type 0 id 0 1 byte "a"
#17 type 0 id 0 1 byte "b"'
foreign()
{
    run 0 encode "$@"
    mv out frames
    run 0 decode --layout "$2" frames
}
printf 'a\nb\nc' | foreign --layout '!B:id B:length *' --id 254
expect '#0 id 254 1 byte "a"
#3 id 255 1 byte "b"
#6 id 1 1 byte "c"'
printf 'a\nb\nc' | foreign --layout '!b:id B:length *' --id 126
expect '#0 id 126 1 byte "a"
#3 id 127 1 byte "b"
#6 id 1 1 byte "c"'
printf 'a\nb' | foreign --layout '!H:id>>4,low&15 B:length *' --set low=9
expect '#0 id 1 low 9 1 byte "a"
#4 id 2 low 9 1 byte "b"'
printf 'a\nb' | foreign --layout '!H:id B:length *' --set id=7
expect '#0 id 7 1 byte "a"
#4 id 7 1 byte "b"'
printf 'a\nb' | foreign --layout '!2s:id B:length *' --set id=xy
expect '#0 id "xy" 1 byte "a"
#4 id "xy" 1 byte "b"'
run 2 encode --layout '!B:id B:length *' --id 256 </dev/null

# ---- over the limit ----------------------------------------------------------------------------
printf 'abcdefg\nhi\njklm' | text --max-frame 3
expect '#0 type 0 id 1 MORE 3 bytes "abc"
#19 type 0 id 1 MORE 3 bytes "def"
#38 type 0 id 1 1 byte "g"
#55 type 0 id 2 2 bytes "hi"
#73 type 0 id 3 MORE 3 bytes "jkl"
#92 type 0 id 3 1 byte "m"'
{ head -c 400001 /dev/zero | tr '\0' x; echo; head -c 400000 /dev/zero | tr '\0' y; } >long
run 0 encode --max-frame 400000 <long
mv out frames
run 0 decode --json --max-frame 400000 frames
sed 's/.*"flags":\([0-9]*\).*"id":\([0-9]*\),"length":\([0-9]*\)}.*/\1 \2 \3/' out >got
mv got out
expect '4 1 262144
0 1 137857
0 2 400000'
printf 'abcdef' | text --max-frame 3 --whole --type 9
expect '#0 type 9 id 1 MORE 3 bytes "abc"
#19 type 9 id 1 3 bytes "def"'
printf 'abcdefgh' | text --max-frame 3 --chunk 4
expect '#0 type 0 id 1 MORE 3 bytes "abc"
#19 type 0 id 1 1 byte "d"
#36 type 0 id 2 MORE 3 bytes "efg"
#55 type 0 id 2 1 byte "h"'
printf 'ok\nabcd\n' >four
run 1 encode --layout u32 --max-frame 3 <four
complains 'longer than the limit of 3 bytes'
mv out frames
run 0 decode --layout u32 frames
expect '#0 2 bytes "ok"'
head -c 255 /dev/zero >z255
head -c 256 /dev/zero >z256
run 0 encode --layout u8 --whole <z255
run 1 encode --layout u8 --whole <z256
complains '255 bytes'

# Fragments are of 256 KiB; 16 MiB is one frame, and one byte more is 65 of them.
head -c 16777216 /dev/zero >big
run 0 encode --whole <big
[ "$(wc -c <out)" -eq 16777232 ] || die "16 MiB are to be one frame"
printf x >>big
run 0 encode --whole <big
mv out frames
run 0 decode --json frames
cut -c 1-150 out | sed 's/"payload.*//' >heads
[ "$(wc -l <heads)" -eq 65 ] || die "16 MiB and a byte are to be 65 fragments"
[ "$(grep -c '"flags":4,.*"id":1,"length":262144}' heads)" -eq 64 ] || die "64 of 256 KiB, with MORE"
tail -n 1 heads | grep -q '"flags":0,.*"id":1,"length":1}' || die "the last one of a byte"
run 0 decode --raw frames
same big out

# ---- what goes in comes out --------------------------------------------------------------------
awk 'BEGIN { srand(7); for (i = 0; i < 20000; i++) printf "%c", int(rand() * 256) }' >binary
printf 'a\0b\n\0\n' >>binary
for layout in lintel u16 u32 u64 u32le varint postgres amqp grpc mqtt mysql tpkt http2 \
              '!H:length+1*2 *' '<T:length-3 2x *' '!v:a v:length v:b * v:c' '!Q:length&0xffffff,x>>24 * 4s:end'; do
    lintel encode --layout "$layout" <binary 2>/dev/null >frames || case $layout in
    *'*2'*) continue ;; # an odd payload does not go into a count of pairs
    *) die "encode --layout $layout fails" ;;
    esac
    run 0 encode --layout "$layout" <binary
    mv out frames
    run 0 decode --layout "$layout" --raw frames
    tr -d '\n' <binary >wanted
    same wanted out
    run 0 encode --layout "$layout" --chunk 77 <binary
    mv out frames
    run 0 decode --layout "$layout" --raw frames
    same binary out
    run 0 decode --layout "$layout" --json <frames
    mv out json
    run 0 encode --layout "$layout" --json <json
    same frames out
done
run 0 encode --whole --layout u32 <binary
mv out frames
run 0 decode --raw --layout u32 frames
same binary out

# The largest program of this machine, 10 MB or so in all.
: >programs
for program in /bin/* /usr/bin/*; do
    [ -f "$program" ] && [ -r "$program" ] || continue
    head -c 4000000 "$program" >>programs
    [ "$(wc -c <programs)" -lt 10000000 ] || break
done
run 0 encode --whole <programs
mv out frames
run 0 decode --raw frames
same programs out
run 0 encode --lines <programs
mv out frames
run 0 decode --raw frames
tr -d '\n' <programs >wanted
same wanted out

# Lines of megabytes, in a time that grows with their length and no faster.
{ head -c 12000000 /dev/zero | tr '\0' x; echo; head -c 12000000 /dev/zero | tr '\0' y; } >long
run 0 encode <long
[ "$(wc -c <out)" -eq 24000032 ] || die "two long lines are to be two frames"

# Input that comes in drips is not kept back: the first frame is there before the second line.
mkfifo in
$bounded "$LINTEL" encode <in >drips &
encoder=$!
servers="$servers $encoder"
exec 3>in
echo one >&3
wait_until '[ "$(wc -c <drips)" -ge 19 ]' "a line that is there is kept back"
echo two >&3
exec 3>&-
finish $encoder 0
run 0 decode drips
expect '#0 type 0 id 1 3 bytes "one"
#19 type 0 id 2 3 bytes "two"'
