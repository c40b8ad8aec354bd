#!/bin/sh
# Installs what the tests of the status page drive: Chromium from Debian's packages, unless there is one, and playwright-core
# at the version of package-lock.json, into tests/.cache/page. Does nothing, quietly, when they are there and unchanged.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(dirname "$here")/.cache/page

say() { printf 'page setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# apt PACKAGE…: as root, or through sudo; never asks.
apt() {
    have apt-get || fail "needs $* and there is no apt-get here: install them and run this again"
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "needs $*: run as root, or install them and run this again"
        as_root=sudo
    fi
    say "installing $*"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

have node && have npm || apt nodejs npm ca-certificates
have chromium || apt chromium fonts-dejavu-core

stamp=$(cat "$here/setup.sh" "$here/package.json" "$here/package-lock.json" "$here/.npmrc" | sha256sum | cut -d' ' -f1)
[ "$(cat "$cache/.stamp" 2>/dev/null)" = "$stamp" ] && exit
say "installing package-lock.json into tests/.cache/page"
rm -rf "${cache:?}"
mkdir -p "$cache"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$cache/"
(cd "$cache" && npm ci --ignore-scripts --loglevel=error >&2)
echo "$stamp" >"$cache/.stamp"
