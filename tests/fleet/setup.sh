#!/bin/sh
# Installs Redis from Debian's packages where neither it nor Valkey is there. Nothing of it has to run: tests start their own.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }
have redis-server || have valkey-server && exit 0

have apt-get || { echo "fleet setup: needs redis-server or valkey-server, and there is no apt-get here" >&2; exit 1; }
as_root=
if [ "$(id -u)" -ne 0 ]; then
    have sudo || { echo "fleet setup: needs redis-server: run as root, or install it and run this again" >&2; exit 1; }
    as_root=sudo
fi
echo "fleet setup: installing redis-server" >&2
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >&2
