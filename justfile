# Settings come from the environment and from .env; see .env.example.
set shell := ["bash", "-euo", "pipefail", "-c"]

# List all recipes.
default:
    @"{{just_executable()}}" --justfile "{{justfile()}}" --list --unsorted

# Start the database, api, pubsub and the app in the foreground, with demo data.
dev:
    tools/start-all.sh

# Run all tests, as CI does.
test:
    tools/test-all.sh

# Check formatting and lints; warnings are errors.
lint:
    source tools/env.sh && node tools/check-structure.mjs && cargo fmt --all --check && cargo clippy --all-targets -- -D warnings
    source tools/env.sh && CARGO_TARGET_DIR=target/web cargo clippy -p pmo-web --target wasm32-unknown-unknown --all-targets -- -D warnings

# Build the services and the app for production.
build:
    tools/setup.sh --release
    source tools/env.sh && cargo build --release -p pmo-api -p pmo-pubsub
    tools/build-web.sh --release

# Load demo data into an empty database; scales: small, demo, large.
seed scale="demo":
    tools/postgres.sh start
    source tools/env.sh && cargo run --quiet -p pmo-api -- seed --scale {{scale}}

# Import a Microsoft Project XML file as a new project; options: --as-email ADDRESS (default: demo administrator), --name NAME.
[positional-arguments]
import file *options:
    tools/postgres.sh start
    source tools/env.sh && cargo run --quiet -p pmo-api -- import "$@"

# Run the end-to-end tests in Chromium on the release build; arguments go to Playwright.
e2e *args: build
    tools/setup.sh --tests && tools/postgres.sh start
    source tools/env.sh && cd e2e && npx playwright test {{args}}

# live-edit: PATCH to repaint in another browser. api: the api on large data. feed: the change feed
# with thousands of sockets. client: the engine against Dexie and query-core in Chromium. planning: the
# scheduling engine, native and in Chromium, beside a bare pass.
# Run a benchmark on the release build: live-edit, api, feed, client or planning; further arguments select parts of it.
bench name="live-edit" *parts:
    tools/setup.sh --tests
    [[ "{{name}}" =~ ^(client|planning)$ ]] || { "{{just_executable()}}" --justfile "{{justfile()}}" build && tools/postgres.sh start; }
    [[ "{{name}}" =~ ^(client|planning)$ ]] || { source tools/env.sh && cargo build --quiet --release -p pmo-pubsub --example load; }
    source tools/env.sh && node bench/{{name}}.mjs {{parts}}

# Run the simulator: many clients on an unreliable network; stops at the first violation. Arguments go to it (see --help).
simulate *args:
    source tools/env.sh && cargo run --quiet --release -p pmo-simulation -- {{args}}

# Stop the database if this checkout has started it.
db-stop:
    tools/postgres.sh stop

# Delete all data in the database. Stop the services first.
db-reset:
    tools/postgres.sh start
    source tools/env.sh && PGOPTIONS='--client-min-messages=warning' psql -q "$DATABASE_URL" -c 'drop schema if exists app cascade' -c 'drop table if exists public._sqlx_migrations'
