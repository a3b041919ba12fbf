#!/usr/bin/env bash
# Manages the database of this checkout. `start` uses the server at DATABASE_URL if one answers;
# otherwise it creates a cluster in the checkout with the installed PostgreSQL; otherwise it uses
# docker compose. `stop` stops only a server that `start` has started.
# PMO_POSTGRES_FAST=1 turns durability off, for tests only.
set -euo pipefail
# shellcheck source=tools/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

is_ready() { psql -XAtq "$DATABASE_URL" -c 'select 1' >/dev/null 2>&1; }
check_version() {
  local version; version=$(psql -XAtq "$DATABASE_URL" -c 'show server_version_num')
  [ "$version" -ge 150000 ] || die "the server at DATABASE_URL is PostgreSQL $((version / 10000)); 15 or newer is required: set DATABASE_URL to a newer server, or free port $DATABASE_PORT so that this script can start one"
}
# Prints the folder of initdb and pg_ctl, if they are installed.
pg_bin_dir() {
  local newest
  newest=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1 || true)
  if [ -n "$newest" ]; then dirname "$newest"
  elif command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then dirname "$(command -v initdb)"; fi
}

# One cluster per port: tests turn durability off and must not do so for development data.
cluster="$ROOT/.postgres-$DATABASE_PORT"
owner=$(id -un)
if [ "$(id -u)" = 0 ]; then
  # PostgreSQL refuses to run as root: its own user runs it, in a folder which that user can access.
  owner=postgres; id postgres >/dev/null 2>&1 || owner=nobody
  as_owner() { setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups env HOME=/tmp "$@"; }
  if ! as_owner test -x "$ROOT" 2>/dev/null; then cluster="/var/tmp/pmo-postgres-$(printf %s "$ROOT" | cksum | cut -d' ' -f1)-$DATABASE_PORT"; fi
else
  as_owner() { "$@"; }
fi

compose() { POSTGRES_PASSWORD=app JWT_SECRET=unused docker compose -p pmo-development -f "$ROOT/docker-compose.yml" "$@"; }

start() {
  if is_ready; then check_version; return; fi
  local bin; bin=$(pg_bin_dir)
  if [ -z "$bin" ]; then
    docker info >/dev/null 2>&1 || die "no PostgreSQL answers at DATABASE_URL, none is installed, and docker is not running: run 'apt-get install postgresql', or set DATABASE_URL"
    log "starting PostgreSQL with docker compose"
    DATABASE_PORT="$DATABASE_PORT" compose -f "$ROOT/tools/docker-compose.dev.yml" up -d --wait database
    touch "$TOOLS/postgres-by-docker"
    return
  fi
  if (exec 3<>"/dev/tcp/127.0.0.1/$DATABASE_PORT") 2>/dev/null; then
    die "port $DATABASE_PORT is in use by a program that does not answer at DATABASE_URL: stop it, or set DATABASE_PORT and DATABASE_URL"
  fi
  case "$DATABASE_URL" in
    *@localhost:"$DATABASE_PORT"/*|*@127.0.0.1:"$DATABASE_PORT"/*) ;;
    *) die "no PostgreSQL answers at DATABASE_URL, and it is not at localhost:$DATABASE_PORT, where this script could start one" ;;
  esac
  if [ ! -f "$cluster/PG_VERSION" ]; then
    log "creating a PostgreSQL cluster in $cluster"
    mkdir -p "$cluster" && chown "$owner" "$cluster"
    printf 'app\n' > "$cluster.password" && chown "$owner" "$cluster.password"
    as_owner "$bin/initdb" -D "$cluster" -U app --pwfile="$cluster.password" -A scram-sha-256 -E UTF8 --locale=C.UTF-8 >/dev/null
    rm -f "$cluster.password"
  fi
  local options="-p $DATABASE_PORT -c listen_addresses=localhost -c unix_socket_directories='' -c max_connections=200 -c shared_buffers=256MB"
  if [ "${PMO_POSTGRES_FAST:-}" = 1 ]; then options="$options -c fsync=off -c synchronous_commit=off -c full_page_writes=off"; fi
  as_owner "$bin/pg_ctl" -D "$cluster" -l "$cluster/log" -w -s -o "$options" start || { tail -n 5 "$cluster/log" >&2; die "PostgreSQL did not start; its log is $cluster/log"; }
  local base="${DATABASE_URL%/*}" name="${DATABASE_URL##*/}"; name="${name%%\?*}"
  psql -XAtq "$base/postgres" -c "select 1 from pg_database where datname = '$name'" | grep -q 1 || psql -Xq "$base/postgres" -c "create database \"$name\""
  is_ready || die "the new cluster does not answer at DATABASE_URL ($base/…)"
  check_version
}
stop() {
  if [ -f "$TOOLS/postgres-by-docker" ]; then compose stop database >/dev/null 2>&1; rm -f "$TOOLS/postgres-by-docker"; return; fi
  local bin; bin=$(pg_bin_dir)
  if [ -n "$bin" ] && [ -f "$cluster/postmaster.pid" ]; then as_owner "$bin/pg_ctl" -D "$cluster" -m fast -s stop || true; fi
}
case "${1:-start}" in
  start) start ;;
  stop) stop ;;
  *) die "usage: postgres.sh start|stop" ;;
esac
