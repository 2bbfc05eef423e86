#!/bin/sh
# call and send against lintel serve, over TCP and UNIX sockets: real files, line by line and whole.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

: >binary
for program in /bin/* /usr/bin/*; do
    [ -f "$program" ] && [ -r "$program" ] || continue
    head -c 4000000 "$program" >>binary
    [ "$(wc -c <binary)" -lt 10000000 ] || break
done
awk 'BEGIN { srand(3); for (i = 0; i < 60000; i++) {
    line = ""; for (n = int(rand() * 12); n > 0; n--) line = line " " int(rand() * 1000000)
    print line } }' >text

for where in tcp://127.0.0.1:0 "unix://$work/echo.sock" "unix://@lintel-test-$$"; do
    serve -H echo "$where"
    run 0 call "$endpoint" hello '' hex:00ff
    printf 'hello\n\n\000\377\n' >wanted
    same wanted out
    run 0 call --half-close "$endpoint" hello
    expect hello
    run 0 call --window 1 "$endpoint" a b c
    expect 'a
b
c'
    run 0 call --lines "$endpoint" <text
    same text out
    run 0 call --lines --window 7 --half-close "$endpoint" <text
    same text out
    run 0 call --raw "$endpoint" @binary
    same binary out
    run 0 call --raw "$endpoint" - <binary
    same binary out
    run 0 call --lines --raw "$endpoint" <binary
    tr -d '\n' <binary >wanted
    same wanted out
    run 0 send "$endpoint" one two
    # A socket does not become standard output because that is closed.
    ran="call --lines, standard output closed"
    got=0
    lintel call --lines "$endpoint" <text >&- 2>err || got=$?
    [ $got = 1 ] || die "exit status $got"
    complains 'cannot write to standard output'
    run 0 send --lines "$endpoint" <text
    stop "$server"
done

# ---- a line, its reply, the next line -----------------------------------------------------------
serve -H upper tcp://127.0.0.1:0
mkfifo in talk
$bounded "$LINTEL" call --lines "$endpoint" <in >talk 2>err &
caller=$!
servers="$servers $caller"
exec 3>in 4<talk
for word in one two three; do
    echo $word >&3
    read -r reply <&4 || die "$word was not answered"
    [ "$reply" = "$(echo $word | tr a-z A-Z)" ] || die "$word was answered with $reply"
done
exec 3>&- 4<&-
finish $caller 0
run 0 call "$endpoint" 'Grüße, abc'
expect 'GRüßE, ABC'

# ---- errors of a handler ------------------------------------------------------------------------
serve -H 'exec:read word; [ "$word" != bad ] || exit 3; echo "<$word>"' tcp://127.0.0.1:0
run 1 call --raw "$endpoint" good bad other
expect '<good>
<other>'
complains 'request 2: the peer answered with an error: '

# ---- other layouts ------------------------------------------------------------------------------
for layout in u32 u16le postgres amqp mqtt mysql '!H:id H:length * H:end=0xbeef'; do
    serve -H echo --layout "$layout" tcp://127.0.0.1:0
    run 0 call --layout "$layout" "$endpoint" hello '' world
    expect 'hello

world'
    head -n 5000 text >some
    run 0 call --lines --layout "$layout" "$endpoint" <some
    same some out
done

# ---- nobody there -------------------------------------------------------------------------------
stop "$server"
run 1 call "$endpoint" hello
complains 'Connection refused'
run 1 send "$endpoint" hello
run 1 call tcp://nosuch.invalid:1 hello
