#!/bin/sh
# lintel proxy: what passes and how it is shown, each fault and that it can be repeated, and a soak
# of call and serve with faults between them. Bytes, ends and resets are looked at by proxy.py.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# through [OPTION...]: the bytes of the file frames through a proxy between descriptors; passed is
# what came out, out what was shown, told the faults.
through()
{
    ran="proxy $*"
    got=0
    timeout 120 "$LINTEL" proxy "$@" fd://0,5 fd://3,4 <frames 3</dev/null 4>passed 5>/dev/null \
        >out 2>told || got=$?
    [ "$got" = 0 ] || { cat told >&2; die "exit status $got"; }
    : >err
}
# The faults of one kind: "OFFSET REST" a line.
faults()
{
    sed -n "s/^lintel proxy: connection 1 > frame at byte \([0-9]*\): $1/\1 /p" told | sed 's/ $//'
}
# Frames as decode shows them, without their offsets, which faults change.
shown()
{
    "$LINTEL" decode "$1" | sed 's/^#[0-9]* //'
}

# ---- the command line ---------------------------------------------------------------------------
run 2 proxy
complains 'LISTEN and UPSTREAM'
run 2 proxy tcp://127.0.0.1:0
run 2 proxy tcp://127.0.0.1:0 tcp://127.0.0.1:1 tcp://127.0.0.1:2
run 2 proxy gopher://x tcp://127.0.0.1:1
run 2 proxy tcp://127.0.0.1:0 tcp://nothing
run 2 proxy udp://127.0.0.1:0 udp://127.0.0.1:1
complains 'datagrams are not passed on'
run 2 proxy tcp://127.0.0.1:0 "unixgram://$work/x"
run 2 proxy --json --hex tcp://127.0.0.1:0 tcp://127.0.0.1:1
run 2 proxy --quiet --text tcp://127.0.0.1:0 tcp://127.0.0.1:1
for bad in 1.1 -1 101% x '' 0x1 nan 0.1.1 '5%%' 1e999; do
    run 2 proxy --drop="$bad" tcp://127.0.0.1:0 tcp://127.0.0.1:1
    complains 'is not a probability'
done
run 2 proxy --split 0 tcp://127.0.0.1:0 tcp://127.0.0.1:1
run 2 proxy --layout nosuch tcp://127.0.0.1:0 tcp://127.0.0.1:1
run 1 proxy fd://77 tcp://127.0.0.1:1
run 1 proxy "unix://$work/no/socket" tcp://127.0.0.1:1
complains 'No such file or directory'
run 1 proxy fd://0,1 "unix://$work/nobody" </dev/null
complains "connection 1: connect to $work/nobody: "

# ---- how it is shown ----------------------------------------------------------------------------
printf 'one\n\na"b\n' | "$LINTEL" encode --type 9 >frames
through
same frames passed
[ ! -s told ] || die "it complains"
sed '/ < /d' out >forth
mv forth out
expect '1 begin
1 > #0 type 9 id 1 3 bytes "one"
1 > #19 type 9 id 2 0 bytes ""
1 > #35 type 9 id 3 3 bytes "a\"b"
1 > end after 54 bytes'
through --json
head -n 1 out >first
mv out objects
mv first out
expect '{"connection":1,"direction":">","offset":0,"header":{"magic":19540,"version":1,"flags":0,"reserved":0,"type":9,"id":1,"length":3},"length":3,"payload":"6f6e65"}'
run 0 encode --json <objects
same frames out
through --hex
"$LINTEL" decode --hex frames | sed 's/^#/1 > #/' >wanted
sed '/^1 begin$/d; / end after /d' out >forth
same wanted forth
through --quiet
[ ! -s out ] || die "--quiet shows something"
same frames passed
printf 'one\ntwo\n' | "$LINTEL" encode --layout amqp >frames
through --layout amqp
same frames passed
grep -qx '1 > #11 type 0 channel 0 3 bytes "two"' out || die "amqp is not shown"

# ---- each fault, and that nothing else happens --------------------------------------------------
awk 'BEGIN { for (i = 0; i < 400; i++) print "this is line", i, i * i }' |
    "$LINTEL" encode >frames
"$LINTEL" decode frames >all
seed=11

through --seed $seed --drop 0.1
faults dropped >met
[ "$(wc -l <met)" -gt 10 ] && [ "$(wc -l <told)" -eq "$(wc -l <met)" ] || die "$(wc -l <met) dropped"
awk 'NR == FNR { met["#" $1]; next } !($1 in met)' met all | sed 's/^#[0-9]* //' >wanted
shown passed >got
same wanted got

through --seed $seed --duplicate 10%
faults duplicated >met
[ "$(wc -l <met)" -gt 10 ] && [ "$(wc -l <told)" -eq "$(wc -l <met)" ] || die "$(wc -l <met) doubled"
awk 'NR == FNR { met["#" $1]; next } { print } $1 in met { print }' met all |
    sed 's/^#[0-9]* //' >wanted
shown passed >got
same wanted got

through --seed $seed --corrupt 0.1
faults 'corrupted byte ' | sed 's/,//' >met
[ "$(wc -l <met)" -gt 10 ] && [ "$(wc -l <told)" -eq "$(wc -l <met)" ] || die "$(wc -l <met) changed"
while read -r offset byte from _ to; do
    printf '%d %o %o\n' $((offset + byte + 1)) "$from" "$to"
done <met >wanted
cmp -l frames passed | sed 's/^ *//; s/  */ /g' >got || :
same wanted got
mv met corrupted
cp told once

# The same again, cut otherwise, and beside other faults; another seed makes others.
mkfifo slow
mv frames whole
ln -s slow frames
dd if=whole of=slow bs=7 2>/dev/null &
through --seed $seed --corrupt 0.1 --split 5
wait $!
same once told
cmp -s passed whole && die "nothing was changed"
mv passed first
rm frames
mv whole frames
through --seed $seed --corrupt 0.1 --delay 1
same once told
same first passed
through --seed $seed --corrupt 0.1 --duplicate 0.5
faults 'corrupted byte ' | sed 's/,//' >met
same corrupted met
through --seed 12 --corrupt 0.1
cmp -s once told && die "another seed makes the same faults"

# All, none; and the rate is what was asked for.
through --drop 1
[ ! -s passed ] || die "--drop 1 leaves something"
through --drop 0 --duplicate 0% --corrupt 0 --reset 0 --half-close 0
same frames passed
[ ! -s told ] || die "a fault of probability 0"
seq 1 10000 | "$LINTEL" encode >many
mv frames some
mv many frames
through --quiet --drop 0.05 --duplicate 0.1
dropped=$(faults dropped | wc -l) doubled=$(faults duplicated | wc -l)
[ "$dropped" -gt 430 ] && [ "$dropped" -lt 570 ] || die "$dropped of 10000 dropped"
[ "$doubled" -gt 850 ] && [ "$doubled" -lt 1050 ] || die "$doubled of 9500 doubled"
mv some frames

# What a seed makes is fixed, on every machine.
seq 1 30 | "$LINTEL" encode >short
mv frames some
mv short frames
through --seed 7 --corrupt 0.1 --drop 0.1 --duplicate 0.1
sed 's/^lintel proxy: connection 1 > frame at byte //' told >out
expect '17: corrupted byte 6, 0x00 to 0x48
34: duplicated
207: duplicated
279: duplicated
333: corrupted byte 11, 0x14 to 0x7e'
mv some frames

# A reset cuts before its frame, a half-close behind it.
through --seed $seed --reset 2%
offset=$(faults 'reset$')
[ "$(wc -l <told)" = 1 ] && [ "$offset" -gt 0 ] || die "no reset"
head -c "$offset" frames >wanted
same wanted passed
through --seed $seed --half-close 2%
offset=$(faults 'half-closed after it$')
[ "$(wc -l <told)" = 1 ] && [ "$offset" -gt 0 ] || die "no half-close"
awk -v "last=#$offset" '{ print } $1 == last { exit }' all >wanted
"$LINTEL" decode passed >got
same wanted got
grep -q "^1 > end after $(wc -c <frames) bytes\$" out || die "the rest is not read"

# Trailers are part of the frame.
seq 1 50 | "$LINTEL" encode --layout amqp >frames
through --layout amqp --corrupt 1 --seed 3
[ "$(cmp -l frames passed | wc -l)" = 50 ] || die "one byte of each frame is to change"
[ "$(cmp -l frames passed | awk '$2 == 316' | wc -l)" -gt 0 ] || die "no trailer is met"

# ---- raw peers ----------------------------------------------------------------------------------
if [ -n "${PYTHON3-python3}" ]; then
    for kind in tcp unix; do
        "${PYTHON3:-python3}" "$srcdir/tests/tools/proxy.py" $kind || die "proxy.py $kind"
    done
fi

# ---- call and serve, with faults between them ---------------------------------------------------
[ "${HAVE_UV:-yes}" = yes ] || exit 0

# proxy OPTION...: before the server in $endpoint; where it listens is then in $before, its process
# in $proxy.
proxy()
{
    ran="proxy $*"
    rm -f listens
    mkfifo listens
    timeout --foreground 300 "$LINTEL" proxy --quiet "$@" >listens 2>told &
    proxy=$!
    servers="$servers $proxy"
    read -r line <listens
    before=${line#listening on }
}

serve -H upper tcp://127.0.0.1:0
awk 'BEGIN { for (i = 0; i < 3000; i++) print "some line", i }' >text
tr a-z A-Z <text >upper
for options in '--split 1' '--split 7 --delay 2' '--duplicate 0.2 --seed 3'; do
    for where in tcp://127.0.0.1:0 "unix://$work/before"; do
        proxy $options "$where" "$endpoint"
        run 0 call --lines "$before" <text
        same upper out
        run 0 call --lines --half-close "$before" <text
        same upper out
        stop "$proxy"
    done
done
[ ! -e before ] || die "the socket file is left"
stop "$server"

# A server that logs what it is asked. Whatever happens between, each request is asked once or not,
# answered once or said to be without a reply, in order, and is what it was.
soak()
{
    options=$1 rounds=$2 requests=$3 failed=0 first=$next
    shift 3
    next=$((next + rounds))
    for seed in $(seq "$first" $((next - 1))); do
        proxy --seed "$seed" $options "$where" "$endpoint"
        awk -v s="$seed" -v n="$requests" 'BEGIN { for (i = 1; i <= n; i++) print "seed", s, i }' \
            >lines
        called=0
        timeout 120 "$LINTEL" call --lines "$@" "$before" <lines >out 2>err || called=$?
        stop "$proxy"
        judge
    done
    [ $failed -gt 0 ] || die "no fault met any of $rounds rounds"
    [ $failed -lt "$rounds" ] || die "no round went through"
}
judge()
{
    replies=$(wc -l <out)
    tr a-z A-Z <lines >wanted
    # Replies are an ordered part of what was asked for, each once.
    awk 'NR == FNR { want[++n] = $0; next }
        { while (i < n && want[i + 1] != $0) i++; if (i++ >= n) exit 1 }' wanted out ||
        die "seed $seed: a reply is doubled, changed, or out of order"
    if [ $called = 0 ]; then
        same wanted out
    else
        failed=$((failed + 1))
        lost=$(sed -n 's/^lintel call: .*; \([0-9]*\) requests\{0,1\} without a reply.*/\1/p' err)
        [ -n "$lost" ] || die "seed $seed: the failure is not said"
        grep -q 'others were not sent' err || [ $((replies + lost)) = "$requests" ] ||
            die "seed $seed: $replies replies, $lost lost, $requests requests"
        [ -s told ] || die "seed $seed: lost without a fault"
    fi
    # What the server still does for a connection that is gone may be logged late.
    grep "^seed $seed " log >asked || :
    LC_ALL=C sort asked >logged
    LC_ALL=C sort -u asked | cmp -s - logged || die "seed $seed: a request was asked twice"
    LC_ALL=C sort lines >sorted
    [ -z "$(LC_ALL=C comm -23 logged sorted)" ] || die "seed $seed: something else was asked"
    tr a-z A-Z <asked | LC_ALL=C sort >logged
    LC_ALL=C sort out >sorted
    [ -z "$(LC_ALL=C comm -13 logged sorted)" ] || die "seed $seed: answered and not asked"
}
next=1
: >log
handler="exec:read -r line; echo \"\$line\" >>'$work/log'; printf %s \"\$line\" | tr a-z A-Z"
for where in tcp://127.0.0.1:0 "unix://$work/before"; do
    serve -H "$handler" "$([ -n "${where##tcp*}" ] && echo "unix://$work/s" || echo "$where")"
    soak '--split 3 --delay 1 --reset 1% --half-close 1%' 12 40
    soak '--split 1 --reset 2%' 6 40 --half-close
    soak '--drop 1%' 4 40 --timeout 5
    kill "$server"
    wait "$server" || [ $? = 1 ] || die "the server ends with $?"
done
