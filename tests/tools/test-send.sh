#!/bin/sh
# lintel send against peers that are written down: id 0, the end, a BYE.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

send() # STATUS ARGUMENT...: replies is what the peer sends
{
    want=$1
    shift
    run "$want" send fd://3,4 "$@" 3<replies 4>requests
    [ ! -s out ] || die "send prints nothing"
}
sent() # TEXT
{
    cp err complaint
    run 0 decode ${layout:+--layout "$layout"} requests
    expect "$1"
    mv complaint err
}
layout=

: >replies
send 0 one '' hex:00ff
sent '#0 type 0 id 0 3 bytes "one"
#19 type 0 id 0 0 bytes ""
#35 type 0 id 0 2 bytes "\x00\xff"'
send 0 --type 7 --max-frame 2 abcde
sent '#0 type 7 id 0 MORE 2 bytes "ab"
#18 type 7 id 0 MORE 2 bytes "cd"
#36 type 7 id 0 1 byte "e"'
printf 'a\nb' >lines
send 0 --lines <lines
sent '#0 type 0 id 0 1 byte "a"
#17 type 0 id 0 1 byte "b"'
send 0 - @lines <lines
sent '#0 type 0 id 0 3 bytes "a\nb"
#19 type 0 id 0 3 bytes "a\nb"'

# A file over the frame limit goes in fragments, as it is read.
head -c 20000000 /dev/urandom >big
send 0 @big
run 0 decode --raw requests
same big out
run 0 decode --json requests
[ "$(wc -l <out)" -eq 77 ] || die "20000000 bytes are 77 fragments"

# However large it is, in constant memory, and however much the peer sends meanwhile.
if [ "${INSTRUMENTED:-no}" = no ]; then
    truncate -s 1G sparse
    head -c 50000000 /dev/zero | "$LINTEL" encode --whole --max-frame 100M >replies
    (
        ulimit -v 49152
        run 0 send --max-frame 100M fd://3,4 @sparse 3<replies 4>/dev/null
    ) || exit 1
    rm sparse
fi

# What the peer sends is passed over, but for a BYE.
printf '{"header":{"flags":1,"id":1},"payload":"41"}\n{"header":{"flags":8,"type":2}}\n' |
    lintel encode --json >replies
send 0 one
for reason in 1 5 10; do
    printf '{"header":{"flags":8,"type":4},"payload":"%08x00000000"}\n' $reason |
        lintel encode --json >replies
    send 1 one
    complains "the peer said BYE $reason"
done
printf '{"header":{"flags":8,"type":4},"payload":"0000000000000000"}\n' | lintel encode --json >replies
send 0 one
printf 'LT' >replies
send 1 one
complains 'byte 0'
sent '#0 type 0 id 0 3 bytes "one"'
printf '{"header":{"flags":8,"type":1},"payload":"%096d"}\n' 0 | "$LINTEL" encode --json >replies
send 1 one
complains 'sealed'
mkfifo silence
exec 5<>silence
run 1 send --timeout 0.05 fd://3,4 a 3<&5 4>requests
complains 'the peer did not end within 0.05 s'
mkfifo unread
exec 6<>unread
head -c 3000000 /dev/zero >large
run 1 send --timeout 0.05 fd://3,4 @large 3<&5 4>&6
complains 'the peer did not read within 0.05 s'
exec 6>&-

: >replies
layout=amqp
send 0 --layout amqp --type 3 --set channel=9 one
sent '#0 type 3 channel 9 3 bytes "one"'
layout='!B:id B:length *'
send 0 --layout "$layout" a
sent '#0 id 0 1 byte "a"'
send 0 --layout "$layout" --set id=5 a
sent '#0 id 5 1 byte "a"'

# ---- the progress bar ----------------------------------------------------------------------------
[ -n "${PYTHON3-}" ] || { echo "python3 is missing: no bar was looked at"; exit 0; }
# bar STATUS PAYLOAD...: what came to standard error, a terminal, is then in out.
bar()
{
    want=$1
    shift
    ran="send $*"
    got=0
    before=$(date +%s)
    "$PYTHON3" "$srcdir/tests/tools/terminal.py" 2 /dev/null "$LINTEL" send --timeout 0.3 fd://3,4 \
        "$@" 3<&7 4>&8 >out 2>err || got=$?
    seconds=$(($(date +%s) - before + 1))
    [ "$got" = "$want" ] || die "exit status $got, wanted $want"
    tr '\r' '\n' <out | sed 's/.\[K$//; /^$/d' >lines
    # The drawing at the end comes when it is the end.
    [ "$(grep -c '%' lines)" -le $((seconds * 10 + 2)) ] || die "it is drawn too often"
}
exec 7</dev/null 8>/dev/null
bar 0 @big @big text:more
tail -n 1 lines >out
grep -qx '100% \[=\{10,40\}\] 38 MiB of 38 MiB, [0-9.]* [KMG]*i*B/s' out || die "another last line"
bar 0 small
[ ! -s lines ] || die "what is small needs no bar"
exec 7<&5 8<>unread
bar 1 @big
tail -n 1 lines >err
complains 'the peer did not read within 0.3 s'
sed -n '$!p' lines | tail -n 1 >out
grep -qx ' *[0-9]% \[=*> *\] [0-9.]* [KM]iB of 19 MiB, [0-9.]* [KM]*i*B/s, [0-9a-z ]* left' out ||
    die "another line"
exec 8>&-
