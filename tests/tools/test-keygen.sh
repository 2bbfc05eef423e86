#!/bin/sh
# lintel keygen: keys into files that are new and closed to others, and the public key of a secret one.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

if [ "${HAVE_SODIUM:-yes}" = no ]; then
    run 1 keygen
    complains 'sealed sessions are not in this build'
    run 1 keygen key
    [ ! -e key ] || die "a file without a key"
    exit 0
fi

is_key() { [ "$(wc -l <"$1")" -eq 1 ] && grep -qE '^[A-Za-z0-9+/]{43}=$' "$1" || die "$1 is no key"; }
mode_of() { stat -c %a "$1"; }

umask 022
run 0 keygen
is_key out
cp out first
run 0 keygen
! cmp -s out first || die "the same key twice"
run 0 keygen --psk
is_key out
run 0 keygen secret.key
expect_nothing() { [ ! -s out ] || die "a key on standard output, too"; }
expect_nothing
is_key secret.key
[ "$(mode_of secret.key)" = 600 ] || die "secret.key has mode $(mode_of secret.key)"
run 0 keygen --psk shared.psk
expect_nothing
is_key shared.psk
[ "$(mode_of shared.psk)" = 600 ] || die "shared.psk has mode $(mode_of shared.psk)"
! cmp -s secret.key shared.psk || die "the same key twice"

# What is there stays as it is, a link, too.
cp secret.key before
for form in '' --psk '--public before'; do
    # shellcheck disable=SC2086 # no word, or two
    run 1 keygen $form secret.key
    complains 'cannot make secret.key: File exists'
done
same before secret.key
ln -s nowhere link
run 1 keygen link
complains 'cannot make link: '
[ ! -e nowhere ] || die "a key went through a link"
run 1 keygen no/such/folder
run 1 keygen ''

# RFC 7748, section 6.1.
echo 'dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo= alice # and a comment' >alice
run 0 keygen --public alice
expect hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=
run 0 keygen --public=alice alice.pub
expect_nothing
[ "$(cat alice.pub)" = hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo= ] || die "alice.pub: $(cat alice.pub)"
run 0 keygen --public - <alice
expect hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=
run 0 keygen --public secret.key
is_key out

run 1 keygen --public nothing
complains 'cannot open nothing: '
: >empty
run 1 keygen --public empty
complains '"empty": there is no key in it'
printf '\n# x\nnonsense\n' >bad
run 1 keygen --public bad
complains 'line 3 of "bad": '
cat alice secret.key >two
run 1 keygen --public two
complains 'line 2 of "two": '
echo AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= >zero
run 1 keygen --public zero
complains 'a key of zeros'
run 1 keygen --public . 
run 1 keygen --public /dev/zero
complains 'too large for a key file'

run 2 keygen a b
run 2 keygen --public
run 2 keygen --psk --public alice
run 2 keygen --shared
