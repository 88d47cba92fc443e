# Runs before the server, each time that a pod starts: makes the files on an empty volume, and sees to
# it that both databases are there and that their owners have the passwords of the Secret, which may
# be newer than the volume. Nobody can connect meanwhile: the server listens on a socket only.
set -eu

sql() { psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --host /tmp --username postgres "$@"; }

# Under another name until it is complete: a pod may be killed in the middle.
if [ ! -d /data/postgresql ]; then
    rm -rf /data/unfinished
    initdb --pgdata /data/unfinished --username postgres --encoding UTF8 --locale C.UTF-8 \
        --auth-local trust --auth-host scram-sha-256
    mv /data/unfinished /data/postgresql
fi

# After a crash it begins by replaying its log, which may take a while.
pg_ctl start --pgdata /data/postgresql --wait --timeout 600 --silent --log /tmp/prepare.log \
    --options "-c listen_addresses= -c unix_socket_directories=/tmp" || { cat /tmp/prepare.log; exit 1; }

for name in store application; do
    case $name in store) password=$STORE_PASSWORD ;; *) password=$APPLICATION_PASSWORD ;; esac
    sql --dbname postgres --set name="$name" --set password="$password" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'name')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
-- Each may connect to its own database and to no other.
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
SQL
done
pg_ctl stop --pgdata /data/postgresql --mode fast --wait --silent
