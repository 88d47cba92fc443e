#!/bin/sh
# Make sure that a PostgreSQL server (15 or newer) is there, which the tests start by themselves.
# Without it, and without the right to install it, those tests are skipped; in CI they fail.
set -eu

say() { printf 'postgres: %s\n' "$1"; }

is_there() (
    IFS=:
    for folder in $PATH /usr/lib/postgresql/*/bin; do # Debian keeps them away from PATH
        if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then
            # "postgres (PostgreSQL) 15.3 (Debian ...)", or 17beta1 in place of the number
            major=$("$folder/postgres" --version | sed 's/^[^)]*) \([0-9]*\).*/\1/')
            [ "${major:-0}" -ge 15 ] 2>/dev/null && exit 0
        fi
    done
    exit 1
)

is_there && exit 0

wanted="install the package postgresql (15 or newer) to run the tests of the store on PostgreSQL"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "$wanted"
    exit 0
fi
say "installing the package postgresql, which nothing starts"
# Debian's package makes a database and starts it, unless it is told not to.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.conf
fi
if [ ! -e /usr/sbin/policy-rc.d ]; then
    # Left behind, it would keep every service from starting; a shell that a signal ends runs no EXIT trap.
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql
is_there || say "the package of this system is too old: $wanted"
