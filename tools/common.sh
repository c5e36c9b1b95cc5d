# shellcheck shell=bash
# Sourced by the scripts of this directory: changes to the repository's root, adds cargo to PATH, and defines fail,
# build_debug and as_root.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
PATH="$PATH:${HOME:-/root}/.cargo/bin"

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Builds the debug profile of the program. With one of the tests, so that the features of dependencies are those of
# cargo test, and neither builds them again.
build_debug() {
    cargo build --bin directrix --test layers
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
