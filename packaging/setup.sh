# Sets up .venv from the locked lists; sourced by ./run and ./test (POSIX sh).
#
#   setup ROOT run     what a run needs: the project, its compiler and its report
#   setup ROOT test    and what the tests need
#
# A stamp of everything that decides what is installed makes the second call cheap. The stamp is written
# last, so a set-up that was interrupted is begun again from nothing. Two at once wait for each other.

say() {
    printf '%s\n' "energy-market: $*" >&2
}

# Prints the first Python >= 3.11 that really runs: a name on the path may be a shim of nothing.
find_python() {
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3 python; do
        found=$("$name" -I -c 'import sys
if sys.version_info >= (3, 11): print(getattr(sys, "_base_executable", "") or sys.executable)' 2>/dev/null) || continue
        if [ -n "$found" ]; then
            printf '%s\n' "$found"
            return 0
        fi
    done
    say "no Python 3.11 or later runs here. On Debian 12, Ubuntu 24.04 or later:"
    say "    sudo apt install python3 python3-venv"
    say "or name one: PYTHON=/path/to/python3 $0"
    return 1
}

# What is to be installed, as one number: the lists, the project's own description, and where it lies.
wanted_stamp() {
    {
        printf '%s\n' "$venv"
        cat "$root/pyproject.toml" "$root/packaging/lock/build.txt" "$root/packaging/lock/$kind.txt"
    } | sha256sum | cut -d ' ' -f 1
}

is_ready() {
    [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.stamp-$kind" 2>/dev/null)" = "$stamp" ]
}

# Runs a command with its words in a log, and shows on one line (or, off a terminal, in few) that it lives.
quietly() {
    what=$1
    shift
    log=$venv/.setup.log
    "$@" >"$log" 2>&1 &
    worker=$!
    # A job in the background of a script does not hear Ctrl-C by itself.
    trap 'kill "$worker" 2>/dev/null; wait "$worker" || :; say "set-up interrupted"; exit 130' INT TERM HUP
    turns=0
    [ -t 2 ] || say "$what ..."
    while kill -0 "$worker" 2>/dev/null; do
        if [ -t 2 ]; then
            printf '\r\033[K%s' "energy-market: $what, $((turns / 5)) s" >&2
        elif [ $((turns % 75)) -eq 74 ]; then
            say "$what ... $((turns / 5)) s"
        fi
        sleep 0.2
        turns=$((turns + 1))
    done
    status=0
    wait "$worker" || status=$?
    trap - INT TERM HUP
    [ -t 2 ] && printf '\r\033[K' >&2
    if [ "$status" -ne 0 ]; then
        tail -n 25 "$log" >&2
        say "$what: failed (its last words are above, all of them in $log)"
        return 1
    fi
}

# Makes the empty environment and decides who fills it, by the first of three ways that works here: Python's
# own venv with its pip and, where Debian left ensurepip out, the pip of the system from outside, or uv.
make_environment() {
    if [ -e "$venv/.incomplete" ] || ! "$venv/bin/python" -I -c '' 2>/dev/null ||
        [ "$(cat "$venv/.place" 2>/dev/null || echo "$venv")" != "$venv" ]; then
        rm -rf "$venv"
    fi
    if [ ! -e "$venv" ]; then
        python=$(find_python) || return 1
        say "first set-up: making .venv with $python"
        if "$python" -I -c 'import ensurepip; ensurepip.version()' 2>/dev/null; then
            "$python" -I -m venv "$venv" || return 1
        elif "$python" -P -m pip --version >/dev/null 2>&1 || command -v uv >/dev/null 2>&1; then
            "$python" -I -m venv --without-pip "$venv" || return 1
        else
            say "this Python can make no environment (no ensurepip, no pip, no uv). On Debian or Ubuntu:"
            say "    sudo apt install python3-venv"
            return 1
        fi
    fi
    printf '%s\n' "$venv" >"$venv/.place"
    : >"$venv/.incomplete"
    # The system's pip may be the user's own, whom -I leaves out; -P leaves out the present directory only.
    if "$venv/bin/python" -I -m pip --version >/dev/null 2>&1; then
        installer=own
    elif python=$(find_python) && "$python" -P -m pip --version >/dev/null 2>&1; then
        installer=outside
    else
        installer=uv
    fi
}

# Becomes the installer, so that a signal reaches it: called in the background only.
install() {
    case $installer in
    own) exec "$venv/bin/python" -I -m pip install --no-compile "$@" ;;
    outside) exec "$python" -P -m pip --python "$venv/bin/python" install --no-compile "$@" ;;
    uv) exec env UV_NATIVE_TLS=true uv pip install --no-config --python "$venv/bin/python" "$@" ;;
    esac
}

# The tools that build come first, so that nothing unlocked is fetched to build sdnotify or the project.
fill_environment() {
    lock=$root/packaging/lock
    count=$(grep -c == "$lock/$kind.txt")
    quietly "installing the build tools" \
        install --require-hashes -r "$lock/build.txt" || return 1
    quietly "installing $count packages into .venv (once; needs the network)" \
        install --require-hashes --no-build-isolation -r "$lock/$kind.txt" || return 1
    quietly "installing energy-market" \
        install --no-deps --no-build-isolation --editable "$root" || return 1
    quietly "compiling them" byte_compile
}

# By all processors, which an installer does not do, and without what packages bring to test themselves. What
# cannot be compiled is for another Python.
byte_compile() {
    "$venv/bin/python" -I -m compileall -q -j 0 -x 'site-packages/.*/tests/' \
        "$("$venv/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || :
}

setup() {
    root=$1
    kind=$2
    venv=$root/.venv
    stamp=$(wanted_stamp)
    is_ready && return 0
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
    # The lock is on a file that is always there; descriptor 9 carries it and is closed below.
    exec 9<"$root/pyproject.toml"
    if ! flock --nonblock 9; then
        say "another set-up is at work here; waiting for it"
        flock 9
    fi
    if ! is_ready; then
        make_environment || exit 1
        status=0
        fill_environment || status=1
        # An installer that could say that it failed has left no half of a package behind.
        rm -f "$venv/.incomplete"
        [ "$status" -eq 0 ] || exit 1
        printf '%s\n' "$stamp" >"$venv/.stamp-$kind"
        # What the tests need holds what a run needs.
        [ "$kind" = run ] || (kind=run && wanted_stamp >"$venv/.stamp-run")
    fi
    exec 9<&-
}

# An environment of its own for pip, to build and install with; nothing of it is installed.
make_tools() {
    "$1" -I -m venv "$2" >/dev/null 2>&1 && return 0
    say "$1 can make no environment (no ensurepip). On Debian or Ubuntu:"
    say "    sudo apt install python3-venv"
    return 1
}
