#!/bin/sh
# Says what the tests need, installs what is missing, and runs every suite. Safe to repeat: what is there already is left alone.
#
# Python packages, Node packages and tools that only the tests use go into tests/.cache; Debian's packages are installed.
set -eu

cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*" >&2; "$@"; }

# need WHAT PACKAGES COMMAND…: a line that says whether it is there, or what will be installed for it.
need() {
    what=$1 packages=$2
    shift 2
    if "$@" >/dev/null 2>&1; then state='is there'; else state="will be installed: $packages (apt-get)"; fi
    printf '   %-28s %s\n' "$what" "$state" >&2
}

# cached WHAT FOLDER SOURCE: the same for what goes into tests/.cache.
cached() {
    if [ -e "tests/.cache/$2" ]; then state='is there'; else state="will be installed into tests/.cache/$2 ($3)"; fi
    printf '   %-28s %s\n' "$1" "$state" >&2
}

command -v cargo >/dev/null 2>&1 || { echo "tests/all.sh: needs Rust, see https://rustup.rs" >&2; exit 1; }
redis() { command -v redis-server || command -v valkey-server; }
node_and_npm() { command -v node && command -v npm; }
printf '== the tests need, beside Rust:\n' >&2
need 'a C compiler' gcc command -v cc
need 'Python with venv' 'python3 python3-venv' python3 -c 'import ensurepip, venv'
need 'Node with npm' 'nodejs npm' node_and_npm
need 'curl' curl command -v curl
need 'systemd-analyze' systemd command -v systemd-analyze
need 'Redis or Valkey' redis-server redis
need 'Chromium' 'chromium fonts-dejavu-core' command -v chromium
cached 'official SDKs for Python' sdk/python 'PyPI, tests/sdk/requirements.txt'
cached 'official SDKs for Node' sdk/node 'npm, tests/sdk/package-lock.json'
cached 'Prometheus' deploy/prometheus "Debian's package, unpacked"
cached 'checkers of deploy/' deploy/python 'PyPI, tests/deploy/requirements.txt'
cached 'a Debian to build the image over' deploy/debian "Debian's packages, by debootstrap, two minutes"
cached "the browser's driver" page 'npm, tests/page/package-lock.json'

apt_stamp=tests/.cache/apt-lists
. tests/apt.sh
have cc || apt_install gcc libc6-dev
step tests/sdk/setup.sh
step tests/deploy/setup.sh
step tests/fleet/setup.sh
step tests/page/setup.sh

export SPEECHGATE_FULL=1
step cargo test --locked --no-fail-fast
# The pure core by itself: that it builds is the proof that no runtime has crept in.
step cargo test --locked --no-default-features --lib --test corpus --test properties
printf '\n== every suite passed\n' >&2
