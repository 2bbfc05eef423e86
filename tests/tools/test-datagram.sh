#!/bin/sh
# call and send over datagrams, against examples/datagram_echo.c as `make check` compiles it: a UDP
# and a UNIX pair.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# echo_at ENDPOINT: its endpoint is then in $endpoint, its process in $server.
echo_at()
{
    rm -f said
    mkfifo said
    $bounded "$builddir/examples/datagram_echo" "$1" >said 2>server.err &
    server=$!
    servers="$servers $server"
    read -r line <said || die "the server does not listen"
    endpoint=${line#listening on }
}

for where in udp://127.0.0.1:0 "unixgram://$work/echo"; do
    echo_at "$where"
    run 0 call "$endpoint" hello '' again
    expect 'hello

again'
    run 0 call --json --type 7 "$endpoint" A
    expect '{"offset":0,"header":{"magic":19540,"version":1,"flags":1,"reserved":0,"type":7,"id":1,"length":1},"length":1,"payload":"41"}'

    # Many under way at once: none is lost for want of room, and none makes both sides wait.
    awk 'BEGIN { for (i = 0; i < 3000; i++) print "line", i }' >lines
    run 0 call --lines "$endpoint" <lines
    same lines out
    head -c 60000 /dev/zero | tr '\0' a >large
    run 0 call --raw "$endpoint" @large @large @large @large @large @large
    cat large large large large large large >six
    same six out

    # One frame, one datagram: what does not fit is refused, and nothing of it goes out.
    head -c 300000 /dev/zero >larger
    run 1 call "$endpoint" @larger
    complains 'exceeds the limit of'
    head -c 17000000 /dev/zero >largest
    run 1 send "$endpoint" @largest
    complains 'a datagram carries a whole frame'

    # A reply that does not come.
    run 1 call --timeout 0.05 --type 1 "$endpoint" end
    complains 'no reply within 0.05 s; 1 request without a reply'
    finish "$server" 0
    [ ! -s server.err ] || die "it complains"
    [ ! -e "$work/echo" ] || die "the socket file is left"

    # Nobody is there any more.
    run 1 call "$endpoint" hello
    run 1 send "$endpoint" hello again
done

# The end is not waited for, and asked for without a reply.
echo_at "unixgram://$work/echo"
run 0 send "$endpoint" one end
finish "$server" 0
