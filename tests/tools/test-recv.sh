#!/bin/sh
# lintel recv: connections one after the other and at once, datagrams, peers that break the
# protocol, and how it ends.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# receive ARGUMENT...: starts it; its endpoint is then in $endpoint, its process in $receiver; out
# is what it prints, err what it says.
receive()
{
    ran="recv $*"
    : >err
    $bounded "$LINTEL" recv "$@" >out 2>err &
    receiver=$!
    servers="$servers $receiver"
    wait_until 'grep -q "^listening on .*" err' "it does not listen"
    endpoint=$(sed -n '1s/^listening on //p' err)
}
# ended STATUS [WORDS]: it has ended so, with these words on standard error, or none.
ended()
{
    finish "$receiver" "$1"
    sed -i '/^listening on /d' err
    if [ $# -eq 1 ]; then
        [ ! -s err ] || die "it complains"
    else
        complains "$2"
    fi
}
# Bytes of hexadecimal digits to a peer that then ends; reply is what comes back.
raw()
{
    "${PYTHON3:-python3}" - "$endpoint" "$1" >reply <<'PYTHON'
import re, socket, sys
host, port = re.fullmatch(r'tcp://(.*):(\d+)', sys.argv[1]).groups()
peer = socket.create_connection((host, int(port)), 60)
peer.sendall(bytes.fromhex(sys.argv[2]))
peer.shutdown(socket.SHUT_WR)
got = b''
while piece := peer.recv(65536):
    got += piece
print(got.hex())
PYTHON
}

# One connection after the other, until so many frames have come.
for where in tcp://127.0.0.1:0 "unix://$work/socket" "unix://@lintel-recv-$$"; do
    receive --count 3 "$where"
    lintel send "$endpoint" one ''
    lintel send --type 9 "$endpoint" three
    ended 0
    expect '#0 type 0 id 0 3 bytes "one"
#19 type 0 id 0 0 bytes ""
#0 type 9 id 0 5 bytes "three"'
done
[ ! -e "$work/socket" ] || die "the socket file is left"

# The forms are those of decode.
for form in --text --json --hex --raw; do
    receive --count 2 $form tcp://127.0.0.1:0
    lintel send "$endpoint" 'a"b' hex:00ff
    ended 0
    mv out received
    printf '{"header":{"type":0},"payload":"612262"}\n{"header":{"type":0},"payload":"00ff"}\n' |
        lintel encode --json | lintel decode $form >out
    same received out
done
receive --count 2 --layout amqp tcp://127.0.0.1:0
lintel send --layout amqp --set channel=9 "$endpoint" one two
ended 0
expect '#0 type 0 channel 9 3 bytes "one"
#11 type 0 channel 9 3 bytes "two"'

# More frames than a batch, and fragments as they come.
awk 'BEGIN { for (i = 0; i < 5000; i++) print "line", i }' >lines
receive --count 5000 --raw tcp://127.0.0.1:0
lintel send --lines "$endpoint" <lines
ended 0
tr -d '\n' <lines >joined
same joined out
receive --count 3 tcp://127.0.0.1:0
lintel send --max-frame 2 "$endpoint" abcde
ended 0
expect '#0 type 0 id 0 MORE 2 bytes "ab"
#18 type 0 id 0 MORE 2 bytes "cd"
#36 type 0 id 0 1 byte "e"'

# Who sent more than was taken learns it.
receive --count 1 tcp://127.0.0.1:0
got=0
lintel send "$endpoint" one two three 2>said || got=$?
[ $got = 1 ] || die "sending in vain ends with $got"
ended 0
expect '#0 type 0 id 0 3 bytes "one"'

# Several at once: one that stays does not keep the others waiting.
mkfifo slow
receive tcp://127.0.0.1:0
$bounded "$LINTEL" send --lines "$endpoint" <slow &
slow=$!
servers="$servers $slow"
exec 3>slow
echo begun >&3
wait_until 'grep -q begun out' "the first line does not come"
lintel send "$endpoint" between
wait_until 'grep -q between out' "the second peer is not heard"
echo done >&3
exec 3>&-
finish $slow 0
wait_until 'grep -q done out' "the last line does not come"
kill "$receiver"
ended 0
expect '#0 type 0 id 0 5 bytes "begun"
#0 type 0 id 0 7 bytes "between"
#21 type 0 id 0 4 bytes "done"'

# A PING is answered, a BYE ends, neither is shown.
receive --count 1 tcp://127.0.0.1:0
raw '4c540108 00000002 00000007 00000002 4142'
[ "$(cat reply)" = 4c54010800000003000000070000000241""42 ] || die "the PONG is $(cat reply)"
raw '4c540108 00000004 00000000 00000008 00000000 00000000'
[ -z "$(cat reply)" ] || die "a BYE is answered: $(cat reply)"
lintel send "$endpoint" one
ended 0
expect '#0 type 0 id 0 3 bytes "one"'

# Who breaks the protocol is told so; what came before it is shown, and the others are heard.
receive --count 2 tcp://127.0.0.1:0
raw '4c540100 00000001 00000005 00000001 41 4c5401ff 00000000 00000000 00000000'
[ "$(cat reply)" = 4c54010800000004000000000000000800000004""00000005 ] ||
    die "the BYE is $(cat reply)"
lintel send "$endpoint" two
ended 1 'connection 1: frame at byte 17: '
expect '#0 type 1 id 5 1 byte "A"
#0 type 0 id 0 3 bytes "two"'
# Its last id is that of a request: a reply and what is not whole do not count.
receive --count 4 tcp://127.0.0.1:0
raw '4c540100 00000001 00000005 00000000 4c540101 00000001 00000009 00000000
    4c540104 00000001 00000007 00000000 4c5401ff 00000000 00000000 00000000'
[ "$(cat reply)" = 4c54010800000004000000000000000800000004""00000005 ] ||
    die "the BYE is $(cat reply)"
lintel send "$endpoint" last
ended 1 'connection 1: frame at byte 48: '
receive --count 1 --max-frame 100 tcp://127.0.0.1:0
raw '4c540100 00000001 00000005 00000065'
[ "$(cat reply)" = 4c54010800000004000000000000000800000005""00000000 ] ||
    die "the BYE is $(cat reply)"
lintel send "$endpoint" four
ended 1 'length 101 exceeds the limit of 100'
receive --count 1 tcp://127.0.0.1:0
raw '4c54'
lintel send "$endpoint" one
ended 1 'connection 1: '

# Time, and how a connection that was given ends.
run 0 recv fd://0 </dev/null
receive --timeout 0.05 tcp://127.0.0.1:0
ended 1 'nothing came for 0.05 s, 0 frames before'
printf 'a\nb\n' | lintel encode >frames
mkfifo pipe
$bounded sh -c 'cat frames >pipe' &
run 0 recv fd://3,4 3<pipe 4>/dev/null
expect '#0 type 0 id 1 1 byte "a"
#17 type 0 id 2 1 byte "b"'
$bounded sh -c 'cat frames >pipe' &
run 1 recv --count 3 fd://3,4 3<pipe 4>/dev/null
complains '2 frames came, not 3'

# Datagrams, each a frame.
for where in udp://127.0.0.1:0 "unixgram://$work/datagrams"; do
    receive --count 3 "$where"
    lintel send "$endpoint" one ''
    lintel send --type 9 "$endpoint" three
    ended 0
    expect '#0 type 0 id 0 3 bytes "one"
#0 type 0 id 0 0 bytes ""
#0 type 9 id 0 5 bytes "three"'
    receive --timeout 0.05 "$where"
    ended 1 'nothing came for 0.05 s, 0 frames before'
    receive --max-frame 4 "$where"
    lintel send "$endpoint" 12345 1234
    wait_until 'grep -q 1234 out' "the datagram does not come"
    kill "$receiver"
    ended 0 'datagrams dropped: 1 too large'
    expect '#0 type 0 id 0 4 bytes "1234"'
done
[ ! -e "$work/datagrams" ] || die "the socket file is left"

run 2 recv
run 2 recv nosuch://x
run 2 recv --text --json tcp://127.0.0.1:0
run 2 recv tcp://127.0.0.1:0 tcp://127.0.0.1:0
run 1 recv "unix://$work/no/socket"
complains 'No such file or directory'
