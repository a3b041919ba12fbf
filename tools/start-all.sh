#!/usr/bin/env bash
# Starts PMO in the foreground: installs missing tools, builds everything, starts PostgreSQL, applies
# migrations, loads demo data, and runs api, pubsub and the app server. Ctrl-C stops all of them.
# PMO_PROFILE=release runs the release build.
# shellcheck disable=SC2317 # steps and the exit handler are called by name
set -euo pipefail
tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=tools/env.sh
source "$tools/env.sh"
# shellcheck source=tools/steps.sh
source "$tools/steps.sh"
# shellcheck source=tools/install.sh
source "$tools/install.sh"
cd "$ROOT"
profile="${PMO_PROFILE:-dev}"
case "$profile" in
  dev) mode=development build_flags=() built="$ROOT/target/debug" app_wasm="$ROOT/target/web/wasm32-unknown-unknown/debug/pmo-web.wasm" ;;
  release) mode=release build_flags=(--release) built="$ROOT/target/release" app_wasm="$ROOT/target/web/wasm32-unknown-unknown/web/pmo-web.wasm" ;;
  *) die "PMO_PROFILE is '$profile'; it must be 'dev' or 'release'" ;;
esac
# A public secret, for development only: the services themselves have no default.
export JWT_SECRET="${JWT_SECRET:-public-secret-for-development-only}"

require_free_port() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then die "port $1 is in use: stop the program that uses it, or set $2 to another port"; fi
}
require_free_port "$API_PORT" API_PORT
require_free_port "$PUBSUB_PORT" PUBSUB_PORT
require_free_port "$WEB_PORT" WEB_PORT

# A database that was running before is not stopped at the end.
stop_database=no
pids=()
stop() {
  trap - EXIT INT TERM
  stop_steps
  for pid in "${pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  [ "$stop_database" = no ] || "$tools/postgres.sh" stop
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

build_services() { cargo build "${build_flags[@]}" -p pmo-api -p pmo-pubsub; }
prepare_database() {
  "$tools/postgres.sh" start
  "$built/pmo-api" migrate
  "$built/pmo-api" seed --scale "${SEED_SCALE:-demo}"
}
compile_app() { "$tools/build-web.sh" --compile "${build_flags[@]}"; }

# The services and the app are built at the same time as the build tools. A single cargo leaves a core
# idle while it compiles the last crates and links, so two of them finish earlier than one after the
# other. The target folders differ, so they do not block each other.
first_build() { [ -e "$1" ] || printf '%s' "$2"; }
queue_installation "$mode"
queue_step builds services "build api and pubsub" "$(first_build "$built/pmo-pubsub" "4 min")" build_services
queue_step builds database "start PostgreSQL, apply migrations, load demo data" "" prepare_database
queue_step builds app "compile the app" "$(first_build "$app_wasm" "4 min")" compile_app

run_foreground system
require_toolchain
psql -XAtq "$DATABASE_URL" -c 'select 1' >/dev/null 2>&1 || stop_database=yes
run_concurrent tools builds
remove_build_cache

log "starting api, pubsub and the app server"
# A process group for each: Ctrl-C interrupts only this script, which then stops them in order.
set -m
"$built/pmo-api" serve & pids+=($!)
"$built/pmo-pubsub" & pids+=($!)
proxy=(--proxy-backend "http://127.0.0.1:$API_PORT/api/" --proxy-rewrite /api/ --proxy-no-redirect)
[ "$PUBSUB_PORT" = 4001 ] || export PMO_DEV_SOCKET="ws://localhost:$PUBSUB_PORT/ws"
"$tools/build-web.sh" --serve "${build_flags[@]}" --port "$WEB_PORT" --dist "$ROOT/target/dev-dist" "${proxy[@]}" & pids+=($!)
set +m

is_up() { curl -fsS -o /dev/null --max-time 2 "$1" 2>/dev/null; }
until is_up "http://127.0.0.1:$API_PORT/health" && is_up "http://127.0.0.1:$PUBSUB_PORT/health" && is_up "http://127.0.0.1:$WEB_PORT/"; do
  for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || die "a service did not start; see its output above"; done
  sleep 0.3
done
cat <<TEXT

  PMO is running. Press Ctrl-C to stop all services.

  app       http://localhost:$WEB_PORT
  api       http://localhost:$API_PORT/api/v1/docs
  socket    ws://localhost:$PUBSUB_PORT
  database  localhost:$DATABASE_PORT

  demo accounts, password pmo-demo-2026
    admin@pmo.example      owns all data
    editor@pmo.example     can edit a third of it
    viewer@pmo.example     can view and comment
    outsider@pmo.example   has no access

TEXT
wait -n "${pids[@]}"
die "a service has stopped; see its output above"
