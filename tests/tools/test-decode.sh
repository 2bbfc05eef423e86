#!/bin/sh
# lintel decode: every form, errors with the frames before them, hostile text.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"
vectors=$srcdir/proto/vectors

# ---- the forms ---------------------------------------------------------------------------------
unhex <"$vectors/valid/lintel-request-reply/wire.hex" >frames
run 0 decode frames
expect '#0 type 7 id 1 5 bytes "hello"
#21 type 7 id 1 REPLY 5 bytes "HELLO"'
run 0 decode --text <frames
expect '#0 type 7 id 1 5 bytes "hello"
#21 type 7 id 1 REPLY 5 bytes "HELLO"'
run 0 decode --json - <frames
expect '{"offset":0,"header":{"magic":19540,"version":1,"flags":0,"reserved":0,"type":7,"id":1,"length":5},"length":5,"payload":"68656c6c6f"}
{"offset":21,"header":{"magic":19540,"version":1,"flags":1,"reserved":0,"type":7,"id":1,"length":5},"length":5,"payload":"48454c4c4f"}'
run 0 decode --hex frames
expect '#0 type 7 id 1 5 bytes
00000000  4c 54 01 00 00 00 00 07  00 00 00 01 00 00 00 05  |LT..............|
00000010  68 65 6c 6c 6f                                    |hello|
#21 type 7 id 1 REPLY 5 bytes
00000015  4c 54 01 01 00 00 00 07  00 00 00 01 00 00 00 05  |LT..............|
00000025  48 45 4c 4c 4f                                    |HELLO|'
run 0 decode --raw frames
printf 'helloHELLO' >wanted
same wanted out
unhex <"$vectors/valid/lintel-ping-pong/wire.hex" >frames
run 0 decode frames
grep -q '^#0 PING id [0-9]* [0-9]* bytes ' out || die "a control frame has no name"
unhex <"$vectors/valid/amqp/wire.hex" >frames
run 0 decode --layout amqp frames
expect '#0 type 8 channel 0 0 bytes ""
#8 type 1 channel 1 4 bytes "\x00\x14\x00)"
#20 type 1 channel 0 12 bytes "\x00\n\x00\x1f\x07\xff\x00\x02\x00\x00\x00<"'
run 0 decode --layout amqp --json frames
expect '{"offset":0,"header":{"type":8,"channel":0,"length":0,"end":206},"length":0,"payload":""}
{"offset":8,"header":{"type":1,"channel":1,"length":4,"end":206},"length":4,"payload":"00140029"}
{"offset":20,"header":{"type":1,"channel":0,"length":12,"end":206},"length":12,"payload":"000a001f07ff00020000003c"}'
run 0 decode --layout amqp --hex frames
expect '#0 type 8 channel 0 0 bytes
00000000  08 00 00 00 00 00 00 ce                           |........|
#8 type 1 channel 1 4 bytes
00000008  01 00 01 00 00 00 04 00  14 00 29 ce              |..........).|
#20 type 1 channel 0 12 bytes
00000014  01 00 00 00 00 00 0c 00  0a 00 1f 07 ff 00 02 00  |................|
00000024  00 00 3c ce                                       |..<.|'
run 0 decode </dev/null
[ ! -s out ] || die "nothing is to give nothing"

# Numbers that not every JSON reader keeps, and byte strings, are strings.
edge='!Q:u q:i 3s:s c:c d:d f:f ?:b H:length *'
printf '0020000000000000 ffe0000000000000 00ff41 7a 3ff8000000000000 3dcccccd 01 0000' | unhex >frames
printf '001fffffffffffff ffe0000000000001 000000 00 7ff0000000000000 ff800000 00 0000' | unhex >>frames
printf 'ffffffffffffffff 8000000000000000 000000 00 7ff8000000000000 7fc00000 00 0000' | unhex >>frames
printf '0000000000000000 7fffffffffffffff 000000 00 fff8000000000001 ffc00001 00 0000' | unhex >>frames
printf '0000000000000000 0000000000000000 000000 00 8000000000000000 80000000 00 0000' | unhex >>frames
run 0 decode --json --layout "$edge" frames
expect '{"offset":0,"header":{"u":"9007199254740992","i":"-9007199254740992","s":"00ff41","c":"7a","d":1.5,"f":0.1,"b":1,"length":0},"length":0,"payload":""}
{"offset":35,"header":{"u":9007199254740991,"i":-9007199254740991,"s":"000000","c":"00","d":"inf","f":"-inf","b":0,"length":0},"length":0,"payload":""}
{"offset":70,"header":{"u":"18446744073709551615","i":"-9223372036854775808","s":"000000","c":"00","d":"nan","f":"nan","b":0,"length":0},"length":0,"payload":""}
{"offset":105,"header":{"u":0,"i":"9223372036854775807","s":"000000","c":"00","d":"-nan(0x1)","f":"-nan(0x1)","b":0,"length":0},"length":0,"payload":""}
{"offset":140,"header":{"u":0,"i":0,"s":"000000","c":"00","d":-0,"f":-0,"b":0,"length":0},"length":0,"payload":""}'
mv out json
run 0 encode --json --layout "$edge" <json
same frames out

# ---- text from a peer is shown, and does nothing -----------------------------------------------
printf 'plain "quoted" back\\slash\ttab\r\033[31m\177\302\205 \303\251 \342\202\254 \360\237\230\200 \342\200\256 \300\257 \340\200\257 \360\217\277\277 \355\240\200 \364\220\200\200 \377' >text
run 0 encode --whole <text
mv out frames
run 0 decode frames
printf '#0 type 0 id 1 %d bytes "plain \\"quoted\\" back\\\\slash\\ttab\\r\\x1b[31m\\x7f\\xc2\\x85 \303\251 \342\202\254 \360\237\230\200 \\xe2\\x80\\xae \\xc0\\xaf \\xe0\\x80\\xaf \\xf0\\x8f\\xbf\\xbf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xff"\n' "$(wc -c <text)" >wanted
same wanted out

# ---- every vector ------------------------------------------------------------------------------
# frames.txt of a JSON line, byte strings without their hex:.
flatten()
{
    sed 's/^{"offset":\([0-9]*\),"header":{\(.*\)},"length":\([0-9]*\),"payload":"\([0-9a-f]*\)"}$/\1 \3 \4 \2/
         s/^\([0-9]* [0-9]*\)  /\1 - /; s/"//g; s/:/=/g; s/,/ /g'
}
options() # DIRECTORY: sets $layout and $limit
{
    layout=lintel
    limit=
    [ ! -f "$1/layout" ] || layout=$(cat "$1/layout")
    [ ! -f "$1/max_frame" ] || limit=--max-frame=$(cat "$1/max_frame")
}
count=0
for vector in "$vectors"/valid/*; do
    name=$(basename "$vector")
    options "$vector"
    [ "$(wc -c <"$vector/wire.hex")" -lt 100000 ] || continue
    unhex <"$vector/wire.hex" >frames
    # shellcheck disable=SC2086 # nothing, or an option
    run 0 decode --json --layout "$layout" $limit frames
    mv out json
    flatten <json >got
    sed 's/=hex:/=/g' "$vector/frames.txt" >wanted
    cmp -s wanted got || { diff wanted got >&2 || :; die "$name: other frames than frames.txt"; }
    # shellcheck disable=SC2086
    run 0 encode --json --layout "$layout" $limit <json
    # Bits that belong to no view are not kept; the frames are the same.
    if ! cmp -s frames out; then
        mv out again
        # shellcheck disable=SC2086
        run 0 decode --json --layout "$layout" $limit again
        same json out
    fi
    for form in text hex raw; do
        # shellcheck disable=SC2086
        run 0 decode --$form --layout "$layout" $limit frames
    done
    count=$((count + 1))
done
[ $count -gt 90 ] || die "only $count vectors"
for vector in "$vectors"/invalid/*; do
    name=$(basename "$vector")
    options "$vector"
    [ "$(wc -c <"$vector/wire.hex")" -lt 100000 ] || continue
    unhex <"$vector/wire.hex" >frames
    # shellcheck disable=SC2086
    run 1 decode --json --layout "$layout" $limit frames
    flatten <out >got
    sed -n 's/=hex:/=/g; s/^frame //p' "$vector/error.txt" >wanted
    cmp -s wanted got || { diff wanted got >&2 || :; die "$name: other frames before the error"; }
    offset=$(sed -n 's/^error [A-Z_]* //p' "$vector/error.txt")
    complains "byte $offset"
done

# ---- errors ------------------------------------------------------------------------------------
printf 'one\ntwo\n' | lintel encode >frames
printf 'GET / HTTP/1.1\r\n\r\n' >>frames
run 1 decode frames
expect '#0 type 0 id 1 3 bytes "one"
#19 type 0 id 2 3 bytes "two"'
complains 'lintel decode: '
complains 'byte 38'
complains 'magic'
printf 'one\n' | lintel encode | head -c 18 >frames
run 1 decode frames
[ ! -s out ] || die "a frame that is not whole is shown"
complains 'byte 0'
run 1 decode --layout u8 --max-frame 2 frames
complains '76'
run 1 decode nosuch
complains 'cannot open nosuch: No such file'
run 1 decode .
complains 'cannot read .: Is a directory'
run 2 decode one two
run 2 decode --text --json one
complains 'one of --text, --json, --hex and --raw'

# ---- a preface ---------------------------------------------------------------------------------
{ printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'; printf '000000 04 00 00000000' | unhex; } >frames
run 0 decode --skip 24 --layout http2 frames
expect '#0 type 4 flags 0 stream 0 0 bytes ""'
run 0 decode --skip 33 --layout http2 frames
[ ! -s out ] || die "there is nothing behind what was skipped"
run 1 decode --skip 34 --layout http2 frames
complains 'ended before the 34 bytes to skip'
run 0 decode --skip=0 --layout http2 </dev/null

# ---- frames that come in drips are shown as they come ------------------------------------------
printf 'one\n' | lintel encode >frames
mkfifo in
$bounded "$LINTEL" decode <in >drips &
decoder=$!
servers="$servers $decoder"
exec 3>in
cat frames >&3
head -c 7 frames >&3
wait_until '[ -s drips ]' "a frame that is there is kept back"
tail -c 12 frames >&3
exec 3>&-
finish $decoder 0
cp drips out
expect '#0 type 0 id 1 3 bytes "one"
#19 type 0 id 1 3 bytes "one"'
