#!/usr/bin/env bash
# Everything in one command: installs what is missing, starts PostgreSQL, migrates, loads demo data, builds, and runs api, pubsub and web
# in the foreground. Ctrl-C stops all of it. PMO_PROFILE=release runs the release build.
set -euo pipefail
tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
"$tools/setup.sh"
source "$tools/env.sh"
cd "$ROOT"
profile="${PMO_PROFILE:-dev}"
case "$profile" in
  dev) flags=(); built="$ROOT/target/debug" ;;
  release) flags=(--release); built="$ROOT/target/release" ;;
  *) die "PMO_PROFILE is '$profile'; it must be 'dev' or 'release'" ;;
esac
# Known to everybody, hence for development alone: the services themselves have no default.
export JWT_SECRET="${JWT_SECRET:-for-development-alone-and-known-to-everybody}"

port_free() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then die "port $1 is taken: stop what uses it, or set $2 to another"; fi
}
port_free "$API_PORT" API_PORT; port_free "$PUBSUB_PORT" PUBSUB_PORT; port_free "$WEB_PORT" WEB_PORT

# A database that was there before stays.
found_database=no
if psql -XAtq "$DATABASE_URL" -c 'select 1' >/dev/null 2>&1; then found_database=yes; fi
pids=()
stop() {
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  [ "$found_database" = yes ] || "$tools/postgres.sh" stop
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$tools/postgres.sh" start
log "building the services"
cargo build "${flags[@]}" -p pmo-api -p pmo-pubsub
"$built/pmo-api" migrate
"$built/pmo-api" seed --scale "${SEED_SCALE:-demo}"

# Each in a process group of its own, so that Ctrl-C reaches it once, in order.
set -m
"$built/pmo-api" serve & pids+=($!)
"$built/pmo-pubsub" & pids+=($!)
proxy=(--proxy-backend "http://127.0.0.1:$API_PORT/api/" --proxy-rewrite /api/ --proxy-no-redirect)
[ "$PUBSUB_PORT" = 4001 ] || export PMO_DEV_SOCKET="ws://localhost:$PUBSUB_PORT/ws"
"$tools/build-web.sh" --serve "${flags[@]}" --port "$WEB_PORT" --dist "$ROOT/target/dev-dist" "${proxy[@]}" & pids+=($!)
set +m

is_up() { curl -fsS -o /dev/null --max-time 2 "$1" 2>/dev/null; }
until is_up "http://127.0.0.1:$API_PORT/health" && is_up "http://127.0.0.1:$PUBSUB_PORT/health" && is_up "http://127.0.0.1:$WEB_PORT/"; do
  for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || die "one of the services did not start; the lines above say why"; done
  sleep 0.3
done
cat <<TEXT

  PMO is running. Press Ctrl-C to stop all services.

  app       http://localhost:$WEB_PORT
  api       http://localhost:$API_PORT/api/v1/docs
  socket    ws://localhost:$PUBSUB_PORT
  database  localhost:$DATABASE_PORT

  demo accounts, password pmo-demo-2026
    admin@pmo.example      owns everything
    editor@pmo.example     edits a third of it
    viewer@pmo.example     looks and comments
    outsider@pmo.example   sees none of it

TEXT
wait -n "${pids[@]}"
die "one of the services has stopped; the lines above say why"
