#!/bin/sh
# Make sure that prometheus and promtool are there, which the tests of dashboards and alerts run.
# Without them, and without the right to install them, those tests are skipped; in CI they fail.
set -eu

command -v prometheus >/dev/null && command -v promtool >/dev/null && exit 0

say() { printf 'prometheus: %s\n' "$1"; }

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "install the package prometheus (2.42 or newer) to run the tests of dashboards and alerts"
    exit 0
fi
say "installing the package prometheus, which nothing starts"
# Debian's package starts a service after its installation unless a policy says no.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends prometheus
