#!/bin/sh
# lintel layout --dissector: tshark shows what `lintel decode` does, however segments cut the frames.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"
: "${PYTHON3:=python3}"
for program in tshark text2pcap mergecap "$PYTHON3"; do
    command -v "$program" >/dev/null || { echo "$program is missing"; exit 77; }
done

run 2 layout --dissector
complains 'wants NAME or SPEC'
run 2 layout --dissector --port 0 u32
run 2 layout --dissector --port 65536 u32
run 2 layout --dissector '!I:length'

"$PYTHON3" "$srcdir/tests/tools/dissector.py" "$LINTEL" "$srcdir/proto/vectors/valid"

# ---- ports: an argument of the script, a preference ---------------------------------------------
run 0 layout --dissector u32
cp out u32.lua
echo '000000 00 00 00 02 68 69' | text2pcap -q -T 1234,4321 - one.pcap 2>err
seen()
{
    [ "$(tshark "$@" -r one.pcap -T fields -e lintel_u32.length -e data.data 2>err)" = \
        "$(printf '2\t6869')" ] || die "tshark $* shows no frame"
}
seen -X lua_script:u32.lua -X lua_script1:4321
seen -X lua_script:u32.lua -o lintel_u32.ports:4000-4321
seen -X lua_script:u32.lua -d tcp.port==4321,lintel_u32
[ -z "$(tshark -X lua_script:u32.lua -r one.pcap -Y lintel_u32 2>err)" ] || die "a port that nobody gave"
tshark -X lua_script:u32.lua -X lua_script1:4321 -o lintel_u32.limit:1 -r one.pcap -V 2>err |
    grep -q 'over the limit of 1' || die "the limit is not kept"
