#!/usr/bin/env bash
# Asks the release build of the api what its OpenAPI document allows, at the edges and beyond, with a fixed seed: no answer may be a 5xx,
# nor a status, a content type or a shape that the document does not name. The database is one of its own.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
base="${DATABASE_URL%/*}" name=pmo_interface port="${PMO_INTERFACE_PORT:-4102}"
psql -XAtq "$base/postgres" -c "drop database if exists $name with (force)" -c "create database $name" 2>/dev/null
export DATABASE_URL="$base/$name" JWT_SECRET=for-the-check-of-the-interface-and-nothing-else API_PORT="$port" SIGN_IN_PER_MINUTE=100000 RUST_LOG=error FILES_DIR="$ROOT/target/interface-files"
"$ROOT/target/release/pmo-api" seed --scale small >/dev/null
"$ROOT/target/release/pmo-api" & pid=$!
trap 'kill $pid 2>/dev/null; wait 2>/dev/null || true' EXIT
origin="http://127.0.0.1:$port"
until curl -fsS -o /dev/null "$origin/health" 2>/dev/null; do kill -0 "$pid" || die "the api did not start"; sleep 0.1; done
token=$(curl -fsS "$origin/api/v1/auth/login" -H 'content-type: application/json' -d '{"email":"editor@pmo.example","password":"pmo-demo-2026"}' \
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
cd "$ROOT/target"
check() {
  "$TOOLS/schemathesis/bin/schemathesis" --config-file "$1" run "$origin/api/v1/openapi.json" --url "$origin/api/v1" -H "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance --phases examples,coverage,fuzzing \
    --max-examples "${EXAMPLES:-20}" --seed 1 --generation-database none --workers 1 --no-color "${@:2}"
}
# Once with whatever addresses come to mind, once with those of things that are there; what deletes them comes with the first.
: > anything.toml
check anything.toml
thing() { psql -XAtq "$DATABASE_URL" -c "select id from app.$1 where active_flag order by code limit 1"; }
cat > things.toml <<TOML
[parameters]
"path.entity" = "project"
"path.parent" = "project"
"path.child" = "task"
"path.id" = "$(thing project)"
TOML
check things.toml --exclude-method DELETE
# The examples are what the document itself calls right.
curl -fsS "$origin/api/v1/openapi.json" > openapi.json
"$TOOLS/schemathesis/bin/python" - <<'PYTHON'
import json, jsonschema_rs
document = json.load(open("openapi.json"))
checked = 0
for path, item in document["paths"].items():
    for method, operation in item.items():
        for body in [operation.get("requestBody", {}), *operation["responses"].values()]:
            for kind, content in body.get("content", {}).items():
                if "example" in content and "schema" in content:
                    schema = {**content["schema"], "components": document["components"]}
                    for error in jsonschema_rs.validator_for(schema).iter_errors(content["example"]):
                        raise SystemExit(f"{method} {path} {kind}: the example is wrong: {error}")
                    checked += 1
print(f"{checked} examples are right")
assert checked > 100
PYTHON
