# Settings come from the environment and .env; see .env.example.
set shell := ["bash", "-euo", "pipefail", "-c"]

# Lists the recipes.
default:
    @"{{just_executable()}}" --justfile "{{justfile()}}" --list --unsorted

# Starts everything in the foreground: database, api, pubsub, web, with demo data.
dev:
    tools/start-all.sh

# Every test there is: what CI runs.
test:
    tools/test-all.sh

# Formatting and lints, warnings denied.
lint:
    source tools/env.sh && cargo fmt --all --check && cargo clippy --all-targets -- -D warnings
    source tools/env.sh && CARGO_TARGET_DIR=target/web cargo clippy -p pmo-web --target wasm32-unknown-unknown --all-targets -- -D warnings

# Builds what is shipped: services and app, release.
build:
    source tools/env.sh && cargo build --release -p pmo-api -p pmo-pubsub
    tools/build-web.sh --release

# Loads demo data where there is none: small, demo or large.
seed scale="demo":
    tools/postgres.sh start
    source tools/env.sh && cargo run --quiet -p pmo-api -- seed --scale {{scale}}

# Imports a Microsoft Project XML file as a new project; options: --as-email ADDRESS (default: the demo's administrator), --name NAME.
[positional-arguments]
import file *options:
    tools/postgres.sh start
    source tools/env.sh && cargo run --quiet -p pmo-api -- import "$@"

# End-to-end tests in Chromium, on the release build; arguments go to Playwright.
e2e *args: build
    tools/setup.sh --tests && tools/postgres.sh start
    source tools/env.sh && cd e2e && npx playwright test {{args}}

# Measures on the release build: `just bench` from PATCH answered to the other browser repainted, `just bench api` the api on large data,
# `just bench feed` the change feed under thousands of sockets, `just bench client` the engine in Chromium beside Dexie and query-core.
bench what="live-edit" *parts:
    tools/setup.sh --tests
    [ "{{what}}" = client ] || { "{{just_executable()}}" --justfile "{{justfile()}}" build && tools/postgres.sh start; }
    [ "{{what}}" = client ] || { source tools/env.sh && cargo build --quiet --release -p pmo-pubsub --example load; }
    source tools/env.sh && node bench/{{what}}.mjs {{parts}}

# The simulator: many engines on a hostile network, until a promise is broken or enough was delivered; arguments go to it, `--help` lists them.
simulate *args:
    source tools/env.sh && cargo run --quiet --release -p pmo-simulation -- {{args}}

# Stops the database where this checkout has started one.
db-stop:
    tools/postgres.sh stop

# Empties the database: everything in it is gone. Stop the services first.
db-reset:
    tools/postgres.sh start
    source tools/env.sh && PGOPTIONS='--client-min-messages=warning' psql -q "$DATABASE_URL" -c 'drop schema if exists app cascade' -c 'drop table if exists public._sqlx_migrations'
