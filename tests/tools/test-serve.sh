#!/bin/sh
# lintel serve: its handlers, its endpoints, its ends, its complaints.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

if [ "${HAVE_UV:-yes}" != yes ]; then
    run 1 serve tcp://127.0.0.1:0
    complains "not in this build"
    exit 0
fi

# The server ends with this status; what it said on standard error is left in server.err.
ends()
{
    finish "$server" "$1"
}

quiet()
{
    [ ! -s server.err ] || die "the server complains"
}

runs()
{
    read -r _ _ state _ 2>/dev/null </proc/"$1"/stat && [ "$state" != Z ]
}
gone()
{
    wait_until "! runs $1" "the command of a connection that is gone still runs"
}

# ---- the command line ---------------------------------------------------------------------------
run 2 serve
complains "ENDPOINT"
run 2 serve -H nonsense tcp://127.0.0.1:0
complains "nonsense"
run 2 serve -H exec: tcp://127.0.0.1:0
run 2 serve gopher://127.0.0.1:0
complains "gopher"
run 2 serve --layout u8 --max-frame 256 tcp://127.0.0.1:0
complains "255"
run 2 serve --layout nonsense tcp://127.0.0.1:0
run 2 serve --max-frame none tcp://127.0.0.1:0
run 1 serve udp://127.0.0.1:0
run 1 serve fd://77
complains "fd://77"
: >file
run 1 serve fd://0 <file
complains "cannot be waited for"
run 0 serve --help
[ ! -s err ] || die "--help complains"

# ---- several endpoints, one taken ---------------------------------------------------------------
# Ended by timeout(1) as it is: it signals its child, then its group, and the second signal is not
# to cut anything. The SIGCONT that it sends besides and the leak sanitizer do not go together.
rm -f said
mkfifo said
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
    timeout -k 30 90 "$LINTEL" serve -H upper tcp://127.0.0.1:0 "unix://$work/socket" \
    "unix://@lt-serve-$$" >said 2>server.err &
server=$!
servers="$servers $server"
{
    read -r first && read -r second && read -r third || die "the server does not listen"
} <said
[ "$second" = "listening on unix://$work/socket" ] || die "says $second"
[ "$third" = "listening on unix://@lt-serve-$$" ] || die "says $third"
for line in "$first" "$second" "$third"; do
    run 0 call "${line#listening on }" 'Grüße' '' hex:00617a7b
    printf 'GRüßE\n\n\000AZ{\n' >wanted
    same wanted out
done
run 1 serve "${first#listening on }"
complains "use"
run 1 serve "unix://$work/socket" # somebody listens: it is not replaced
run 0 call "unix://$work/socket" still
expect STILL
kill "$server"
ends 0
quiet
[ ! -e socket ] || die "the socket file is left behind"

# ---- echo, discard ------------------------------------------------------------------------------
serve -H discard tcp://127.0.0.1:0
run 0 send "$endpoint" one two three
run 1 call --timeout 0.1 "$endpoint" 'nobody answers'
kill -INT "$server"
ends 0

for layout in u32 '!4v:length *' '!H:id c:kind I:length-7 * B:end=0xCE'; do
    serve --layout "$layout" tcp://127.0.0.1:0
    run 0 call --layout "$layout" "$endpoint" one '' three
    expect 'one

three'
    kill "$server"
    ends 0
    quiet
done

serve --max-frame 10 tcp://127.0.0.1:0
run 0 call "$endpoint" 0123456789
expect 0123456789
run 1 call "$endpoint" 01234567890
grep -q "exceeds the limit of 10" server.err || die "the limit is not named: $(cat server.err)"
run 0 call "$endpoint" 'next peer'
kill "$server"
ends 0

# A limit below the size of a BYE is told, too.
serve --max-frame 4 tcp://127.0.0.1:0
run 0 call "$endpoint" 0123
expect 0123
run 1 call "$endpoint" 01234
complains 'BYE 5'
kill "$server"
ends 0

# ---- what peers do wrong is a line, and theirs alone --------------------------------------------
serve tcp://127.0.0.1:0
run 1 call --layout u32 "$endpoint" 'this is not the layout of the server'
run 0 call "$endpoint" fine
expect fine
kill "$server"
ends 0
[ "$(wc -l <server.err)" -eq 1 ] || die "one line is wanted: $(cat server.err)"
case $(cat server.err) in
"lintel serve: tcp://127.0.0.1:"*"frame at byte 0: "*) ;;
*) die "the line: $(cat server.err)" ;;
esac

# ---- limits -------------------------------------------------------------------------------------
run 2 serve --idle-timeout none tcp://127.0.0.1:0
run 2 serve --max-connections 0 tcp://127.0.0.1:0
run 2 serve --workers 0 tcp://127.0.0.1:0
serve --max-frame 10 --max-message 20 --max-connections unlimited --max-memory unlimited \
    --idle-timeout unlimited --write-timeout unlimited --frame-timeout unlimited tcp://127.0.0.1:0
run 0 call --max-frame 10 "$endpoint" 0123456789abcdefghij # in fragments, and so comes the reply
expect 0123456789abcdefghij
run 1 call --max-frame 10 "$endpoint" 0123456789abcdefghijk
complains 'BYE 5'
grep -q "exceeds the limit of 20 bytes" server.err || die "the limit is not named: $(cat server.err)"
kill "$server"
ends 0

# A frame as long as the layout can carry.
serve --max-frame unlimited --layout u16 tcp://127.0.0.1:0
head -c 65535 /dev/zero >large
run 0 call --raw --layout u16 "$endpoint" @large
same large out
kill "$server"
ends 0

serve --idle-timeout 0.05 "unix://$work/s"
mkfifo never
$bounded "$LINTEL" call - "unix://$work/s" <never >out 2>err &
caller=$!
exec 9>never
wait "$caller" && die "an idle connection is kept" || :
exec 9>&-
kill "$server"
ends 0

# Three loops, more connections than one of them could have, and the limit over all of them.
serve --workers 3 --max-connections 6 -H upper tcp://127.0.0.1:0
for number in 1 2 3 4 5 6; do
    mkfifo "in$number"
    $bounded "$LINTEL" call --lines "$endpoint" <"in$number" >"out$number" 2>"err$number" \
        3>&- 4>&- 5>&- 6>&- 7>&- 8>&- &
    eval "caller$number=\$!"
    eval "exec $((number + 2))>in$number && echo 'line $number' >&$((number + 2))"
    wait_until "[ -s out$number ]" "connection $number is not served"
done
run 1 call "$endpoint" seventh
complains 'BYE 7'
for number in 1 2 3 4 5 6; do
    eval "exec $((number + 2))>&-"
    eval "wait \$caller$number" || die "connection $number fails: $(cat err$number)"
    [ "$(cat "out$number")" = "LINE $number" ] || die "connection $number: $(cat "out$number")"
done
kill "$server"
ends 0
grep -q "over the limit of 2 connections" server.err || die "the limit is not named: $(cat server.err)"

# ---- exec ---------------------------------------------------------------------------------------
serve -H 'exec:tr a-z A-Z' tcp://127.0.0.1:0
run 0 call "$endpoint" one '' three
expect 'ONE

THREE'
awk 'BEGIN { for (i = 0; i < 300; i++) print "line " i }' >text
run 0 call --lines "$endpoint" <text
tr a-z A-Z <text >wanted
same wanted out
head -c 3000000 /dev/zero | tr '\0' 'x' >large
run 0 call --raw "$endpoint" @large
tr x X <large >wanted
same wanted out
kill "$server"
ends 0
quiet

# A command that does not read; one that fails, is killed, says too much; exec of what is not there.
serve -H 'exec:exit 3' tcp://127.0.0.1:0
run 1 call "$endpoint" @large
complains "exit status 3"
kill "$server"
ends 0
serve -H 'exec:kill -9 $$' "unix://$work/s"
run 1 call "$endpoint" x
complains "killed by signal 9"
kill "$server"
ends 0
serve --max-frame 1000 --max-message 1000 -H 'exec:while echo many words; do :; done' "unix://$work/s"
run 1 call "$endpoint" x
complains "exceeds the limit of 1000"
kill "$server"
ends 0
serve -H 'exec:there-is-no-such-command 2>/dev/null' --layout u32 "unix://$work/s"
run 1 call --layout u32 "$endpoint" x
kill "$server"
ends 0
grep -q "exit status 127" server.err || die "the reason is not named: $(cat server.err)"
# Standard input can be opened by name, and one command at a time runs where that is asked for.
serve --max-children 1 -H 'exec:mkdir lock && cat /dev/stdin && rmdir lock' tcp://127.0.0.1:0
run 0 call --lines "$endpoint" <<'END'
one
two
three
END
expect 'one
two
three'
kill "$server"
ends 0

# ---- a connection that goes takes its commands with it ------------------------------------------
mkfifo pids
exec 3<>pids
serve --drain-timeout 60 -H "exec:exec 2>/dev/null; sleep 1000 & echo \$! >'$work/pids'; wait" "unix://$work/s"
"$LINTEL" call "$endpoint" x >out 2>err &
caller=$!
take pids
sleeper=$line
kill -0 "$sleeper" || die "it does not run"
kill -9 "$caller"
wait "$caller" 2>/dev/null || :
gone "$sleeper"

# It is the server's end that takes the next one with it: the second signal cuts it.
$bounded "$LINTEL" call "$endpoint" y >out 2>err &
caller=$!
take pids
second=$line
kill "$server"
run 1 call "$endpoint" 'nobody listens any more'
wait_until "kill $server 2>/dev/null; ! runs $server" "the second signal does not cut it" # one at once is the first
ends 1
gone "$second"
wait "$caller" && die "the caller got a reply" || :

# ---- drain: what was read is answered -----------------------------------------------------------
mkfifo gate begun
serve --drain-timeout 60 -H "exec:echo here >'$work/begun'; cat '$work/gate'" "unix://$work/s"
$bounded "$LINTEL" call "$endpoint" x >out 2>err &
caller=$!
take begun
kill "$server"
wait_until '[ ! -e s ]' "it still listens"
$bounded sh -c 'echo through the gate >gate' || die "nobody waits at the gate"
wait "$caller" || die "the caller fails: $(cat err)"
[ "$(cat out)" = "through the gate" ] || die "the reply: $(cat out)"
ends 0

serve --drain-timeout 0.05 -H "exec:echo here >'$work/begun'; cat '$work/gate'" "unix://$work/s"
$bounded "$LINTEL" call "$endpoint" x >out 2>err &
caller=$!
take begun
kill "$server"
ends 1
grep -q "^lintel serve: " server.err || die "it does not say that it cut something"
wait "$caller" && die "the caller got a reply" || :

# ---- given descriptors --------------------------------------------------------------------------
awk 'BEGIN { for (i = 0; i < 5000; i++) print "line " i }' >text
lintel encode <text | lintel serve -H upper fd://0,1 2>err | lintel decode --raw >out
tr -d '\n' <text | tr a-z A-Z >wanted
same wanted out
[ ! -s err ] || die "it complains: $(cat err)"
