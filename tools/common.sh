# shellcheck shell=bash
# Sourced by the scripts beside it: goes to the repository's root, finds cargo, and knows how to
# fail with a message and how to become root for one command.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
PATH="$PATH:${HOME:-/root}/.cargo/bin"

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Runs a command as root; by sudo if this user is another.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "\"$1\" must run as root and there is no sudo; run ${0##*/} as root"
    fi
}
