# The compiled scenario in use, for packaging/install and packaging/uninstall, which source this (POSIX sh).
#
# The link that names it is written by user energy-market, and read here by root. So it may lead to one place
# only: what an installation of ours carries compiled. Wherever else it leads, nobody goes.

# carried_scenario DESTDIR LIBRARY: prints where it lies, below DESTDIR; fails if no installation carries it.
carried_scenario() {
    named=$(readlink "$1/var/cache/energy-market/scenario") || return 1
    named=$(realpath -e "$1$named" 2>/dev/null) || return 1
    trees=$(realpath -e "$1$(dirname "$2")") || return 1
    case ${named%/*} in
    "$trees/$(basename "$2")"*/energymarket/scenario/precompiled) ;;
    *) return 1 ;;
    esac
    case ${named##*/} in *[!0-9a-f]*) return 1 ;; esac
    [ "$(printf %s "${named##*/}" | wc -c)" -eq 32 ] && [ -f "$named/scenario.json" ] || return 1
    # Root's, or of whoever fills a tree for others.
    case $(stat -c %u "$named") in 0 | "$(id -u)") printf '%s\n' "$named" ;; *) return 1 ;; esac
}

# compiled_files DIR: prints the names of what a compiled scenario consists of; no links.
compiled_files() {
    (cd "$1" && find . -maxdepth 1 -type f \( -name scenario.json -o -name scenario.toml -o -name '*.npy' \) -printf '%f\n')
}
