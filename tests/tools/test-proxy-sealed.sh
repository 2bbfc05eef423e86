#!/bin/sh
# lintel proxy between sealed peers: what it can show of them, and that a record which it changes
# ends the session with no byte of it delivered. And a sealed server of two workers.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

[ "${HAVE_SODIUM:-yes}" = yes ] || { echo "sealed sessions are not in this build"; exit 77; }
run 0 keygen --psk shared.psk

# proxy OPTION...: before the receiver or server in $target; it listens on $work/p.
proxy()
{
    ran="proxy $*"
    rm -f passing
    mkfifo passing
    $bounded "$LINTEL" proxy "$@" "unix://$work/p" "$target" >passing 2>told &
    proxy=$!
    servers="$servers $proxy"
    $bounded cat passing >shown &
    reader=$!
    wait_until "[ -S '$work/p' ]" "the proxy does not listen"
}
end_proxy()
{
    stop "$proxy"
    wait "$reader"
}

# ---- what is shown, and a changed record ---------------------------------------------------------
for mode in encrypt mac; do
    for corrupt in 0 1; do
        rm -f r
        $bounded "$LINTEL" recv --psk shared.psk --seal $mode --raw "unix://$work/r" \
            >received 2>receiver.err &
        receiver=$!
        servers="$servers $receiver"
        wait_until "grep -q listening receiver.err" "recv does not listen"
        target=unix://$work/r
        proxy --corrupt $corrupt --seed 4
        # With --corrupt 1 the very first message is changed; what is between is tried below.
        run $corrupt send --psk shared.psk --seal $mode "unix://$work/p" 'to be found'
        end_proxy
        kill "$receiver"
        finish "$receiver" $corrupt
        if [ $corrupt = 1 ]; then
            [ ! -s received ] || die "something is delivered"
        elif [ $mode = mac ]; then
            grep -q ' not verified "LT.*to be found"$' shown || die "mac: not shown: $(cat shown)"
        else
            grep -q ' 43 bytes sealed$' shown || die "encrypt: no size: $(cat shown)"
            ! grep -q 'to be found' shown || die "encrypt: the text is shown"
        fi
        [ $corrupt = 1 ] || [ "$(cat received)" = 'to be found' ] || die "received: $(cat received)"
    done
done

# Records at random, of a session that began well: what is delivered is the beginning of what was
# sent, in whole lines, and both ends say that the session is broken.
awk 'BEGIN { for (i = 1; i <= 300; i++) printf "line %d, and so on\n", i }' >text
broken=0
for seed in 1 2 3 4 5 6 7 8; do
    rm -f r
    $bounded "$LINTEL" recv --psk shared.psk --raw "unix://$work/r" >received 2>receiver.err &
    receiver=$!
    servers="$servers $receiver"
    wait_until "grep -q listening receiver.err" "recv does not listen"
    target=unix://$work/r
    proxy --quiet --corrupt 0.3 --seed $seed
    ended=0
    $bounded "$LINTEL" send --lines --psk shared.psk "unix://$work/p" <text >out 2>err || ended=$?
    end_proxy
    kill "$receiver"
    if [ $ended = 0 ]; then
        finish "$receiver" 0
        tr -d '\n' <text >wanted
        same wanted received
        continue
    fi
    broken=$((broken + 1))
    [ -s told ] || die "seed $seed: it fails, and nothing was changed"
    finish "$receiver" 1
    tr -d '\n' <text | head -c "$(wc -c <received)" >wanted
    same wanted received
done
[ $broken -gt 0 ] || die "no seed meets a record"

# ---- two workers ---------------------------------------------------------------------------------
[ "${HAVE_UV:-yes}" = yes ] || exit 0
serve --workers 2 --psk shared.psk -H upper tcp://127.0.0.1:0
tr a-z A-Z <text >upper
callers=
for i in 1 2 3 4 5 6; do
    $bounded "$LINTEL" call --psk shared.psk --lines "$endpoint" <text >"got$i" &
    callers="$callers $!"
done
for caller in $callers; do
    wait "$caller" || die "a caller ends with $?"
done
for i in 1 2 3 4 5 6; do
    same upper "got$i"
done
[ ! -s server.err ] || die "the server complains"
stop "$server"
