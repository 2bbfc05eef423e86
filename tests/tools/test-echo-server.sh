#!/bin/sh
# examples/echo_server.c, as it is compiled by `make check`, answers and ends as its text says.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

[ "${HAVE_UV:-yes}" = yes ] || { echo "no libuv in this build"; exit 77; }
mkfifo said
$bounded "$builddir/examples/echo_server" tcp://127.0.0.1:0 >said 2>server.err &
server=$!
servers="$servers $server"
exec 3<said
read -r line <&3 || die "the server does not listen"
endpoint=${line#listening on }
run 0 call "$endpoint" hello '' again
expect 'hello

again'
read -r line <&3 || die "it does not count"
case $line in
"3 requests, then: "*) ;;
*) die "it says $line" ;;
esac
stop "$server"
[ ! -s server.err ] || die "it complains"
