// The api on large demo data (300 businesses, 3,000 projects, 100,000 tasks, 2,000 people): lists with 16 clients at once, single rows, writes,
// permissions in bulk, memory. In the same run, on the same cluster: pgbench's select-only transactions as the floor of what a query costs.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Service, origin } from "../e2e/servers.mjs";
import { PASSWORD } from "../e2e/fixtures.mjs";

const SECONDS = Number(process.env.SECONDS ?? 10), CLIENTS = 16;
const service = new Service("pmo_bench_api");
const base = service.database.replace(/\/[^/]*$/, "");
const scale = process.env.SCALE ?? "large";
if (!process.env.KEEP) service.prepare(scale);
service.sql("vacuum analyze");
await service.start();
const agent = new http.Agent({ keepAlive: true, maxSockets: CLIENTS });

/** One request; answers status, bytes and, where asked, the JSON. */
function send(method, path, { token, body, json } = {}) {
  return new Promise((resolve, reject) => {
    const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(body && { "content-type": "application/json" }) };
    const request = http.request(`${origin}/api/v1${path}`, { method, agent, headers }, (response) => {
      const parts = []; let bytes = 0;
      response.on("data", (part) => { bytes += part.length; if (json) parts.push(part); });
      response.on("end", () => resolve({ status: response.statusCode, bytes, body: json ? JSON.parse(Buffer.concat(parts)) : null }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body && JSON.stringify(body));
  });
}
const at = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
const stats = (times) => { const sorted = [...times].sort((a, b) => a - b); return { p50: at(sorted, 0.5), p95: at(sorted, 0.95), p99: at(sorted, 0.99) }; };
const rows = [];
const ms = (n) => n.toFixed(2).padStart(8);
const report = (what, s, more = "") => { rows.push(`${what.padEnd(58)} ${ms(s.p50)} ${ms(s.p95)} ${ms(s.p99)}  ${more}`); console.error(rows.at(-1)); };

async function login(who) {
  const { body } = await send("POST", "/auth/login", { body: { email: `${who}@pmo.example`, password: PASSWORD }, json: true });
  return body.token;
}
async function one_after_another(count, ask) {
  for (let n = 0; n < Math.min(50, count / 4); n += 1) await ask(n);
  const times = [];
  for (let n = 0; n < count; n += 1) {
    const began = performance.now();
    const { status } = await ask(n);
    times.push(performance.now() - began);
    if (status >= 300) throw new Error(`status ${status}`);
  }
  return stats(times);
}
async function at_once(ask) {
  const times = []; let done = 0, bytes = 0;
  const until = performance.now() + SECONDS * 1000;
  await Promise.all(Array.from({ length: CLIENTS }, async (_, client) => {
    for (let n = 0; performance.now() < until; n += 1) {
      const began = performance.now();
      const answer = await ask(client, n);
      if (answer.status !== 200) throw new Error(`status ${answer.status}`);
      times.push(performance.now() - began); done += 1; bytes += answer.bytes;
    }
  }));
  return { ...stats(times), more: `${Math.round(done / SECONDS)} requests/s, ${Math.round(bytes / done / 1024)} kB each` };
}
/** Runs pgbench; with a log, answers its latencies, one line a transaction. */
function pgbench(database, options, logged = true) {
  const folder = mkdtempSync(join(tmpdir(), "pgbench-"));
  const url = new URL(database);
  const env = { ...process.env, PGHOST: url.hostname, PGPORT: url.port, PGUSER: url.username, PGPASSWORD: url.password, PGDATABASE: url.pathname.slice(1), PGOPTIONS: "-c jit=off" };
  const found = () => readdirSync("/usr/lib/postgresql").map((version) => `/usr/lib/postgresql/${version}/bin/pgbench`).at(-1);
  execFileSync(process.env.PGBENCH ?? found(), [...options, "-n", ...(logged ? ["-l", "--log-prefix", join(folder, "l")] : [])], { env, stdio: ["ignore", "ignore", "pipe"] });
  return stats(readdirSync(folder).flatMap((name) => readFileSync(join(folder, name), "utf8").trim().split("\n").map((line) => Number(line.split(" ")[2]) / 1000)));
}
function script(text) {
  const file = join(mkdtempSync(join(tmpdir(), "pgbench-")), "script.sql");
  writeFileSync(file, text);
  return file;
}

try {
  const [admin, viewer] = [await login("admin"), await login("viewer")];
  const me = service.sql("select id from app.person where email = 'viewer@pmo.example'");
  const seen = Number(service.sql(`select count(*) from app.task t, app.sight('${me}', 'task') s where t.reach = any (s.reaches) or t.id = any (s.direct)`));
  console.error(`${seen} of ${service.sql("select count(*) from app.task")} tasks are for the reader of the lists; ${CLIENTS} clients at once, ${SECONDS} s each\n`);
  console.error(`${"ms".padEnd(58)} ${"p50".padStart(8)} ${"p95".padStart(8)} ${"p99".padStart(8)}`);

  // The floor: what the smallest query costs with as many clients.
  const floor = `${base}/pmo_bench_floor`;
  service.sql("drop database if exists pmo_bench_floor", `${base}/postgres`);
  service.sql("create database pmo_bench_floor", `${base}/postgres`);
  pgbench(floor, ["-i", "-s", "10", "-q"], false);
  report(`floor: pgbench -S, ${CLIENTS} clients`, pgbench(floor, ["-S", "-c", `${CLIENTS}`, "-j", "2", "-T", `${Math.min(SECONDS, 5)}`]));

  const list = async (what, query) => {
    const found = await send("GET", `/task?${query}`, { token: viewer, json: true });
    const s = await at_once(() => send("GET", `/task?${query}`, { token: viewer }));
    report(`list, ${CLIENTS} clients: ${what}`, s, `${s.more}; ${found.body.data.length} of ${found.body.total}${found.body.total_is_exact ? "" : "+"}`);
  };
  await list("open and due from today, by due date", "due_date[gte]=2026-11-22&dl__task_stage[ne]=Completed&sort=due_date&limit=100");
  await list("two stages, by due date", "dl__task_stage[in]=To%20Do,In%20Progress&sort=due_date&limit=100");
  await list("the same, seven columns", "dl__task_stage[in]=To%20Do,In%20Progress&sort=due_date&limit=100&fields=name,wbs,dl__task_stage,due_date,completion_pct,assignee__employee_ids,project_id");

  const { body: page } = await send("GET", "/task?limit=200&sort=name", { token: viewer, json: true });
  const ids = page.data.map((row) => row.id);
  const { body: mine } = await send("GET", "/task?limit=100&sort=code", { token: admin, json: true });
  report("GET of one row", await one_after_another(500, (n) => send("GET", `/task/${ids[n % ids.length]}`, { token: viewer })));
  report("PATCH of one row", await one_after_another(500, (n) => send("PATCH", `/task/${mine.data[n % 100].id}`, { token: admin, body: { completion_pct: n % 100 } })));
  report("?ids= of 200 rows", await one_after_another(100, () => send("GET", `/task?ids=${ids.join(",")}`, { token: viewer })));
  report("search over all types, two words", await one_after_another(100, () => send("GET", "/search?q=implement%20search", { token: viewer })));

  const thousand = service.sql("select string_agg(quote_literal(id), ',') from (select id from app.task order by code limit 1000) t");
  const check = script(`select count(*) from app.things_of(array['${me}'::uuid], array[${thousand}]::uuid[]);\n`);
  report("effective level on 1,000 ids, one query", pgbench(service.database, ["-c", "1", "-t", "200", "-f", check]));
  const grant = script(`insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) select '${me}', 'business', id, 0 from app.business order by code offset 7 limit 1;\n`);
  report("a grant on a business with all below it, one write", pgbench(service.database, ["-c", "1", "-t", "200", "-f", grant]));
  const move = script(`update app.project set business_id = (select id from app.business where id <> business_id order by random() limit 1) where id = (select id from app.project order by code limit 1);\n`);
  report("a project moved to another business, with all below it", pgbench(service.database, ["-c", "1", "-t", "100", "-f", move]));

  const status = readFileSync(`/proc/${service.running.api.pid}/status`, "utf8");
  const memory = (name) => `${Math.round(Number(status.match(new RegExp(`${name}:\\s+(\\d+)`))[1]) / 1024)} MB`;
  console.log(["", `${"ms".padEnd(58)} ${"p50".padStart(8)} ${"p95".padStart(8)} ${"p99".padStart(8)}`, ...rows, `memory of the api: ${memory("VmRSS")}, at most ${memory("VmHWM")}`].join("\n"));
} finally {
  await service.stop();
  agent.destroy();
}
