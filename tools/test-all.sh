#!/usr/bin/env bash
# Runs all checks and tests: formatting, lints, unit and property tests, database tests (one database
# each), simulator, API fuzzing, browser tests in Chromium, end-to-end tests on the release build.
# The last line is 'N passed, 0 failed'; the script ends at the first failure.
set -euo pipefail
tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=tools/env.sh
source "$tools/env.sh"
# shellcheck source=tools/steps.sh
source "$tools/steps.sh"
# shellcheck source=tools/install.sh
source "$tools/install.sh"
cd "$ROOT"
export PMO_POSTGRES_FAST=1
started=$SECONDS
log_step() { printf '\033[1m==> %s\033[0m (%ss)\n' "$*" "$((SECONDS - started))"; }
log_dir="$ROOT/target/test-log"; mkdir -p "$log_dir"
database_started=no
stop() {
  stop_steps
  [ "$database_started" = no ] || "$tools/postgres.sh" stop
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The servers are checked and built while the build tools are built: the two lanes use separate target
# folders, and one fills the core that the other leaves idle. Tests and end-to-end servers share the
# release profile, so dependencies are compiled once.
check_formatting() { cargo fmt --all --check; }
lint_servers() { cargo clippy --quiet --all-targets -- -D warnings; }
build_servers() { cargo build --release -p pmo-api -p pmo-pubsub -p pmo-simulation; }
queue_installation tests
queue_step builds formatting "check formatting" "" check_formatting
queue_step builds lint-servers "lint servers" "3 min" lint_servers
queue_step builds build-servers "build servers" "6 min" build_servers
run_foreground system
require_toolchain
run_concurrent tools builds
remove_build_cache
log_step "structure"
node tools/check-structure.mjs

# A separate cluster, so that no development data is changed. sqlx creates a database per test in it.
if [ -z "${PMO_TEST_DATABASE_URL:-}" ]; then
  export DATABASE_PORT="${PMO_TEST_DATABASE_PORT:-5544}"
  export DATABASE_URL="postgresql://app:app@localhost:$DATABASE_PORT/app"
else
  export DATABASE_URL="$PMO_TEST_DATABASE_URL"
fi
log_step "database"
"$tools/postgres.sh" start
database_started=yes
# Migrate the template of the test cluster: new databases have the schema from the start.
if [ -z "${PMO_TEST_DATABASE_URL:-}" ]; then
  template="${DATABASE_URL%/*}/template1"
  PGOPTIONS='--client-min-messages=warning' psql -Xq "$template" -c 'alter role app set search_path = public' -c 'alter role app set jit = off' \
    -c 'drop schema if exists app cascade' -c 'drop table if exists public._sqlx_migrations'
  DATABASE_URL="$template" target/release/pmo-api migrate
  # Each copy of the template must create an epoch of its own.
  psql -Xq "$template" -c 'delete from app.feed_epoch'
fi
log_step "tests: servers and engine"
cargo nextest run --release --no-fail-fast 2>&1 | tee "$log_dir/nextest"

log_step "simulator: every planted bug is detected"
target/release/pmo-simulate --mutants --seconds 60 | tee "$log_dir/mutants"
log_step "simulator: ten million events without a violation"
target/release/pmo-simulate --events 10000000 --seconds 180 | tee "$log_dir/simulator"
log_step "API fuzzing"
"$tools/fuzz-api.sh" > "$log_dir/fuzz-api" 2>&1 || { tail -n 60 "$log_dir/fuzz-api"; exit 1; }
grep -E '^Test cases:|generated' "$log_dir/fuzz-api" | tail -n 2

log_step "lints: app"
CARGO_TARGET_DIR="$ROOT/target/web" cargo clippy --quiet -p pmo-web --target wasm32-unknown-unknown --all-targets -- -D warnings
log_step "tests: app units in Chromium"
export CHROMEDRIVER="${CHROMEDRIVER:-/usr/bin/chromedriver}"
CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner CARGO_TARGET_DIR="$ROOT/target/web" \
  cargo test -p pmo-web --lib --target wasm32-unknown-unknown 2>&1 | tee "$log_dir/wasm"
log_step "tests: the same schedules as WASM"
CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner CARGO_TARGET_DIR="$ROOT/target/web" \
  cargo test -p pmo-planning --test reference --target wasm32-unknown-unknown 2>&1 | tee "$log_dir/wasm-planning"
log_step "tests: examples of the hooks in Chromium"
WASM_BINDGEN_USE_BROWSER=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner CARGO_TARGET_DIR="$ROOT/target/web" \
  cargo test -p pmo-web --doc --target wasm32-unknown-unknown 2>&1 | tee "$log_dir/examples"
log_step "build: app, release"
"$tools/build-web.sh" --release 2>&1 | tee "$log_dir/web" | grep -vE '^ *Compiling' || { tail -n 40 "$log_dir/web"; exit 1; }

log_step "end-to-end tests"
(cd e2e && npx playwright test) 2>&1 | tee "$log_dir/e2e"

log_step "done"
# Prints the last count that matches the pattern $2 in the log $1.
count() { sed -E 's/\x1b\[[0-9;]*m//g' "$1" | { grep -oE "$2" || true; } | { grep -oE '[0-9]+' || echo 0; } | tail -n 1; }
passed=$(( $(count "$log_dir/nextest" '[0-9]+ passed') + $(count "$log_dir/wasm" '[0-9]+ passed') + $(count "$log_dir/wasm-planning" '[0-9]+ passed') + $(count "$log_dir/examples" '[0-9]+ passed') + $(count "$log_dir/e2e" '[0-9]+ passed') ))
echo "$passed passed, 0 failed"
