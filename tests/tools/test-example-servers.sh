#!/bin/sh
# The servers in examples/, as `make check` compiles them, over TCP and UNIX: capitals, a thread for
# each connection, a handler with set-up, handle and finish.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# example NAME ENDPOINT [ARGUMENT...]: starts one; $endpoint is then where it listens, $server its
# process, and descriptor 3 what else it says.
example()
{
    name=$1
    shift
    rm -f said
    mkfifo said
    timeout --foreground 100 "$builddir/examples/$name" "$@" >said 2>complaints &
    server=$!
    servers="$servers $server"
    exec 3<said
    read -r line <&3 || die "$name: $(cat complaints)"
    endpoint=${line#listening on }
}
# ended: the server has ended by itself, with success and without a complaint.
ended()
{
    wait "$server" || die "the server ends with $?"
    servers=$(printf '%s' "$servers" | sed "s/ $server\>//")
    [ ! -s complaints ] || die "it complains: $(cat complaints)"
}
says() # TEXT
{
    read -r line <&3 || die "it says nothing"
    [ "$line" = "$1" ] || die "it says $line"
}

for address in tcp://127.0.0.1:0 unix://"$work"/sock; do
    # ---- capitals --------------------------------------------------------------------------------
    example upper_server "$address" 3
    run 0 call "$endpoint" hello '' hex:c3a47a '[{az}]'
    printf 'HELLO\n\n\303\244Z\n[{AZ}]\n' >wanted
    same wanted out
    run 0 send "$endpoint" nothing
    head -c 17000000 /dev/zero | tr '\0' x >large
    run 0 call --raw "$endpoint" @large
    tr x X <large >wanted
    same wanted out
    ended

    # ---- a thread for each -----------------------------------------------------------------------
    example threaded_server "$address" 5
    # The first one is kept open while the others come and go.
    mkfifo lines
    timeout 100 "$LINTEL" call --lines "$endpoint" <lines >first 2>&1 &
    caller=$!
    exec 6>lines
    echo one >&6
    for i in 1 2 3; do
        run 0 call "$endpoint" a$i b$i
        expect "a$i
b$i"
    done
    seq 1000 >thousand
    run 0 call --lines "$endpoint" <thousand
    same thousand out
    echo two >&6
    exec 6>&-
    wait $caller || die "the first caller ends with $?"
    printf 'one\ntwo\n' >wanted
    same wanted first
    rm lines
    says '1008 replies'
    ended

    # ---- set-up, handle, finish ------------------------------------------------------------------
    [ "${HAVE_UV:-yes}" = yes ] || continue
    example handler_server "$address"
    run 0 call --type 1 "$endpoint" 20 22
    expect '20
42'
    read -r line <&3
    case $line in
    "a sum of 42, then: "*) ;;
    *) die "it says $line" ;;
    esac
    run 0 call --type 2 "$endpoint" ''
    expect 42
    run 1 call --type 1 "$endpoint" many
    complains 'the peer answered with an error: "not a number"'
    run 1 call --type 9 "$endpoint" ''
    complains 'there is no such type'
    run 0 call --type 3 "$endpoint" ''
    expect 42
    cat <&3 >/dev/null
    ended
done
