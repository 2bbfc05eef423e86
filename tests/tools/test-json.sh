#!/bin/sh
# lintel encode --json: any order, blanks and escapes; what is wrong is named with its line.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

printf 'hi\n' | lintel encode --type 7 >hi

takes() # LINE: the frame is that of hi
{
    printf '%s\n' "$1" >line
    run 0 encode --json <line
    same hi out
}
takes '{"offset":0,"header":{"magic":19540,"version":1,"flags":0,"reserved":0,"type":7,"id":1,"length":2},"length":2,"payload":"6869"}'
takes '{"header":{"id":1,"type":7},"payload":"6869"}'
takes '{"payload":"6869","header":{"type":7,"id":1}}'
takes '  { "payload" : "6869" , "header" : { "type" : "7" , "id" : 1 } }  '
takes '{"\u0070ayload":"\u0036869","h\u0065ader":{"type":7,"id":1}}'
takes '{"payload":"6869","header":{"type":7,"id":1,"length":99},"length":4,"offset":-7.5e3}'
takes '{"payload":"6869","header":{"type":7,"id":1},"length":"x","offset":"\ud83d\ude00\"\\\/\b\f\n\r\t"}'
printf '\n{"header":{"id":1,"type":7},"payload":"6869"}\r\n \t\n' >line
run 0 encode --json <line
same hi out
printf '{"header":{"id":1,"type":7},"payload":"6869"}' >line
run 0 encode --json <line
same hi out
printf '{"header":{"id":1},"payload":"6869"}' >line
run 0 encode --json --type 7 <line
same hi out
printf '{}\n' >line
run 0 encode --json <line
mv out frames
run 0 decode frames
expect '#0 type 0 id 0 0 bytes ""'
printf '{"header":{"flags":4,"id":3}}\n{"header":{"flags":8,"type":2}}\n{"header":{"flags":3},"payload":"FF"}' >line
run 0 encode --json <line
mv out frames
run 0 decode frames
expect '#0 type 0 id 3 MORE 0 bytes ""
#16 PING id 0 0 bytes ""
#32 type 0 id 0 REPLY ERROR 1 byte "\xff"'

refuses() # LINE WORDS: as line 3, behind a good one and a blank one, which are encoded
{
    { printf '{"header":{"id":1,"type":7},"payload":"6869"}\n\n%s\n' "$1"; echo 'never read'; } >line
    run 1 encode --json <line
    complains "line 3: "
    complains "$2"
    same hi out
}
refuses 'nonsense' 'an object is missing'
refuses '[]' 'an object is missing'
refuses '{' 'a string is missing'
refuses '{"payload":"00"' 'a comma or a closing brace is missing'
refuses '{"payload":"00"} x' 'something stands behind the object'
refuses '{"payload":"00"}{}' 'something stands behind the object'
refuses '{"payload":"00",}' 'a string is missing'
refuses '{,"payload":"00"}' 'a string is missing'
refuses '{"payload" "00"}' 'a colon is missing'
refuses '{"payload":"0"}' 'hexadecimal'
refuses '{"payload":"0g"}' 'hexadecimal'
refuses '{"payload":12}' 'hexadecimal'
refuses '{"payload":"00' 'a string does not end'
refuses '{"payload":"00\' 'a string does not end'
refuses '{"payload":"\x"}' 'a backslash'
refuses '{"payload":"\u12"}' 'four hexadecimal digits'
refuses '{"payload":"\ud800"}' 'half a surrogate pair'
refuses '{"payload":"\udc00"}' 'half a surrogate pair'
refuses '{"payload":"\ud800\u0041"}' 'half a surrogate pair'
refuses "{\"payload\":\"	\"}" 'a control character'
refuses '{"payload":null}' 'neither a string nor a number'
refuses '{"payload":["00"]}' 'neither a string nor a number'
refuses '{"payload":"00","payload":"00"}' '"payload" stands there twice'
refuses '{"header":{},"header":{}}' '"header" stands there twice'
refuses '{"header":{"id":1,"id":1}}' '"id" stands there twice'
refuses '{"header":{"nosuch":1}}' '"nosuch" is not in this layout'
refuses '{"header":{"averyveryveryverylongnamethatnoviewcanhave":1}}' 'is not in this layout'
refuses '{"payloads":"00"}' '"payloads" is none of'
refuses '{"header":7}' 'an object is missing'
refuses '{"header":{"id":1}' 'a comma or a closing brace is missing'
refuses '{"header":{"id":4294967296}}' 'id'
refuses '{"header":{"id":-1}}' 'id'
refuses '{"header":{"id":1.0}}' '"1.0" is not a number for this field'
refuses '{"header":{"id":1e1}}' '"1e1" is not a number for this field'
refuses '{"header":{"id":01}}' 'a comma or a closing brace is missing'
refuses '{"header":{"id":+1}}' 'neither a string nor a number'
refuses '{"header":{"id":1.}}' 'without digits'
refuses '{"header":{"id":1e}}' 'without digits'
refuses '{"header":{"id":"0x1"}}' 'is not a number for this field'
refuses '{"header":{"id":""}}' 'is not a number for this field'
refuses '{"header":{"id":"18446744073709551616"}}' 'is not a number for this field'
refuses '{"header":{"magic":19541}}' '"magic" is not the constant'
refuses '{"header":{"reserved":16}}' '"reserved" is not the constant'
refuses '{"header":{"flags":16}}' 'lintel encode: '
refuses '{"header":{"flags":2}}' 'lintel encode: '
refuses '{"header":{"flags":8,"type":77}}' 'lintel encode: '
refuses '{"header":{"flags":256}}' 'flags'

# Constants of every kind, byte strings, a trailer.
layout="!c:type='Q' 2s:word 2s:tag='OK' I:length * H:sum B:end=0xCE"
printf '{"header":{"type":"51","word":"6162","tag":"4f4b","sum":513,"end":206},"payload":"00"}\n' >line
run 0 encode --json --layout "$layout" <line
mv out frames
run 0 decode --json --layout "$layout" frames
expect '{"offset":0,"header":{"type":"51","word":"6162","tag":"4f4b","length":1,"sum":513,"end":206},"length":1,"payload":"00"}'
foreign()
{
    printf '%s\n' "$1" >line
    run 1 encode --json --layout "$layout" <line
    complains "line 1: "
    complains "$2"
}
foreign '{"header":{"type":"52"}}' '"type" is not the constant'
foreign '{"header":{"type":81}}' 'is not a string of hexadecimal digits'
foreign '{"header":{"word":"616263"}}' 'word'
foreign '{"header":{"end":205}}' '"end" is not the constant'
foreign '{"header":{"sum":65536}}' 'sum'

# Over the limit: the line is refused, and so is one that no frame can have.
printf '{"payload":"00010203"}\n' >line
run 0 encode --json --max-frame 4 <line
run 1 encode --json --max-frame 3 <line
complains 'line 1: the payload is longer than the limit of 3 bytes'
{ printf '{"payload":"'; head -c 200000 /dev/zero | tr '\0' 0; } >line
run 1 encode --json --max-frame 3 <line
complains 'line 1 is longer'
run 2 encode --json --id 3 <line

# 16 MiB there and back.
head -c 16777216 /dev/urandom | lintel encode --whole >frames
run 0 decode --json frames
mv out json
run 0 encode --json <json
same frames out

# ---- a named x is a byte string, floats print short ------------------------------------------
layout='!H:length 2x:pad f:real d:precise *'
printf '\000\001\001\002\102\310\000\000\077\271\231\231\231\231\231\232a' >frames
run 0 decode --json --layout "$layout" frames
expect '{"offset":0,"header":{"length":1,"pad":"0102","real":100,"precise":0.1},"length":1,"payload":"61"}'
mv out line
run 0 encode --json --layout "$layout" <line
same frames out
printf '\000\001\001\002\177\200\000\003\377\370\000\000\000\000\000\001a' >nans
run 0 decode --json --layout "$layout" nans
expect '{"offset":0,"header":{"length":1,"pad":"0102","real":"snan(0x3)","precise":"-nan(0x1)"},"length":1,"payload":"61"}'
mv out line
run 0 encode --json --layout "$layout" <line
same nans out
printf a >line
run 0 encode --layout "$layout" --set pad=hex:0102 --set real=100 --set precise=0.1 <line
same frames out
run 0 encode --layout "$layout" --set pad=hex:0102 --set 'real=snan(3)' --set 'precise=-nan(1)' <line
same nans out
