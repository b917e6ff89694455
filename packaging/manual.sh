# shellcheck shell=sh
# Man pages and shell completion, for packaging/install and packaging/uninstall: one list for both.
#
#   put_manual DEST TREE       puts them where man and the shells look
#   remove_manual DEST TREE    takes exactly these away

# Debian's zsh looks in a directory of its own for what packages bring, others in site-functions. A tree that
# is no system, only what goes into a package, is meant for a system like this one.
zsh_completions() {
    system=$1
    [ -e "$system/etc/os-release" ] || system=
    if [ -e "$system/etc/debian_version" ]; then
        echo /usr/share/zsh/vendor-completions
    else
        echo /usr/share/zsh/site-functions
    fi
}

# A line for each file: where it lies in the tree, and where it goes.
manual_files() {
    for page in "$2"/packaging/man/*.[1-8]; do
        echo "packaging/man/$(basename "$page") /usr/share/man/man${page##*.}/$(basename "$page")"
    done
    completion=ctl/energyctl/completion
    echo "$completion/energyctl.bash /usr/share/bash-completion/completions/energyctl"
    echo "$completion/_energyctl $(zsh_completions "$1")/_energyctl"
    echo "$completion/energyctl.fish /usr/share/fish/vendor_completions.d/energyctl.fish"
}

put_manual() {
    manual_files "$1" "$2" | while read -r source target; do
        mkdir -p "$(dirname "$1$target")"
        command install -m 644 "$2/$source" "$1$target"
    done
}

remove_manual() {
    manual_files "$1" "$2" | while read -r _ target; do
        rm -f "$1$target"
    done
}
