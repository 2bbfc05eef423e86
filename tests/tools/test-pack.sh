#!/bin/sh
# lintel pack, unpack and calcsize: values in and out, refusals, exit statuses.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

# there_and_back FORMAT HEX VALUE...: pack prints HEX, unpack of it prints the values again.
there_and_back()
{
    format=$1 hex=$2
    shift 2
    run 0 pack "$format" "$@"
    expect "$hex"
    run 0 unpack "$format" "$hex"
    expect "$(for value in "$@"; do printf '%s\n' "$value"; done)"
}

# ---- integers --------------------------------------------------------------------------------
there_and_back '!HBBIII' 4c540100000000070000000100000005 19540 1 0 7 1 5
there_and_back '<HBBIII' 544c0100070000000100000005000000 19540 1 0 7 1 5
there_and_back '!bhiq' ffff807fffffff8000000000000000 -1 -128 2147483647 -9223372036854775808
there_and_back '!BHTIQ' fffff1ffffffffffffffffffffffffffffff 255 65521 16777215 4294967295 18446744073709551615
there_and_back '!tT' ffffff010000 -1 65536
there_and_back '!3?' 010001 1 0 1
run 0 pack '!iH' -5 0x1F
expect fffffffb001f
run 0 pack -- '!i' -5
expect fffffffb
run 0 unpack '!2?' 02ff
expect '1
1'

# ---- bytes -----------------------------------------------------------------------------------
there_and_back '!5s' 68656c6c6f hello
there_and_back '!c3s3p' 61612062026364 a 'a b' cd
there_and_back '!5s' 6869000000 hex:6869000000
there_and_back '!4s' 6865783a hex:6865783a
there_and_back '!3s' 686578 hex
there_and_back '!2s' c3a4 hex:c3a4
there_and_back '!0p' '' ''
there_and_back '!0sH' 0001 '' 1
run 0 pack '!5s' hi
expect 6869000000
run 0 pack '!2s3p' hello hello
expect 6865026865
run 0 pack '!2s' -x
expect 2d78
run 0 pack '!3s' --help
expect 2d2d68
run 0 pack '!2s2s' -- hex:
expect 2d2d0000

# ---- floating point --------------------------------------------------------------------------
there_and_back '!e' 2e66 0.1
there_and_back '!f' 3dcccccd 0.1
there_and_back '!d' 3fb999999999999a 0.1
there_and_back '!efd' 3c003f8000003ff0000000000000 1 1 1
there_and_back '!3e' 7bff00010400 65504 6e-08 6.104e-05
there_and_back '!2f' 7f7fffff00000001 3.4028235e+38 1e-45
there_and_back '!2d' 00000000000000017fefffffffffffff 5e-324 1.7976931348623157e+308
there_and_back '!4d' 7ff0000000000000fff00000000000007ff80000000000008000000000000000 inf -inf nan -0
there_and_back '!2e' 7c007e00 inf nan
there_and_back '!4e' 7c01fdff7e01ffff 'snan(0x1)' '-snan(0x1ff)' 'nan(0x1)' '-nan(0x1ff)'
there_and_back '!4f' 7f800001ffbfffff7fc0000affffffff 'snan(0x1)' '-snan(0x3fffff)' 'nan(0xa)' \
    '-nan(0x3fffff)'
there_and_back '!2d' 7ff0000000000001ffffffffffffffff 'snan(0x1)' '-nan(0x7ffffffffffff)'
run 0 pack '!3e' '+NaN(511)' '-nan(0x0)' 'SNAN(0X01)'
expect 7ffffe007c01
for value in 'nan(0x200)' 'nan(512)' snan 'snan(0)' 'snan(0x0)' 'nan()' 'nan(' 'nan(1' 'nan(x)' 'nan(-1)' \
    nanx 'nan(1)x' ++nan ' nan' nna; do
    run 1 pack '!e' "$value"
done
run 1 pack '!f' 'nan(0x400000)'
run 1 pack '!d' 'nan(0x8000000000000)'
run 1 pack '!d' 'nan(18446744073709551616)'
run 0 pack '!4e' INF -Infinity +iNF NAN
expect 7c00fc007c007e00
there_and_back '!3f' 42c80000447a00004b800000 100 1000 16777216
run 0 pack '!d' 1e3
expect 408f400000000000

# ---- sizes, padding --------------------------------------------------------------------------
run 0 pack '!B2xB' 1 2
expect 01000002
run 0 pack ''
expect ''
run 0 unpack '' ''
[ ! -s out ] || die "no values are to give no output"
run 0 unpack '!HB' ' 4c 54
01 '
expect '19540
1'
run 0 calcsize '!HBBIII'
expect 16
run 0 calcsize ''
expect 0
run 0 calcsize '= B I'
expect 5

# ---- refused: a format is a wrong command line, a value is a failure --------------------------
for command in pack unpack calcsize; do
    run 0 $command --help
    grep -q "^usage: lintel $command FORMAT" out || die "--help does not say how"
    run 2 $command
    complains FORMAT
    run 2 $command --nonsense
    value=00
    [ $command != calcsize ] || value=
    run 2 $command '!Hy' $value
    complains 'column 3'
    run 2 $command '<n' $value
done
run 2 calcsize '!H' '!H'
run 2 unpack '!H'
run 2 unpack '!H' 00 00
run 1 pack '!B' 256
complains "value 1, for 'B' at column 2: 256 is not in 0 to 255"
run 1 pack '!HB' 1 -1
complains 'value 2'
run 1 pack '!B' 99999999999999999999
run 1 pack '!B' 1.0
run 1 pack '!B' ''
run 1 pack '!B' hex:00
run 1 pack '!?' 2
run 1 pack '!?' true
run 1 pack '!c' ab
run 1 pack '!c' ''
run 1 pack '!s' hex:0
run 1 pack '!s' hex:zz
run 1 pack '!d' 1,5
run 1 pack '!d' 1e400
run 1 pack '!e' 65520
complains 'too large'
run 1 pack '!HH' 1
complains 'the number of values is 2, not 1'
run 1 pack '!H' 1 2
run 1 unpack '!H' 00
complains 'the format unpacks 2 bytes, not 1'
run 1 unpack '!H' 000000
run 1 unpack '!H' ''
run 1 unpack '!B' 0
run 1 unpack '!B' zz
run 1 unpack '!H' '0 000'

# ---- against CPython -------------------------------------------------------------------------
# With $THERE the program is another machine's, and its native sizes are not CPython's.
if [ -z "${THERE-}" ] && [ -n "${PYTHON3-python3}" ] && command -v "${PYTHON3:-python3}" >/dev/null; then
    native='chHiIlLqQnNfd'
    run 0 calcsize "@$native"
    expect "$("${PYTHON3:-python3}" -c "import struct; print(struct.calcsize('@$native'))")"
    run 0 pack "@$native" A -1 2 -3 4 -5 6 -7 8 -9 10 1.5 -2.5
    expect "$("${PYTHON3:-python3}" -c "import struct
print(struct.pack('@$native', b'A', -1, 2, -3, 4, -5, 6, -7, 8, -9, 10, 1.5, -2.5).hex())")"
fi
