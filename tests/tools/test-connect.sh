#!/bin/sh
# lintel connect: a line is a request, its reply is printed; as a program's, and on a terminal.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# peer LAYOUT: frames of JSON lines on standard input, as what the peer sends.
peer()
{
    "$LINTEL" encode --json --layout "$1" >replies || die "the peer's frames are no frames"
}
# talk STATUS ARGUMENT...: the lines of standard input against that peer; requests is what it was
# sent, err may have lines although it succeeds.
talk()
{
    want=$1
    shift
    ran="connect $*"
    got=0
    timeout 120 "$LINTEL" connect "$@" fd://3,4 >out 2>err 3<replies 4>requests || got=$?
    [ "$got" = "$want" ] || die "exit status $got, wanted $want"
}
sent() # TEXT
{
    cp err complaint
    run 0 decode ${layout:+--layout "$layout"} requests
    expect "$1"
    mv complaint err
}
layout=

# ---- lines and replies ---------------------------------------------------------------------------
peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
{"header":{"flags":1,"id":2},"payload":""}
{"header":{"flags":8,"type":2,"id":9},"payload":"7069"}
{"header":{"flags":1,"id":77},"payload":"58"}
{"header":{"flags":0,"id":3},"payload":"58"}
{"header":{"flags":5,"id":3},"payload":"43"}
{"header":{"flags":1,"id":3},"payload":"430a"}
END
printf 'one\n\nth\000ree' | talk 0 --type 5
[ ! -s err ] || die "it complains"
printf 'A\n\nCC\n\n' >wanted
same wanted out
sent '#0 type 5 id 1 3 bytes "one"
#19 type 5 id 2 0 bytes ""
#35 type 5 id 3 6 bytes "th\x00ree"
#57 PONG id 9 2 bytes "pi"'
for word in q quit exit; do
    printf 'one\n%s\nno more\n' $word | talk 0
    expect A
    sent '#0 type 0 id 1 3 bytes "one"'
done
printf 'qq' | talk 0
sent '#0 type 0 id 1 2 bytes "qq"'
talk 0 </dev/null
[ ! -s requests ] || die "no line is to be no request"
printf 'abcdefghi\n' | talk 0 --max-frame 4
sent '#0 type 0 id 1 MORE 4 bytes "abcd"
#20 type 0 id 1 MORE 4 bytes "efgh"
#40 type 0 id 1 1 byte "i"'

# ---- an error is shown, and the session goes on --------------------------------------------------
peer lintel <<END
{"header":{"flags":3,"id":1},"payload":"6e6f1b0a22ff"}
{"header":{"flags":1,"id":2},"payload":"42"}
END
printf 'a\nb\n' | talk 0
expect B
[ "$(cat err)" = 'lintel connect: the peer answered with an error: "no\x1b\n\"\xff"' ] || die "other words"
mkfifo silence
exec 5<>silence
got=0
printf 'a\nb\n' | timeout 100 "$LINTEL" connect --timeout 0.05 fd://3,4 >out 2>err 3<&5 4>requests || got=$?
[ $got = 0 ] || die "exit status $got"
printf 'lintel connect: no reply within 0.05 s\nlintel connect: no reply within 0.05 s\n' >wanted
same wanted err

# ---- a lost connection ---------------------------------------------------------------------------
# broken STATUS WORDS: two requests, of which the first is answered.
broken()
{
    printf 'a\nb\n' | talk "$1"
    [ "$(wc -l <err)" -eq 1 ] || die "there is to be one line on standard error"
    expect A
    complains "$2"
}
peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
END
broken 1 'lintel connect: the peer ended the connection; the request was '
printf 'LT' >>replies
broken 1 'frame at byte 17: '
peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
{"header":{"flags":8,"type":4},"payload":"0000000100000001"}
END
broken 1 'lintel connect: the peer said BYE 1 (draining), the last request it took has id 1; the request was '
peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
{"header":{"flags":8,"type":1},"payload":"$(printf '%096d' 0)"}
END
broken 1 'the peer wants a sealed session, and no key was given; the request was '
peer lintel <<END
{"header":{"flags":1,"id":1},"payload":"41"}
{"header":{"flags":5,"id":2},"payload":"4242"}
{"header":{"flags":1,"id":2},"payload":"62"}
END
printf 'a\nb\n' | talk 1 --max-message 2
complains 'exceeds the limit of 2 bytes; the request was perhaps handled'
sent '#0 type 0 id 1 1 byte "a"
#17 type 0 id 2 1 byte "b"
#34 BYE id 0 8 bytes "\x00\x00\x00\x05\x00\x00\x00\x00"'
# It is noticed while nothing is typed.
mkfifo keyboard
exec 6<>keyboard
peer lintel <<END
{"header":{"flags":8,"type":4},"payload":"0000000200000000"}
END
talk 1 <&6
complains 'lintel connect: the peer said BYE 2 (idle)'

# ---- other layouts, other endpoints, wrong words -------------------------------------------------
layout='!c:type I:id H:more I:length-4 * B:end=7'
peer "$layout" <<END
{"header":{"type":"5a","id":9},"payload":"58"}
{"header":{"type":"5a","id":1},"payload":"41"}
{"header":{"type":"5a","id":2},"payload":"42"}
END
printf 'a\nb\n' | talk 0 --layout "$layout" --type Q --set more=513
expect 'A
B'
sent '#0 type "Q" id 1 more 513 1 byte "a"
#13 type "Q" id 2 more 513 1 byte "b"'
layout=u8
peer u8 <<END
{"payload":"41"}
{"payload":"42"}
END
printf 'a\n%0256d\nb\n' 0 | talk 0 --layout u8
expect 'A
B'
complains 'length 256 is not one'
layout=
run 2 connect
run 2 connect http://localhost
run 2 connect fd://3,4 more
run 2 connect --layout '!H:id B:length *' --set id=3 fd://3,4
run 1 connect unix://"$work"/nobody

# ---- on a terminal -------------------------------------------------------------------------------
[ -n "${PYTHON3-}" ] || { echo "python3 is missing: not tried on a terminal"; exit 0; }
[ "${HAVE_UV:-yes}" = yes ] || { echo "no server in this build: not tried on a terminal"; exit 0; }
# terminal STATUS FDS [OPTION...]: talks to the server as the script on standard input says.
terminal()
{
    want=$1 fds=$2
    shift 2
    cat >script
    ran="connect $*"
    got=0
    "$PYTHON3" "$srcdir/tests/tools/terminal.py" "$fds" script sh -c "exec \"\$@\" ${into-}" sh \
        "$LINTEL" connect "$@" "$endpoint" >out 2>err || got=$?
    [ "$got" = "$want" ] || die "exit status $got, wanted $want"
}
serve -H 'exec:{ read -r word; [ "$word" != bad ] || exit 3; echo "<$word>"; }' \
    unix://"$work"/sock
export server
TERM=dumb terminal 0 012 <<'END'
expect > 
type one\n
expect <one>
expect > 
type bad\n
expect the peer answered with an error: "
expect > 
type two\n
expect <two>
expect > 
type q\n
END
# What does not go to the terminal is the replies and nothing else; the end of the input ends it.
into='>printed'
TERM=dumb terminal 0 02 <<'END'
expect > 
type one\n
expect > 
type \x04
END
into=
mv printed out
expect '<one>
'
# Lines can be edited, and earlier ones be had again.
if [ "${HAVE_LIBEDIT:-no}" = yes ]; then
    TERM=vt100 terminal 0 012 <<'END'
expect > 
type one\n
expect <one>
expect > 
type twx\x7fo\x01=\n
expect <=two>
expect > 
type \x10\x10!\n
expect <one!>
expect > 
type exit\n
END
fi
# A lost connection is seen at the prompt.
TERM=dumb terminal 1 012 <<'END'
expect > 
type one\n
expect <one>
expect > 
do kill $server
expect lintel connect: the peer said BYE 1 (draining)
END
wait "$server" || die "the server ends with $?"
servers=
