#!/bin/sh
# Installs the official SDKs that the tests drive into tests/.cache/sdk, pinned by requirements.txt,
# requirements-legacy.txt, requirements-frameworks.txt, requirements-grpc.txt and package-lock.json. Does nothing, quietly, when they are there and unchanged.
# Python and Node are taken from the machine, and from Debian's packages where it has none.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(dirname "$here")/.cache/sdk
. "$(dirname "$here")/apt.sh"

say() { printf 'sdk setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# fingerprint FILE…: changes when a pinned version, this script or an interpreter does.
fingerprint() {
    { cat "$here/setup.sh" "$@"; python3 --version; node --version; } | sha256sum | cut -d' ' -f1
}

# fresh NAME FINGERPRINT: whether NAME was installed whole from exactly this.
fresh() { [ "$(cat "$cache/$1/.stamp" 2>/dev/null)" = "$2" ]; }

# python_sdks NAME REQUIREMENTS: a virtual environment of its own.
python_sdks() {
    stamp=$(fingerprint "$here/$2")
    fresh "$1" "$stamp" && return
    say "installing $2 into tests/.cache/sdk/$1"
    rm -rf "${cache:?}/$1"
    python3 -m venv "$cache/$1"
    "$cache/$1/bin/python" -m pip install --quiet --no-input --no-deps --disable-pip-version-check \
        --requirement "$here/$2" >&2
    "$cache/$1/bin/python" -m pip check --disable-pip-version-check >/dev/null || fail "$2 is inconsistent"
    echo "$stamp" >"$cache/$1/.stamp"
}

node_sdks() {
    stamp=$(fingerprint "$here/package.json" "$here/package-lock.json" "$here/.npmrc")
    fresh node "$stamp" && return
    say "installing package-lock.json into tests/.cache/sdk/node"
    rm -rf "$cache/node"
    mkdir -p "$cache/node"
    cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$cache/node/"
    (cd "$cache/node" && npm ci --ignore-scripts --loglevel=error >&2)
    echo "$stamp" >"$cache/node/.stamp"
}

python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv ca-certificates
have node && have npm || apt_install nodejs npm ca-certificates
mkdir -p "$cache"
python_sdks python requirements.txt
python_sdks python-legacy requirements-legacy.txt
python_sdks frameworks requirements-frameworks.txt
python_sdks grpc requirements-grpc.txt
node_sdks
