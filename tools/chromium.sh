#!/bin/sh
# Make sure that a Chromium is there, which the tests of the pages drive. Without it, and without the
# right to install it, those tests are skipped; in CI they fail.
set -eu

command -v chromium >/dev/null || command -v google-chrome >/dev/null && exit 0

say() { printf 'chromium: %s\n' "$1"; }

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "install the package chromium to run the tests of the pages"
    exit 0
fi
say "installing the package chromium"
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium
