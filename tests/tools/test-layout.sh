#!/bin/sh
# lintel layout: the list, and diagrams.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

run 0 layout
grep -q '^lintel  *!H:magic=0x4c54 .*  # proto/lintel.md' out || die "lintel is not in the list"
cut -d ' ' -f 1 out >names
sed -n 's/^\([a-z0-9][^ ]*\) .*/\1/p' "$srcdir/proto/layouts" >wanted
same wanted names
# Every one is drawn, none with a line longer than a row of 32 bits is wide.
while read -r name; do
    run 0 layout "$name"
    grep -q "^$name, " out || die "$name: its reference is missing"
    grep -q '^  length  *\(bytes\|byte\|varint\)' out || die "$name: its length is missing"
    sed -n '/^ 0  /,/^$/p' out | grep '^.\{66\}' && die "$name: too wide" || :
    grep -qE '^(\+-|[|.] .*payload.*\.$)' out || die "$name: no payload"
done <names

run 0 layout lintel
expect 'lintel, proto/lintel.md, "The frame"
!H:magic=0x4c54 B:version=1 B:flags,reserved&0xf0=0 I:type I:id I:length *

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|        magic = 0x4c54         |  version = 1  |flags, reserved|
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                             type                              |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                              id                               |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                            length                             |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
.                            payload                            .
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

header 16 bytes, big-endian, payload at most 4294967295 bytes
  magic     bytes 0-1     H; always 0x4c54
  version   byte 2        B; always 1
  flags     byte 3        B
  reserved  byte 3        B, of its bits 0xf0; always 0
  type      bytes 4-7     I
  id        bytes 8-11    I
  length    bytes 12-15   I; counts the payload'

# What the length counts, in words.
run 0 layout x11
grep -q 'H, times 4, minus 4; counts the whole frame, in units of 4 bytes$' out || die "units: x11"
run 0 layout modbus
grep -q '; counts the payload and 1 byte more$' out || die "one more: modbus"
run 0 layout '!H:length*2+3 *'
grep -q '; counts the payload less 3 bytes, in units of 2 bytes$' out || die "less"

# Masks that part a word, what fills several rows, varints, a trailer, nameless bytes.
run 0 layout '!H:version>>12=1,kind>>8&0xf,flags&0xff x 5s:key 4v:length-2 * I:sum B:end=0x24'
sed -n '/^ 0  /,/^$/p' out >diagram
printf '%s\n' \
' 0                   1                   2                   3' \
' 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1' \
'+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+' \
'|version| kind  |     flags     |               |               |' \
'+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+               +' \
'|                              key                              |' \
'+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+' \
'.                 length (varint, 1 to 4 bytes)                 .' \
'+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+' \
'.                            payload                            .' \
'+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+' \
'|                              sum                              |' \
'+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+' \
'|  end = 0x24   |' \
'+-+-+-+-+-+-+-+-+' '' >wanted
same wanted diagram

run 2 layout nosuch
run 2 layout '!I:length'
run 2 layout '!I:length * *'
run 2 layout lintel u32
run 2 layout --nosuch
