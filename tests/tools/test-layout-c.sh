#!/bin/sh
# lintel layout --c: every header compiles alone without a warning, in C and C++, and reads and
# writes what the library does. layout_c.py has the layouts, layout_c.c what is compared.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"
: "${CC:=cc}" "${CXX:=}" "${PYTHON3:=python3}" "${LINTEL_LDFLAGS:=}"
builddir=${builddir:-$(dirname "$LINTEL")}
command -v "$PYTHON3" >/dev/null || { echo "python3 is missing"; exit 77; }

run 2 layout --c
complains 'wants NAME or SPEC'
run 2 layout --c nosuch
run 2 layout --c '!I:size *'
run 2 layout --c --dictionary u32
run 2 layout --c --prefix '' u32
run 2 layout --c --prefix "$(printf '%065d' 0)" u32
complains 'not a name of 1 to 64 characters'
run 0 layout --c --prefix "$(printf '%064d' 0)" u32
run 2 layout --prefix x u32
run 2 layout --c --port 1 u32
run 0 layout --c native-messaging
grep -q 'native_messaging_length(const void \*header)' out || die "no native_messaging_length"
grep -q '^#define NATIVE_MESSAGING_HEADER_SIZE 4$' out || die "no NATIVE_MESSAGING_HEADER_SIZE"
run 0 layout --c '!B:length *'
grep -q 'frame_length(' out || die "a SPEC is not named frame"
run 0 layout --c --prefix my-own u32
grep -q 'my_own_length(' out || die "--prefix does nothing"
run 0 layout --c '!2s:x='"'*/'"' B:length *'
[ "$(grep -c '^ \*/$' out)" = 1 ] || die "a comment ends early"

# ---- it compiles, alone -----------------------------------------------------------------------
"$PYTHON3" "$srcdir/tests/tools/layout_c.py" "$LINTEL" "$srcdir/proto/vectors/valid" . >layouts.h
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wvla -Wcast-qual -Wundef -Werror"
cat layouts.h layouts.h >alone.c
cp alone.c alone.cc
# Under the names of their own, as they are printed for a person.
for name in $(lintel layout | cut -d ' ' -f 1); do
    run 0 layout --c "$name"
    cp out "own-$name.h"
    echo "#include \"own-$name.h\""
done >>alone.c
# Beside the library's.
echo '#include <lintel/lintel.h>' >>alone.c
echo 'uint32_t alone(const uint8_t *header);
uint32_t alone(const uint8_t *header) { return frame_lintel_get_id(header) + LINTEL_FRAME_LIMIT; }' >>alone.c
# shellcheck disable=SC2086 # lists
for compiler in "$CC" gcc clang; do
    command -v ${compiler%% *} >/dev/null || continue
    $compiler -std=c11 $warnings -Wstrict-prototypes -Wmissing-prototypes -I"$srcdir/include" -O1 -c \
        -o alone.o alone.c
done
# shellcheck disable=SC2086
[ -z "$CXX" ] || $CXX -std=c++17 $warnings -fsyntax-only -x c++ alone.cc

# ---- it reads and writes as the library does ---------------------------------------------------
# shellcheck disable=SC2086
$CC -std=c11 $warnings $LINTEL_LDFLAGS -I. -I"$srcdir/include" -c "$srcdir/tests/tools/layout_c.c" \
    -o layout_c.o
# shellcheck disable=SC2086
"$builddir/libtool" --quiet --tag=CC --mode=link $CC $LINTEL_LDFLAGS layout_c.o \
    "$builddir/liblintel.la" -o layout_c
./layout_c
