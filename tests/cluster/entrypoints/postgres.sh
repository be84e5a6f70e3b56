#!/bin/bash
# Stands for the entry point of the image postgres, as far as docker-compose.yml asks for it: an empty volume gets a
# cluster, its scripts are run by a server that listens on its socket alone, and then the command takes over.
set -Eeuo pipefail
export PGDATA=/var/lib/postgresql/data
if [ "$(id -u)" = 0 ]; then
  chown 999:999 "$PGDATA" && chmod 0700 "$PGDATA"
  exec setpriv --reuid 999 --regid 999 --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  user=${POSTGRES_USER:-postgres} database=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  read -r -a options <<<"${POSTGRES_INITDB_ARGS:-}"
  [ "$method" = trust ] || options+=("--pwfile=$(umask 077; printf '%s\n' "$POSTGRES_PASSWORD" > /tmp/pw; echo /tmp/pw)")
  # The image's own user may come in by the socket without a password.
  initdb --username "$user" --auth-local=trust "${options[@]}" > /dev/null
  rm -f /tmp/pw
  echo "host all all all $method" >> "$PGDATA/pg_hba.conf"
  printf '%s\n' "listen_addresses = '*'" "unix_socket_directories = '/tmp'" >> "$PGDATA/postgresql.conf"
  pg_ctl --options "-c listen_addresses=''" --wait start > /dev/null
  local_psql() { psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --quiet --username "$user" "$@"; }
  [ "$database" = postgres ] || local_psql --dbname postgres --command "CREATE DATABASE \"$database\""
  for script in /docker-entrypoint-initdb.d/*.sql; do
    [ ! -e "$script" ] || local_psql --dbname "$database" --file "$script"
  done
  pg_ctl --mode fast --wait stop > /dev/null
fi
exec "$@"
