#!/bin/sh
# Installs what the tests of the status page drive: Chromium from Debian's packages, unless there is one, and playwright-core
# at the version of package-lock.json, into tests/.cache/page. Does nothing, quietly, when they are there and unchanged.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(dirname "$here")/.cache/page

. "$(dirname "$here")/apt.sh"
say() { printf 'page setup: %s\n' "$*" >&2; }

have node && have npm || apt_install nodejs npm ca-certificates
have chromium || apt_install chromium fonts-dejavu-core

stamp=$(cat "$here/setup.sh" "$here/package.json" "$here/package-lock.json" "$here/.npmrc" | sha256sum | cut -d' ' -f1)
[ "$(cat "$cache/.stamp" 2>/dev/null)" = "$stamp" ] && exit
say "installing package-lock.json into tests/.cache/page"
rm -rf "${cache:?}"
mkdir -p "$cache"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$cache/"
(cd "$cache" && npm ci --ignore-scripts --loglevel=error >&2)
echo "$stamp" >"$cache/.stamp"
