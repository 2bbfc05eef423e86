# shellcheck shell=sh
# Shared by the tests of the program: sourced, not run. The test then stands in an empty folder of
# its own, which is removed at the end, with the servers it started.
#
#     run STATUS ARGUMENT...     lintel with these, its input as given; out and err are what it wrote
#     lintel ARGUMENT...         the same without a look at what came of it
#     expect TEXT                out is this text and a newline
#     complains WORDS            err is one line, begins "lintel SUBCOMMAND: ", and has these words
#     same FILE FILE             they are equal, byte for byte
#
# No step may take for ever: a process that is started stands behind $bounded, and a line of a FIFO is
# had with `take`. So a hang is a failure that names its place.

: "${LINTEL:?is to be the program}"
srcdir=$(cd "${srcdir:-.}" && pwd)
work=$(mktemp -d)
servers=
# A minute and a half, then SIGTERM; half a minute after that or any other signal, SIGKILL.
# --foreground: a signal is passed on once, to the process and not to its group, and no SIGCONT
# follows it. That would hang one whose leaks are just being looked for: the SIGSTOP with which the
# leak sanitizer halts it goes when SIGCONT comes, and is waited for without end.
bounded='timeout --foreground -k 30 90'
clean_up()
{
    for server in $servers; do
        kill "$server" 2>/dev/null || :
    done
    cd /
    rm -rf "$work"
}
trap clean_up EXIT
trap 'die "ended from outside: it took too long, perhaps"' HUP INT TERM
cd "$work"

ran=
die()
{
    printf 'FAILED: %s\n' "$*" >&2
    [ -z "$ran" ] || printf 'after: lintel %s\n' "$ran" >&2
    for file in out err server.err; do
        [ ! -s $file ] || { echo "--- $file"; head -c 2000 $file; echo; } >&2
    done
    exit 1
}

# A failure says why in one line; success says nothing on standard error.
check_err()
{
    if [ "$1" = 0 ]; then
        [ ! -s err ] || die "it complains, and succeeds"
        return
    fi
    [ "$(wc -l <err)" -eq 1 ] || die "there is to be one line on standard error"
    case $(cat err) in
    "lintel: "* | "lintel $2: "*) ;;
    *) die "the line does not begin \"lintel $2: \"" ;;
    esac
}

run()
{
    want=$1
    shift
    ran=$*
    got=0
    $bounded "$LINTEL" "$@" >out 2>err || got=$?
    [ "$got" = "$want" ] || die "exit status $got, wanted $want"
    check_err "$want" "${1-}"
}

lintel()
{
    $bounded "$LINTEL" "$@"
}

expect()
{
    printf '%s\n' "$1" >wanted
    cmp -s wanted out || { diff wanted out >&2 || :; die "other output than wanted"; }
}

complains()
{
    grep -qF -e "$1" err || die "the complaint has no \"$1\""
}

same()
{
    cmp "$1" "$2" || die "$1 and $2 differ"
}

# Hexadecimal digits, with blanks and # comments, from standard input to bytes on standard output.
unhex()
{
    # shellcheck disable=SC2059 # the digits are the format
    sed 's/#.*//' | tr -d ' \t\r\n' | awk '
        { for (i = 1; i < length($0); i += 2) {
              high = index("0123456789abcdef", tolower(substr($0, i, 1))) - 1
              low = index("0123456789abcdef", tolower(substr($0, i + 1, 1))) - 1
              printf "\\%d%d%d\n", int(high / 4), (high % 4) * 2 + int(low / 8), low % 8 } }' |
        while read -r octal; do printf "$octal"; done
}

# wait_until COMMAND WHAT: until it succeeds; it is given up after a minute.
wait_until()
{
    given_up=$(($(date +%s) + 60))
    until eval "$1"; do
        [ "$(date +%s)" -lt $given_up ] || die "$2"
    done
}

# take FIFO: the next line that is written to it, in $line. Hold a FIFO open for reading and writing
# (exec 3<>FIFO) where writers come one after the other.
take()
{
    line=$($bounded head -n 1 "$1") && [ -n "$line" ] || die "nothing comes out of $1"
}

# finish PROCESS STATUS: waits for one of $servers, which must end with this.
finish()
{
    got=0
    wait "$1" || got=$?
    servers=$(printf '%s' "$servers" | sed "s/ $1\>//")
    case $got in
    "$2") ;;
    124 | 137) die "what was started does not end by itself: it had to be killed" ;;
    *) die "what was started ends with $got, wanted $2" ;;
    esac
}

# stop PROCESS: ends one that was started, which must end with success.
stop()
{
    kill "$1"
    finish "$1" 0
}

# serve [OPTION...] ENDPOINT: starts a server; its endpoint is then in $endpoint, its process in
# $server.
serve()
{
    [ "${HAVE_UV:-yes}" = yes ] || { echo "lintel serve is not in this build"; exit 77; }
    ran="serve $*"
    rm -f said
    mkfifo said
    $bounded "$LINTEL" serve "$@" >said 2>server.err &
    server=$!
    servers="$servers $server"
    endpoint=
    while read -r line; do
        endpoint=${line#listening on }
        break
    done <said
    [ -n "$endpoint" ] || die "the server does not listen"
}
