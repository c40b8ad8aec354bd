# For the setup scripts: how Debian's packages are had. Sourced, not run.

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND…: through sudo where that is needed; never asks.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt_lists PACKAGE…: brings the lists that these are looked up in up to date, at most once a day for all scripts together.
apt_lists() {
    have apt-get || { echo "there is no apt-get here: install $* and run this again" >&2; exit 1; }
    # Beside the folder of the script that sources this, unless it says otherwise.
    stamp_file=${apt_stamp:-$(dirname "$0")/../.cache/apt-lists}
    if [ -z "$(find "$stamp_file" -mtime -1 2>/dev/null)" ]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
        mkdir -p "$(dirname "$stamp_file")"
        : >"$stamp_file"
    fi
}

# apt_install PACKAGE…
apt_install() {
    apt_lists "$@"
    echo "installing $*" >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}
