#!/bin/sh
# Sealed sessions from end to end: keys from keygen, every subcommand that connects or listens, the
# right key and the wrong one, and what can be read on the way.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

if [ "${HAVE_SODIUM:-yes}" = no ]; then
    for sub in 'call --psk=f tcp://127.0.0.1:1 x' 'send --key=f --peer=f tcp://127.0.0.1:1 x' \
        'recv --psk=f tcp://127.0.0.1:0' 'connect --seal=mac tcp://127.0.0.1:1'; do
        # shellcheck disable=SC2086 # words
        run 1 $sub
        complains 'sealed sessions are not in this build'
    done
    exit 0
fi

for name in server client stranger; do
    run 0 keygen $name.key
    run 0 keygen --public $name.key $name.pub
done
run 0 keygen --psk shared.psk
run 0 keygen --psk other.psk
sed 's/$/ carol/' client.pub >clients

# ---- the command line ---------------------------------------------------------------------------
run 2 call --key client.key tcp://127.0.0.1:1 x
complains 'without --peer'
run 2 call --peer server.pub tcp://127.0.0.1:1 x
complains 'without --key'
run 2 call --seal mac tcp://127.0.0.1:1 x
run 2 call --seal both --psk shared.psk tcp://127.0.0.1:1 x
complains 'both'
run 2 call --psk shared.psk --key client.key --peer server.pub tcp://127.0.0.1:1 x
run 1 call --psk nowhere tcp://127.0.0.1:1 x
complains 'nowhere'
chmod 644 other.psk
run 1 send --psk other.psk tcp://127.0.0.1:1 x
complains 'other.psk'
chmod 600 other.psk
for sub in 'call %s x' 'send %s x' 'recv %s' 'connect %s' 'serve %s'; do
    [ "${HAVE_UV:-yes}" = yes ] || [ "$sub" != 'serve %s' ] || continue
    # shellcheck disable=SC2059 # that is what it is for
    words=$(printf "$sub" udp://127.0.0.1:1)
    # shellcheck disable=SC2086
    run 2 ${words%% *} --psk shared.psk ${words#* }
    complains 'a seal needs a stream'
done

# ---- recv, which needs no server ----------------------------------------------------------------
"$LINTEL" recv --psk shared.psk --raw --count 2 "unix://$work/r" >received 2>receiver.err &
receiver=$!
servers="$servers $receiver"
wait_until "grep -q listening receiver.err" "recv does not listen"
run 1 send --psk other.psk "unix://$work/r" wrong
complains 'the peer said, unauthenticated: not authenticated'
wait_until "grep -q 'fits no shared key' receiver.err" "the receiver does not say whom it refused"
run 0 send --psk shared.psk "unix://$work/r" 'one ' two
wait "$receiver" || got=$?
[ "$(cat received)" = 'one two' ] || die "received: $(cat received)"
servers=

[ "${HAVE_UV:-yes}" = yes ] || exit 0

# ---- serve --------------------------------------------------------------------------------------
head -c 3000000 /dev/urandom >large
awk 'BEGIN { for (i = 0; i < 3000; i++) print "line " i }' >text
for mode in encrypt mac; do
    for where in tcp://127.0.0.1:0 "unix://$work/s"; do
        serve --psk shared.psk --key server.key --peer clients --seal $mode "$where"
        for keys in '--psk shared.psk' '--key client.key --peer server.pub'; do
            # shellcheck disable=SC2086 # words
            run 0 call $keys --seal $mode "$endpoint" hello
            expect hello
            # shellcheck disable=SC2086
            run 0 call $keys --seal $mode --raw "$endpoint" @large
            same large out
            # shellcheck disable=SC2086
            run 0 call $keys --seal $mode --half-close --lines "$endpoint" <text
            same text out
            # shellcheck disable=SC2086
            run 0 send $keys --seal $mode "$endpoint" hello @large
            echo hello >in
            # shellcheck disable=SC2086
            run 0 connect $keys --seal $mode "$endpoint" <in
            expect hello
        done
        [ ! -s server.err ] || die "the server complains: $(cat server.err)"
        # The wrong key, the other mode, no key: a clear line on both sides.
        run 1 call --psk other.psk --seal $mode "$endpoint" x
        complains 'unauthenticated: not authenticated'
        run 1 call --key stranger.key --peer server.pub --seal $mode "$endpoint" x
        complains 'unauthenticated: not authenticated'
        run 1 call --key client.key --peer stranger.pub --seal $mode "$endpoint" x
        other=$([ $mode = mac ] && echo encrypt || echo mac)
        run 1 call --psk shared.psk --seal "$other" "$endpoint" x
        run 1 call "$endpoint" x
        complains 'BYE 6 (not authenticated)'
        for line in 'fits no shared key' 'not on the list' 'wants the other mode' 'not the beginning'; do
            wait_until "grep -q '$line' server.err" "the server does not say \"$line\""
        done
        stop "$server"
    done
done

# A client with a key never falls back.
serve tcp://127.0.0.1:0
run 1 call --psk shared.psk "$endpoint" secret
complains 'unauthenticated: not authenticated'
stop "$server"

# A foreign layout inside.
serve --psk shared.psk --layout u32 -H upper tcp://127.0.0.1:0
run 0 call --psk shared.psk --layout u32 "$endpoint" one two
expect 'ONE
TWO'
stop "$server"

# A slow handshake is cut.
serve --psk shared.psk --handshake-timeout 0.05 "unix://$work/s"
run 1 recv --psk shared.psk --timeout 5 fd://0 </dev/null
stop "$server"

# One whose handshake is not done counts for its worker: the next one goes to the other.
serve --psk shared.psk --workers 2 --max-connections 2 --handshake-timeout 60 "unix://$work/s"
mkfifo never
$bounded "$LINTEL" call --lines "unix://$work/s" <never >out1 2>err1 &
caller=$!
exec 9>never
wait_until "[ \$(grep -c '$work/s' /proc/net/unix) -ge 2 ]" "the first does not connect"
run 0 call --psk shared.psk "unix://$work/s" second
expect second
exec 9>&-
wait "$caller" || :
stop "$server"

# ---- what can be read on the way ----------------------------------------------------------------
for mode in encrypt mac; do
    serve --psk shared.psk --seal $mode "unix://$work/s"
    target=$endpoint
    rm -f passing
    mkfifo passing
    "$LINTEL" proxy --hex "unix://$work/p" "$target" >passing 2>proxy.err &
    proxy=$!
    servers="$servers $proxy"
    cat passing >passed &
    reader=$!
    wait_until "[ -S '$work/p' ]" "the proxy does not listen"
    run 0 call --psk shared.psk --seal $mode "unix://$work/p" 'a line to be found'
    expect 'a line to be found'
    kill "$proxy"
    wait "$proxy" || die "the proxy ends with $?"
    wait "$reader"
    sed -n 's/^[0-9a-f]\{8\}  \(.*\)  |.*/\1/p' passed | tr -d ' \n' >digits
    seen=$(grep -c 61206c696e6520746f20626520666f756e64 digits || :)
    [ $mode = mac ] && [ "$seen" = 0 ] && die "in mac the text is not on the wire: $(cat passed)"
    [ $mode = encrypt ] && [ "$seen" != 0 ] && die "in encrypt the text is on the wire"
    stop "$server"
done
