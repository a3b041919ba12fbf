// Benchmark of the api on large demo data (300 businesses, 3,000 projects, 100,000 tasks, 2,000
// people): lists with 16 concurrent clients, single rows, writes, bulk permission checks, memory.
// Floor in the same run, on the same cluster: select-only transactions of pgbench.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Servers, origin } from "../e2e/servers.mjs";
import { PASSWORD } from "../e2e/fixtures.mjs";

const SECONDS = Number(process.env.SECONDS ?? 10), CLIENTS = 16;
const servers = new Servers("pmo_bench_api");
const baseUrl = servers.database.replace(/\/[^/]*$/, "");
const scale = process.env.SCALE ?? "large";
if (!process.env.KEEP) servers.prepare(scale);
servers.sql("vacuum analyze");
await servers.start();
const agent = new http.Agent({ keepAlive: true, maxSockets: CLIENTS });

/** Sends one request; resolves to the status, the size in bytes and, with `json`, the parsed body. */
function send(method, path, { token, body, json } = {}) {
  return new Promise((resolve, reject) => {
    const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(body && { "content-type": "application/json" }) };
    const request = http.request(`${origin}/api/v1${path}`, { method, agent, headers }, (response) => {
      const chunks = []; let bytes = 0;
      response.on("data", (chunk) => { bytes += chunk.length; if (json) chunks.push(chunk); });
      response.on("end", () => resolve({ status: response.statusCode, bytes, body: json ? JSON.parse(Buffer.concat(chunks)) : null }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body && JSON.stringify(body));
  });
}
const percentile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
const stats = (times) => { const sorted = [...times].sort((a, b) => a - b); return { p50: percentile(sorted, 0.5), p95: percentile(sorted, 0.95), p99: percentile(sorted, 0.99) }; };
const rows = [];
const formatMs = (n) => n.toFixed(2).padStart(8);
const report = (label, result, details = "") => { rows.push(`${label.padEnd(58)} ${formatMs(result.p50)} ${formatMs(result.p95)} ${formatMs(result.p99)}  ${details}`); console.error(rows.at(-1)); };

async function login(account) {
  const { body } = await send("POST", "/auth/login", { body: { email: `${account}@pmo.example`, password: PASSWORD }, json: true });
  return body.token;
}
/** Sends `count` requests one after another, after a warm-up; returns latency percentiles in ms. */
async function sequential(count, sendRequest) {
  for (let n = 0; n < Math.min(50, count / 4); n += 1) await sendRequest(n);
  const times = [];
  for (let n = 0; n < count; n += 1) {
    const startedAt = performance.now();
    const { status } = await sendRequest(n);
    times.push(performance.now() - startedAt);
    if (status >= 300) throw new Error(`status ${status}`);
  }
  return stats(times);
}
/** Sends requests from `CLIENTS` clients for `SECONDS` seconds; returns latency and throughput. */
async function concurrent(sendRequest) {
  const times = []; let count = 0, bytes = 0;
  const deadline = performance.now() + SECONDS * 1000;
  await Promise.all(Array.from({ length: CLIENTS }, async (_, client) => {
    for (let n = 0; performance.now() < deadline; n += 1) {
      const startedAt = performance.now();
      const response = await sendRequest(client, n);
      if (response.status !== 200) throw new Error(`status ${response.status}`);
      times.push(performance.now() - startedAt); count += 1; bytes += response.bytes;
    }
  }));
  return { ...stats(times), details: `${Math.round(count / SECONDS)} requests/s, ${Math.round(bytes / count / 1024)} kB each` };
}
/** Runs pgbench; returns latency percentiles from its transaction log if `logged`. */
function runPgbench(database, options, logged = true) {
  const folder = mkdtempSync(join(tmpdir(), "pgbench-"));
  const url = new URL(database);
  const env = { ...process.env, PGHOST: url.hostname, PGPORT: url.port, PGUSER: url.username, PGPASSWORD: url.password, PGDATABASE: url.pathname.slice(1), PGOPTIONS: "-c jit=off" };
  const installedPgbench = () => readdirSync("/usr/lib/postgresql").map((version) => `/usr/lib/postgresql/${version}/bin/pgbench`).at(-1);
  execFileSync(process.env.PGBENCH ?? installedPgbench(), [...options, "-n", ...(logged ? ["-l", "--log-prefix", join(folder, "l")] : [])], { env, stdio: ["ignore", "ignore", "pipe"] });
  return stats(readdirSync(folder).flatMap((name) => readFileSync(join(folder, name), "utf8").trim().split("\n").map((line) => Number(line.split(" ")[2]) / 1000)));
}
/** Writes a pgbench script to a temporary file; returns its path. */
function writeScript(text) {
  const file = join(mkdtempSync(join(tmpdir(), "pgbench-")), "script.sql");
  writeFileSync(file, text);
  return file;
}

try {
  const [admin, viewer] = [await login("admin"), await login("viewer")];
  const viewerId = servers.sql("select id from app.person where email = 'viewer@pmo.example'");
  const visibleTasks = Number(servers.sql(`select count(*) from app.task t, app.visibility('${viewerId}', 'task') s where t.ancestor_set_id = any (s.ancestor_set_ids) or t.id = any (s.direct_ids)`));
  console.error(`${visibleTasks} of ${servers.sql("select count(*) from app.task")} tasks are visible to the user of the lists; ${CLIENTS} concurrent clients, ${SECONDS} s each\n`);
  console.error(`${"ms".padEnd(58)} ${"p50".padStart(8)} ${"p95".padStart(8)} ${"p99".padStart(8)}`);

  // Floor: the smallest query with the same number of clients.
  const floorDatabase = `${baseUrl}/pmo_bench_floor`;
  servers.sql("drop database if exists pmo_bench_floor", `${baseUrl}/postgres`);
  servers.sql("create database pmo_bench_floor", `${baseUrl}/postgres`);
  runPgbench(floorDatabase, ["-i", "-s", "10", "-q"], false);
  report(`floor: pgbench -S, ${CLIENTS} clients`, runPgbench(floorDatabase, ["-S", "-c", `${CLIENTS}`, "-j", "2", "-T", `${Math.min(SECONDS, 5)}`]));

  const benchList = async (label, query) => {
    const page = await send("GET", `/task?${query}`, { token: viewer, json: true });
    const result = await concurrent(() => send("GET", `/task?${query}`, { token: viewer }));
    report(`list, ${CLIENTS} clients: ${label}`, result, `${result.details}; ${page.body.data.length} of ${page.body.total}${page.body.total_is_exact ? "" : "+"}`);
  };
  await benchList("open and due from today, by due date", `due_date[gte]=${new Date().toISOString().slice(0, 10)}&dl__task_stage[ne]=Completed&sort=due_date&limit=100`);
  await benchList("two stages, by due date", "dl__task_stage[in]=To%20Do,In%20Progress&sort=due_date&limit=100");
  await benchList("as above, seven columns", "dl__task_stage[in]=To%20Do,In%20Progress&sort=due_date&limit=100&fields=name,wbs,dl__task_stage,due_date,completion_pct,assignee__employee_ids,project_id");

  const { body: page } = await send("GET", "/task?limit=200&sort=name", { token: viewer, json: true });
  const ids = page.data.map((row) => row.id);
  const { body: adminPage } = await send("GET", "/task?limit=100&sort=code", { token: admin, json: true });
  report("GET one row", await sequential(500, (n) => send("GET", `/task/${ids[n % ids.length]}`, { token: viewer })));
  report("PATCH one row", await sequential(500, (n) => send("PATCH", `/task/${adminPage.data[n % 100].id}`, { token: admin, body: { completion_pct: n % 100 } })));
  report("GET ?ids= with 200 ids", await sequential(100, () => send("GET", `/task?ids=${ids.join(",")}`, { token: viewer })));
  report("search over all types, two words", await sequential(100, () => send("GET", "/search?q=implement%20search", { token: viewer })));

  const thousandIds = servers.sql("select string_agg(quote_literal(id), ',') from (select id from app.task order by code limit 1000) t");
  const checkScript = writeScript(`select count(*) from app.entity_levels(array['${viewerId}'::uuid], array[${thousandIds}]::uuid[]);\n`);
  report("effective permission of 1,000 ids, one query", runPgbench(servers.database, ["-c", "1", "-t", "200", "-f", checkScript]));
  const grantScript = writeScript(`insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) select '${viewerId}', 'business', id, 0 from app.business order by code offset 7 limit 1;\n`);
  report("grant on a business and its descendants, one write", runPgbench(servers.database, ["-c", "1", "-t", "200", "-f", grantScript]));
  const moveScript = writeScript(`update app.project set business_id = (select id from app.business where id <> business_id order by random() limit 1) where id = (select id from app.project order by code limit 1);\n`);
  report("move of a project with its descendants to another business", runPgbench(servers.database, ["-c", "1", "-t", "100", "-f", moveScript]));

  const status = readFileSync(`/proc/${servers.running.api.pid}/status`, "utf8");
  const memoryMb = (name) => `${Math.round(Number(status.match(new RegExp(`${name}:\\s+(\\d+)`))[1]) / 1024)} MB`;
  console.log(["", `${"ms".padEnd(58)} ${"p50".padStart(8)} ${"p95".padStart(8)} ${"p99".padStart(8)}`, ...rows, `resident memory of the api: ${memoryMb("VmRSS")}, peak ${memoryMb("VmHWM")}`].join("\n"));
} finally {
  await servers.stop();
  agent.destroy();
}
