#!/bin/sh
# lintel call against peers that are written down: what they send stands in a file, what they are
# sent goes to one. Replies in any order, errors, fragments, control frames, ends of every kind.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# peer LAYOUT: frames of JSON lines on standard input, as what the peer sends.
peer()
{
    lintel encode --json --layout "$1" >replies || die "the peer's frames are no frames"
}
# call STATUS ARGUMENT...: against that peer; requests is then what it was sent.
call()
{
    want=$1
    shift
    run "$want" call fd://3,4 "$@" 3<replies 4>requests
}
sent() # TEXT
{
    cp out printed
    cp err complaint
    run 0 decode ${layout:+--layout "$layout"} requests
    expect "$1"
    mv printed out
    mv complaint err
}
layout=

# ---- replies in order, and not -----------------------------------------------------------------
peer lintel <<END
{"header":{"flags":1,"id":1,"type":5},"payload":"41"}
{"header":{"flags":1,"id":2,"type":5},"payload":""}
{"header":{"flags":1,"id":3,"type":5},"payload":"000aff"}
END
call 0 --type 5 text:one '' hex:000AFF
printf 'A\n\n\000\n\377\n' >wanted
same wanted out
sent '#0 type 5 id 1 3 bytes "one"
#19 type 5 id 2 0 bytes ""
#35 type 5 id 3 3 bytes "\x00\n\xff"'
call 0 --raw a b c
printf 'A\000\n\377' >wanted
same wanted out
call 0 --json a b c
expect '{"offset":0,"header":{"magic":19540,"version":1,"flags":1,"reserved":0,"type":5,"id":1,"length":1},"length":1,"payload":"41"}
{"offset":17,"header":{"magic":19540,"version":1,"flags":1,"reserved":0,"type":5,"id":2,"length":0},"length":0,"payload":""}
{"offset":33,"header":{"magic":19540,"version":1,"flags":1,"reserved":0,"type":5,"id":3,"length":3},"length":3,"payload":"000aff"}'
call 0 --half-close a b c
printf 'one\ntwo\r\nthree' >lines
call 0 --lines <lines
sent '#0 type 0 id 1 3 bytes "one"
#19 type 0 id 2 4 bytes "two\r"
#39 type 0 id 3 5 bytes "three"'
printf 'file\n' >file
printf 'in\n' >in
call 0 @file - -- --lines <in
sent '#0 type 0 id 1 5 bytes "file\n"
#21 type 0 id 2 3 bytes "in\n"
#40 type 0 id 3 7 bytes "--lines"'
call 0 text:text:x hex: @/dev/null
sent '#0 type 0 id 1 6 bytes "text:x"
#22 type 0 id 2 0 bytes ""
#38 type 0 id 3 0 bytes ""'
call 0 --lines </dev/null
[ ! -s requests ] || die "no line is to be no request"

peer lintel <<END
{"header":{"flags":1,"id":3},"payload":"43"}
{"header":{"flags":1,"id":77},"payload":"58"}
{"header":{"flags":1,"id":0},"payload":"58"}
{"header":{"flags":0,"id":1},"payload":"58"}
{"header":{"flags":8,"type":2,"id":9},"payload":"7069"}
{"header":{"flags":8,"type":3,"id":9},"payload":"7069"}
{"header":{"flags":1,"id":2},"payload":"42"}
{"header":{"flags":1,"id":2},"payload":"59"}
{"header":{"flags":1,"id":1},"payload":"41"}
END
call 0 a b c
expect 'A
B
C'
sent '#0 type 0 id 1 1 byte "a"
#17 type 0 id 2 1 byte "b"
#34 type 0 id 3 1 byte "c"
#51 PONG id 9 2 bytes "pi"'
call 0 --json a b c
sed 's/,"header.*"id":\([0-9]*\).*/ \1/' out >got
mv got out
expect '{"offset":138 1
{"offset":104 2
{"offset":0 3'

# ---- fragments -----------------------------------------------------------------------------------
peer lintel <<END
{"header":{"flags":5,"id":2},"payload":"4242"}
{"header":{"flags":8,"type":2},"payload":""}
{"header":{"flags":5,"id":2},"payload":""}
{"header":{"flags":1,"id":2},"payload":"62"}
{"header":{"flags":5,"id":1},"payload":"41"}
{"header":{"flags":1,"id":1},"payload":""}
END
call 0 a b
expect 'A
BBb'
call 0 --raw a b
printf 'ABBb' >wanted
same wanted out
call 0 --json a b
sed 's/,"header.*"id":\([0-9]*\).*/ \1/' out >got
mv got out
expect '{"offset":67 1
{"offset":84 1
{"offset":0 2
{"offset":34 2
{"offset":50 2'
for other in '"flags":5,"id":1' '"flags":1,"id":1' '"flags":5,"id":2,"type":1' '"flags":7,"id":2' '"flags":0,"id":2'; do
    peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
{"header":{"flags":5,"id":2},"payload":"4242"}
{"header":{$other},"payload":"62"}
END
    call 1 a b
    expect A
    complains 'frame at byte 35: type '
    complains ' between the fragments of the message at byte 17, type 0 id 2 flags 0x01; 1 request'
done
peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
{"header":{"flags":5,"id":2},"payload":"4242"}
END
call 1 a b
expect A
complains 'the stream ended between the fragments of its message; 1 request without a reply'

# What goes out over the limit goes in fragments.
peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
{"header":{"flags":1,"id":2},"payload":"42"}
END
call 0 --max-frame 4 abcdefghi jk
sent '#0 type 0 id 1 MORE 4 bytes "abcd"
#20 type 0 id 1 MORE 4 bytes "efgh"
#40 type 0 id 1 1 byte "i"
#57 type 0 id 2 2 bytes "jk"'

# ---- errors, lost replies, ends -----------------------------------------------------------------
peer lintel <<END
{"header":{"flags":3,"id":2},"payload":"6e6f1b0a22ff"}
{"header":{"flags":1,"id":1},"payload":"41"}
{"header":{"flags":1,"id":3},"payload":"43"}
END
call 1 a b c
expect 'A
C'
complains 'lintel call: request 2: the peer answered with an error: "no\x1b\n\"\xff"'
call 1 --json a b c
[ "$(wc -l <out)" -eq 3 ] || die "--json shows error replies, too"
call 1 a b c d
expect 'A
C'
complains 'the peer ended the connection; 1 request without a reply; request 2: the peer answered'
peer lintel <<END
{"header":{"flags":7,"id":1},"payload":"62"}
{"header":{"flags":3,"id":1},"payload":"6164"}
{"header":{"flags":3,"id":2},"payload":""}
END
call 1 a b
[ ! -s out ] || die "an error is no reply to print"
complains 'request 1: the peer answered with an error: "bad" (and 1 more)'

peer lintel <<END
{"header":{"flags":1,"id":3},"payload":"43"}
END
call 1 a b c d
expect C
complains 'lintel call: the peer ended the connection; 3 requests without a reply'
peer lintel </dev/null
call 1 a
complains 'the peer ended the connection; 1 request without a reply'
printf 'LT\1\1' >replies
call 1 a
complains 'byte 0'
printf 'HTTP/1.1 400 Bad Request\r\n\r\n' >replies
call 1 a
complains 'magic'
# What a peer did wrong it is told.
sent '#0 type 0 id 1 1 byte "a"
#17 BYE id 0 8 bytes "\x00\x00\x00\x04\x00\x00\x00\x00"'
peer lintel <<END
{"header":{"flags":5,"id":1},"payload":"4141"}
{"header":{"flags":5,"id":1},"payload":"4141"}
{"header":{"flags":1,"id":1},"payload":"4141"}
END
call 0 --max-message 6 a
expect AAAAAA
call 1 --max-message 5 a
complains 'the message at byte 0 exceeds the limit of 5 bytes; 1 request without a reply'
sent '#0 type 0 id 1 1 byte "a"
#17 BYE id 0 8 bytes "\x00\x00\x00\x05\x00\x00\x00\x00"'
peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
{"header":{"flags":8,"type":4},"payload":"0000000500000001"}
END
call 1 a b
expect A
complains 'lintel call: the peer said BYE 5 (too large), the last request it took has id 1; 1 request without a reply'
call 0 a
expect A
peer lintel <<END
{"header":{"flags":8,"type":4},"payload":"ffffffff00000000"}
END
call 1 a
complains 'the peer said BYE 4294967295'
peer lintel <<END
{"header":{"flags":8,"type":1},"payload":"$(printf '%096d' 0)"}
END
call 1 a
complains 'sealed'
sent '#0 type 0 id 1 1 byte "a"
#17 BYE id 0 8 bytes "\x00\x00\x00\x06\x00\x00\x00\x00"'

# A payload that fails in the middle: what came before it is answered.
peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
END
mkdir -p folder
call 1 a @folder c
expect A
complains 'cannot read folder'

# A peer that says nothing: the deadline.
mkfifo silence
exec 5<>silence
run 1 call --timeout 0.05 fd://3,4 a b 3<&5 4>requests
complains 'request 1: no reply within 0.05 s; 2 requests without a reply'

# One that does not read, either: a request in fragments does not all go out.
mkfifo unread
exec 6<>unread
head -c 3000000 /dev/zero >fragments
run 1 call --timeout 0.05 --max-frame 64K fd://3,4 @fragments 3<&5 4>&6
complains 'request 1: no reply within 0.05 s; 1 request without a reply, others were not sent'
exec 6>&-

# ---- foreign layouts -----------------------------------------------------------------------------
layout=u32
peer u32 <<END
{"payload":"41"}
{"payload":""}
{"payload":"43"}
END
call 0 --layout u32 a b c
expect 'A

C'
sent '#0 1 byte "a"
#5 1 byte "b"
#10 1 byte "c"'
call 1 --layout u32 a b c d
complains 'the peer ended the connection; 1 request without a reply'
call 0 --layout u32 a b
layout='!c:type I:id*2+1 H:more I:length-4 * B:end=7'
peer "$layout" <<END
{"header":{"type":"5a","id":3},"payload":"42"}
{"header":{"type":"5a","id":9},"payload":"58"}
{"header":{"type":"5a","id":1},"payload":"41"}
END
call 1 --layout "$layout" --type Q --set more=513 a b
layout='!c:type I:id H:more I:length-4 * B:end=7'
peer "$layout" <<END
{"header":{"type":"5a","id":2},"payload":"42"}
{"header":{"type":"5a","id":9},"payload":"58"}
{"header":{"type":"5a","id":1},"payload":"41"}
END
call 0 --layout "$layout" --type Q --set more=513 a b
expect 'A
B'
sent '#0 type "Q" id 1 more 513 1 byte "a"
#13 type "Q" id 2 more 513 1 byte "b"'
layout=u8
call 1 --layout u8 "$(printf '%0256d' 0)"
complains 'longer than the limit of 255 bytes'
