#!/usr/bin/env bash
# Every test there is, after the same set-up as for running: formatting, lints, units and properties, a real PostgreSQL database for each
# test that needs one, the browser parts in real Chromium, end-to-end on the release build. Ends with 'N passed, N failed'.
set -euo pipefail
tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
"$tools/setup.sh" --tests
source "$tools/environment.sh"
cd "$ROOT"
export PMO_POSTGRES_FAST=1
began=$SECONDS
step() { printf '\033[1m==> %s\033[0m (%ss)\n' "$*" "$((SECONDS - began))"; }
log="$ROOT/target/test-log"; mkdir -p "$log"

# A cluster of its own, so that no data of anybody's is touched; sqlx makes a database for each test in it.
if [ -z "${PMO_TEST_DATABASE_URL:-}" ]; then
  export DATABASE_PORT="${PMO_TEST_DATABASE_PORT:-5544}"
  export DATABASE_URL="postgresql://app:app@localhost:$DATABASE_PORT/app"
else
  export DATABASE_URL="$PMO_TEST_DATABASE_URL"
fi
step "database"
"$tools/postgres.sh" start
trap '"$tools/postgres.sh" stop' EXIT

step "formatting"
cargo fmt --all --check
step "lints: servers"
cargo clippy --quiet --all-targets -- -D warnings
step "servers"
# One profile for the tests and for the servers of the end-to-end run: they are built once.
cargo build --quiet --release -p pmo-api -p pmo-pubsub -p pmo-simulation
# Each new database of the tests' own cluster begins with the schema, so that a test need not make it again.
if [ -z "${PMO_TEST_DATABASE_URL:-}" ]; then
  template="${DATABASE_URL%/*}/template1"
  PGOPTIONS='--client-min-messages=warning' psql -Xq "$template" -c 'alter role app set search_path = public' -c 'alter role app set jit = off' \
    -c 'drop schema if exists app cascade' -c 'drop table if exists public._sqlx_migrations'
  DATABASE_URL="$template" target/release/pmo-api migrate
  # A copy is told from what it was copied from by its epoch.
  psql -Xq "$template" -c 'delete from app.feed_epoch'
fi
step "tests: servers and engine"
cargo nextest run --release --no-fail-fast 2>&1 | tee "$log/nextest"

step "the simulator: each planted bug is caught"
target/release/pmo-simulate --mutants --seconds 60 | tee "$log/mutants"
step "the simulator: ten million events, and every promise holds"
target/release/pmo-simulate --events 10000000 --seconds 180 | tee "$log/simulator"
step "the interface against its description"
"$tools/check-interface.sh" > "$log/interface" 2>&1 || { tail -n 60 "$log/interface"; exit 1; }
grep -E '^Test cases:|generated' "$log/interface" | tail -n 2

step "lints: app"
CARGO_TARGET_DIR="$ROOT/target/web" cargo clippy --quiet -p pmo-web --target wasm32-unknown-unknown --all-targets -- -D warnings
step "tests: the app's parts in Chromium"
export CHROMEDRIVER="${CHROMEDRIVER:-/usr/bin/chromedriver}"
CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner CARGO_TARGET_DIR="$ROOT/target/web" \
  cargo test -p pmo-web --lib --target wasm32-unknown-unknown 2>&1 | tee "$log/wasm"
step "the hooks' examples, in Chromium"
WASM_BINDGEN_USE_BROWSER=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner CARGO_TARGET_DIR="$ROOT/target/web" \
  cargo test -p pmo-web --doc --target wasm32-unknown-unknown 2>&1 | tee "$log/examples"
step "app, release"
"$tools/build-web.sh" --release 2>&1 | tee "$log/web" | grep -vE '^ *Compiling' || { tail -n 40 "$log/web"; exit 1; }

step "end to end"
(cd e2e && npx playwright test) 2>&1 | tee "$log/e2e"

step "done"
count() { sed -E 's/\x1b\[[0-9;]*m//g' "$1" | { grep -oE "$2" || true; } | { grep -oE '[0-9]+' || echo 0; } | tail -n 1; }
passed=$(( $(count "$log/nextest" '[0-9]+ passed') + $(count "$log/wasm" '[0-9]+ passed') + $(count "$log/examples" '[0-9]+ passed') + $(count "$log/e2e" '[0-9]+ passed') ))
echo "$passed passed, 0 failed"
