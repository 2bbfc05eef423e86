#!/bin/sh
# The small examples, as `make check` compiles them, do what their texts say.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# example STATUS NAME ARGUMENT...: out and err are what it wrote.
example()
{
    want=$1
    program=$builddir/examples/$2
    ran="the example $2"
    shift 2
    got=0
    $bounded "$program" "$@" >out 2>err || got=$?
    [ "$got" = "$want" ] || die "exit status $got, wanted $want"
}

# ---- header_string ---------------------------------------------------------------------------
example 0 header_string Ada '' 'Grace Hopper'
expect '48530107000000010003416461
48530107000000020000
4853010700000003000c477261636520486f70706572
kind 7, sequence 1, "Ada"
kind 7, sequence 2, ""
kind 7, sequence 3, "Grace Hopper"'
example 1 header_string "$(head -c 5000 /dev/zero | tr '\0' a)"
complains 'header_string: the name does not fit'
example 1 header_string "$(head -c 65536 /dev/zero | tr '\0' a)"
complains 'header_string: value 5'
[ ! -s out ] || die "it writes what it could not pack"

# ---- pass_fd ---------------------------------------------------------------------------------
mkfifo said
$bounded "$builddir/examples/pass_fd" serve "unix://$work/sizes" >said 2>server.err &
server=$!
servers="$servers $server"
exec 3<said
read -r line <&3 || die "it does not listen"
[ "$line" = "listening on unix://$work/sizes" ] || die "it says $line"
head -c 4321 /dev/zero >some
: >none
example 0 pass_fd ask "unix://$work/sizes" some none some
expect '4321 some
0 none
4321 some'
read -r line <&3 || die "it does not say who asked"
[ "$line" = "a client of user $(id -u)" ] || die "it says $line"
finish "$server" 0
[ ! -s server.err ] || die "it complains"
[ ! -e "$work/sizes" ] || die "the socket file is left"
example 1 pass_fd ask "unix://$work/sizes" some

# ---- modes -----------------------------------------------------------------------------------
serve tcp://127.0.0.1:0 "unix://$work/echo"
for where in "$endpoint" "unix://$work/echo"; do
    example 0 modes "$where"
    expect 'blocking: take your time
timed: the deadline passed
timed: within a minute
non-blocking: nothing yet
non-blocking: when it is there'
done
stop "$server"
