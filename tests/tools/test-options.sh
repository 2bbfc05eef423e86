#!/bin/sh
# What the subcommands share: usage, options, exit statuses, standard output that is closed.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# ---- usage -----------------------------------------------------------------------------------
run 0 --help
for sub in serve call send encode decode pack unpack calcsize layout version; do
    grep -q "^  $sub  *[a-z]" out || die "--help is silent on $sub"
done
cp out usage
run 0 help
same usage out
run 0 -h
same usage out
run 0 --version
grep -q '^lintel [0-9]*\.[0-9]*\.[0-9]*$' out || die "--version is no version"
run 0 version
grep -q '^lintel [0-9]' out || die "version names no version"
grep -q '^sodium  *\(yes\|no\)' out || die "version is silent on sodium"
grep -q '^uv  *\(yes\|no\)' out || die "version is silent on uv"
grep -q "^layouts $(lintel layout | wc -l) known$" out || die "version miscounts the layouts"
run 2 version now
run 2 nosuch
complains 'there is no subcommand "nosuch"'
run 2 help nosuch
complains 'there is no subcommand "nosuch"'
status=0
lintel >out 2>err || status=$?
[ "$status" = 2 ] && [ ! -s out ] || die "without a subcommand the usage is on standard error, exit 2"
cmp -s usage err || die "that is not the usage"

for sub in call send encode decode layout version; do
    run 0 $sub --help
    grep -q "^usage: lintel $sub" out || die "$sub --help has no usage"
    cp out help
    run 0 help $sub
    same help out
    run 0 $sub -h
    same help out
done

# ---- options ---------------------------------------------------------------------------------
printf 'one\n' >one
run 0 encode --type 5 --id=9 <one
mv out a
run 0 encode --type=5 --id 9 <one
same a out
run 0 encode --type=0x5 --id 0x9 <one
same a out
run 0 decode a
expect '#0 type 5 id 9 3 bytes "one"'
run 0 decode -- a
expect '#0 type 5 id 9 3 bytes "one"'
run 0 decode a --text
expect '#0 type 5 id 9 3 bytes "one"'
cp a ./--json
run 0 decode -- --json
expect '#0 type 5 id 9 3 bytes "one"'

run 2 decode --nosuch
complains 'there is no option --nosuch'
run 2 decode --nosuch=3
run 2 decode -z
complains 'there is no option -z'
run 2 decode --tex a
run 2 decode --json=yes a
complains '--json takes no value'
run 2 decode --skip
complains '--skip wants BYTES'
run 2 decode --skip= a
run 2 decode --skip 1T a
complains '"1T" is not a size'
run 2 decode --skip -1 a
run 2 decode --skip 1KK a
run 2 decode --skip 99999999999G a
run 2 decode --skip 18446744073709551616 a
run 2 encode --chunk 0 <one
complains '--chunk: 0 is less than 1'
run 2 encode --max-frame 0 <one
run 2 encode --id 1x <one
run 2 encode --id "" <one
run 2 call --timeout 1e fd://0 x
run 2 call --timeout -1 fd://0 x
run 2 call --timeout '' fd://0 x
complains 'is not a time in seconds'
run 2 call --timeout nan fd://0 x
run 2 call --window 0 fd://0 x

# ---- framing ---------------------------------------------------------------------------------
run 2 decode --layout nosuch a
complains '--layout:'
run 2 decode --layout '!I:len *' a
run 2 decode --layout '!I:length*' a
run 2 encode --layout u8 --max-frame 256 <one
complains '256 is more than the 255 bytes'
run 0 encode --layout u8 --max-frame 255 <one
run 2 encode --max-frame 4294967296 <one
run 1 encode --layout u8 --max-frame 2 <one
complains 'limit of 2 bytes'
run 2 encode --layout u32 --type 3 <one
complains 'no view "type"'
run 2 encode --layout u32 --id 3 <one
complains 'no view "id"'
run 2 encode --type x <one
run 2 encode --type 4294967296 <one
run 0 encode --type 4294967295 <one
run 2 encode --type -1 <one
run 2 encode --id 4294967296 <one
run 2 encode --layout amqp --set nosuch=1 <one
complains 'no view "nosuch"'
run 2 encode --layout amqp --set end=206 <one
complains '"end" is a constant'
run 2 encode --layout amqp --set length=3 <one
complains 'the length cannot be set'
run 2 encode --layout amqp --set channel <one
complains 'not NAME=VALUE'
run 2 encode --layout amqp --set =3 <one
run 2 encode --layout amqp --set averyverylongnamethatnoviewcanhaveatall=3 <one
run 2 encode --set flags=1 <one
run 1 encode --layout amqp --set channel=65536 <one
complains 'channel'
run 1 encode --layout amqp --set channel=x <one
complains '"x" is not a value for channel'
run 1 encode --layout amqp --set channel=-1 <one
run 0 encode --layout amqp --type 8 --set channel=65535 <one
mv out a
run 0 decode --layout amqp a
expect '#0 type 8 channel 65535 3 bytes "one"'
run 0 encode --layout postgres --type Q <one
mv out a
run 0 decode --layout postgres a
expect '#0 type "Q" 3 bytes "one"'
for type in 81 0x51; do
    run 0 encode --layout postgres --type $type <one
    same a out
done
run 0 encode --layout postgres --type hex:5a <one
mv out a
run 0 decode --layout postgres a
expect '#0 type "Z" 3 bytes "one"'
run 0 encode --layout '!4s:name d:ratio b:depth f:half I:length *' --set name=ab --set ratio=0.1 --set depth=-128 --set half=0.1 <one
mv out a
run 0 decode --layout '!4s:name d:ratio b:depth f:half I:length *' a
expect '#0 name "ab\x00\x00" ratio 0.1 depth -128 half 0.1 3 bytes "one"'
run 1 encode --layout '!4s:name I:length *' --set name=abcde <one
run 1 encode --layout '!4s:name I:length *' --set name=hex:0 <one
run 1 encode --layout '!b:depth I:length *' --set depth=-129 <one
run 1 encode --layout '!f:half I:length *' --set half=1e39 <one

# ---- sealed sessions, datagrams --------------------------------------------------------------
if [ "${HAVE_SODIUM:-yes}" = no ]; then
    for option in '--psk=f' '--key=f' '--peer=f' '--seal=mac'; do
        for sub in call send; do
            run 1 $sub $option tcp://127.0.0.1:1 x
            complains 'sealed sessions are not in this build'
        done
    done
fi
for sub in call send; do
    run 1 $sub unixgram:///nosuch/socket x
    complains 'No such file or directory'
    for bad in tcp nosuch://x tcp://127.0.0.1 tcp://127.0.0.1:99999 unix:// fd://x fd://; do
        run 2 $sub "$bad" x
    done
    run 2 $sub
    complains 'an ENDPOINT is missing'
    run 2 $sub tcp://127.0.0.1:1
    complains 'a PAYLOAD or --lines is missing'
    run 2 $sub --lines tcp://127.0.0.1:1 x
    run 2 $sub tcp://127.0.0.1:1 hex:0
    complains '"hex:0" is not hexadecimal digits in pairs'
    run 2 $sub tcp://127.0.0.1:1 hex:zz
    run 1 $sub tcp://127.0.0.1:1 @nosuch
    complains 'cannot open nosuch: No such file'
    run 1 $sub unix://"$work"/nosuch x
    complains 'No such file'
done
run 2 call --raw --json tcp://127.0.0.1:1 x
run 2 call --set id=3 --layout '!I:id I:length *' tcp://127.0.0.1:1 x

# ---- a closed or full standard output, a closed standard input ----------------------------------
closed()
{
    ran=$*
    got=0
    lintel "$@" >&- 2>err || got=$?
    : >out
    [ $got = 1 ] || die "exit status $got with standard output closed"
    check_err 1 "$1"
    complains 'standard output'
}
run 0 encode <one
mv out a
closed decode a
closed encode <one
closed layout
closed version
if [ -w /dev/full ]; then
    for sub in layout version encode; do
        ran="$sub >/dev/full"
        got=0
        lintel $sub >/dev/full 2>err <one || got=$?
        [ $got = 1 ] || die "exit status $got with standard output full"
        check_err 1 $sub
        complains 'No space left'
    done
fi
run 1 encode <&-
complains 'cannot read standard input'
run 1 decode <&-
complains 'cannot read standard input'

# A reader that goes away: exit 1 and one line, whatever was still to be written.
awk 'BEGIN { for (i = 0; i < 100000; i++) print "line " i }' >many
{ got=0; lintel encode <many 2>err || got=$?; echo $got >status; } | head -c 1 >/dev/null
[ "$(cat status)" = 1 ] || die "exit status $(cat status) when the reader goes away"
: >out
check_err 1 encode
complains 'Broken pipe'
