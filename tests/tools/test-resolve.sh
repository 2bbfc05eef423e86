#!/bin/sh
# lintel resolve: what the system says of names that need no network.
set -eu
. "${srcdir:-.}/tests/tools/lib.sh"

has() { grep -qxF -e "$1" out || die "no line \"$1\""; }
hasnt() { ! grep -q -e "$1" out || die "a line of \"$1\""; }

host=$(uname -n)
run 0 resolve 127.0.0.1
expect "address 127.0.0.1
canonical 127.0.0.1
hostname $host"
run 0 resolve 127.0.0.1:4242
expect "address 127.0.0.1
canonical 127.0.0.1
port 4242
hostname $host"
run 0 resolve localhost
grep -qE '^address (127\.0\.0\.1|::1)$' out || die "localhost has no address"
has "hostname $host"
hasnt '^port'
# Each fact comes once, in the order of the manual page, however many kinds of sockets there are.
run 0 resolve localhost:80
has 'port 80'
[ -z "$(sort out | uniq -d)" ] || die "a fact comes twice"
[ "$(sed 's/ .*//' out | uniq | tr '\n' ' ')" = "address canonical port hostname " ] ||
    die "the facts stand in another order"
run 0 resolve ::1
has 'address ::1'
hasnt '^port'
run 0 resolve '[::1]'
has 'address ::1'
run 0 resolve '[::1]:80'
has 'address ::1'
has 'port 80'
if getent services domain >services; then
    run 0 resolve 127.0.0.1:domain
    has 'port 53'
fi

run 1 resolve 127.0.0.1:no-such-service
complains 'service "no-such-service": no port is known for it'
[ ! -s out ] || die "a failure prints nothing"
for service in 65536 99999999999999999999999 -1; do
    run 1 resolve "127.0.0.1:$service"
    complains "service \"$service\": no port is known for it"
done
run 0 resolve 127.0.0.1:65535
has 'port 65535'
run 0 resolve 127.0.0.1:0
has 'port 0'
run 1 resolve '256.256.256.256'
complains 'host "256.256.256.256": '
for bad in '' : :80 localhost: '[::1' '[::1]x' '[]' a:b:c; do
    run 2 resolve "$bad"
done
run 2 resolve
run 2 resolve a b
