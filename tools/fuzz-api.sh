#!/usr/bin/env bash
# Fuzzes the release build of the api from its OpenAPI document, with a fixed seed and a separate
# database. A response fails if its status is 5xx, or if the document does not contain its status,
# content type or schema.
set -euo pipefail
# shellcheck source=tools/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
base="${DATABASE_URL%/*}" name=pmo_fuzz port="${PMO_FUZZ_PORT:-4102}"
psql -XAtq "$base/postgres" -c "drop database if exists $name with (force)" -c "create database $name" 2>/dev/null
export DATABASE_URL="$base/$name" JWT_SECRET=secret-of-the-api-fuzzing-tests-only API_PORT="$port" LOGIN_RATE_PER_MINUTE=100000 RUST_LOG=error FILES_DIR="$ROOT/target/fuzz-files"
"$ROOT/target/release/pmo-api" seed --scale small >/dev/null
"$ROOT/target/release/pmo-api" & pid=$!
trap 'kill $pid 2>/dev/null; wait 2>/dev/null || true' EXIT
origin="http://127.0.0.1:$port"
until curl -fsS -o /dev/null "$origin/health" 2>/dev/null; do kill -0 "$pid" || die "the api did not start"; sleep 0.1; done
token=$(curl -fsS "$origin/api/v1/auth/login" -H 'content-type: application/json' -d '{"email":"editor@pmo.example","password":"pmo-demo-2026"}' \
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
cd "$ROOT/target"
run_schemathesis() {
  "$TOOLS/schemathesis/bin/schemathesis" --config-file "$1" run "$origin/api/v1/openapi.json" --url "$origin/api/v1" -H "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance --phases examples,coverage,fuzzing \
    --max-examples "${EXAMPLES:-20}" --seed 1 --generation-database none --workers 1 --no-color "${@:2}"
}
# First run: arbitrary path parameters, with DELETE. Second run: existing entities, without DELETE.
: > fuzz-arbitrary.toml
run_schemathesis fuzz-arbitrary.toml
first_id() { psql -XAtq "$DATABASE_URL" -c "select id from app.$1 where active_flag order by code limit 1"; }
cat > fuzz-existing.toml <<TOML
[parameters]
"path.entity" = "project"
"path.parent" = "project"
"path.child" = "task"
"path.id" = "$(first_id project)"
TOML
run_schemathesis fuzz-existing.toml --exclude-method DELETE
# The examples of the document must match their schemas.
curl -fsS "$origin/api/v1/openapi.json" > openapi.json
"$TOOLS/schemathesis/bin/python" - <<'PYTHON'
import json, jsonschema_rs
document = json.load(open("openapi.json"))
checked = 0
for path, item in document["paths"].items():
    for method, operation in item.items():
        for body in [operation.get("requestBody", {}), *operation["responses"].values()]:
            for media_type, content in body.get("content", {}).items():
                if "example" in content and "schema" in content:
                    schema = {**content["schema"], "components": document["components"]}
                    for error in jsonschema_rs.validator_for(schema).iter_errors(content["example"]):
                        raise SystemExit(f"{method} {path} {media_type}: invalid example: {error}")
                    checked += 1
print(f"{checked} examples are valid")
assert checked > 100
PYTHON
