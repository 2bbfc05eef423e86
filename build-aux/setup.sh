# What ./demo and ./check share: packages, bootstrap, configure and build in ./build, each only where
# it is needed. Read with `.` in the top folder; the functions that matter are the last two.
# shellcheck shell=sh

build=build
log=$build/setup.log
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

give_up()
{
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }
has_headers() { echo '#include <stdio.h>' | "${CC:-cc}" -E - >/dev/null 2>&1; }
has_module() { has python3 && python3 -c "import $1"; } 2>/dev/null
has_library() { has pkg-config && pkg-config --exists "$1"; }

has_clang_runtime() { ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1; }

# want PACKAGE TEST...: notes a Debian package as missing unless the test passes.
want()
{
    package=$1
    shift
    "$@" || missing="$missing $package"
}

# Notes what building needs; a tree from a release has its configure with it.
want_building()
{
    missing=
    want gcc has "${CC:-cc}"
    want libc6-dev has_headers
    want make has make
    want pkg-config has pkg-config
    want libuv1-dev has_library libuv
    [ -x configure ] && [ ! -d .git ] && return
    want autoconf has autoreconf
    want automake has automake
    want libtool has libtoolize
}

# Notes what makes tests run that would be skipped without it.
want_testing()
{
    missing=
    want libcmocka-dev has_library cmocka
    want libsodium-dev has_library libsodium
    want libedit-dev has_library libedit
    want python3 has python3
    want python3-cryptography has_module cryptography
    want g++ has g++
    want clang-format-14 has clang-format-14
    want groff-base has groff
    want bind9-dnsutils has dig
    want erlang-base has erl
    [ -n "$LINTEL_CI" ] || return
    want clang has clang
    want libclang-rt-14-dev has_clang_runtime
    want tshark has tshark
    want valgrind has valgrind
}

# Installs the missing packages where that is possible without asking anybody.
install_missing()
{
    has apt-get || return 1
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif has sudo && sudo -n true 2>/dev/null; then
        as_root='sudo -n'
    else
        return 1
    fi
    echo "installing:$missing"
    mkdir -p $build
    # shellcheck disable=SC2086 # lists
    {
        $as_root apt-get -qq update
        apt_install $missing || for package in $missing; do apt_install "$package"; done
    } >>$log 2>&1 </dev/null
}

apt_install()
{
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 install "$@"
}

# step NAME COMMAND...: runs it with its output in the log, which is shown if it fails.
step()
{
    printf '%s: ' "$1"
    name=$1
    shift
    if "$@" >>$log 2>&1 </dev/null; then
        echo ok
    else
        echo failed
        tail -n 40 $log
        give_up "$name failed; the whole output is in $log"
    fi
}

configure_here() { (cd $build && ../configure); }

# What must be there; fails where it cannot be had.
set_up_building()
{
    want_building
    [ -z "$missing" ] && return
    wanted=$missing
    install_missing
    want_building
    [ -z "$missing" ] || give_up "please install$missing (Debian's names), then run this again"
    echo "installed:$wanted"
    rm -f $build/config.status
}

# What is good to have; says so where it cannot be had.
set_up_testing()
{
    want_testing
    [ -z "$missing" ] && return
    wanted=$missing
    install_missing
    want_testing
    [ "$missing" = "$wanted" ] || rm -f $build/config.status
    [ -z "$missing" ] ||
        echo "not here, and tests that want them are skipped:$missing (Debian's names)"
}

# Bootstrap, configure, build. A build folder that was made elsewhere is made anew.
set_up_build()
{
    if [ -f $build/Makefile ] && ! grep -qx "abs_top_builddir = $PWD/$build" $build/Makefile; then
        rm -rf $build
    fi
    mkdir -p $build
    : >$log
    [ -x configure ] && [ -f Makefile.in ] && [ -f config.h.in ] || step bootstrap autoreconf -fi
    [ -f $build/config.status ] || step configure configure_here
    step build make -C $build -j "$jobs"
}
