#!/bin/sh
# The clients in examples/, as `make check` compiles them, against the program and the examples, over
# TCP and UNIX.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# client STATUS NAME ARGUMENT...
client()
{
    want=$1 name=$2
    shift 2
    got=0
    timeout 100 "$builddir/examples/$name" "$@" >out 2>err || got=$?
    [ "$got" = "$want" ] || die "$name: exit status $got, wanted $want"
}

for address in tcp://127.0.0.1:0 unix://"$work"/sock; do
    # ---- echo ------------------------------------------------------------------------------------
    serve "$address"
    client 0 echo_client "$endpoint" hello '' again
    expect 'hello

again'
    client 0 echo_client "$endpoint"
    [ ! -s out ] || die "nothing was sent, and something came"
    stop "$server"
    client 1 echo_client "$endpoint" hello

    serve -H upper "$address"
    client 1 echo_client "$endpoint" hello UPPER
    expect UPPER
    grep -qx 'echo_client: this is no echo' err || die "it says: $(cat err)"

    # ---- a line, its reply -----------------------------------------------------------------------
    printf 'hello\n\ntwo words\nq\nno more\n' >typed
    client 0 interactive_client "$endpoint" <typed
    expect 'HELLO

TWO WORDS'
    printf 'hello' >typed
    client 0 interactive_client "$endpoint" <typed
    expect HELLO
    stop "$server"

    serve -H 'exec:read -r word; [ "$word" != bad ] || exit 3; printf "<%s>" "$word"' "$address"
    printf 'bad\ngood\n' >typed
    client 0 interactive_client "$endpoint" <typed
    grep -q '^call 1: the peer answered with an error: ' out || die "the error is not shown"
    [ "$(tail -n 1 out)" = "<good>" ] || die "the session did not go on"
    stop "$server"
done

# ---- a connection that is lost ---------------------------------------------------------------------
printf '{"header":{"flags":8,"type":4},"payload":"0000000100000001"}\n' |
    "$LINTEL" encode --json >replies
client 1 echo_client fd://3,4 one two 3<replies 4>requests
grep -q 'echo_client: call 1 (perhaps handled): the peer said BYE 1 (draining)' err ||
    die "it says: $(cat err)"
grep -q 'echo_client: call 2 (sent, not handled): the peer said BYE 1 (draining)' err ||
    die "it says: $(cat err)"
printf 'one\ntwo\n' >typed
client 1 interactive_client fd://3,4 3</dev/null 4>requests <typed
[ "$(wc -l <out)" -eq 1 ] || die "a lost connection ends it"
