# shellcheck shell=bash
# Sourced by the scripts of this directory: changes to the repository's root, adds cargo to PATH, and defines fail and
# as_root.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
PATH="$PATH:${HOME:-/root}/.cargo/bin"

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Runs a command as root, by sudo if necessary.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "\"$1\" must run as root and there is no sudo; run ${0##*/} as root"
    fi
}
