// Benchmark of the change feed: delivery latency to one, hundreds and thousands of clients, memory per
// connection, a large transaction, a client that does not read, a log of a year, and the cost that the
// feed adds to a write. Floors in the same run: a bare LISTEN/NOTIFY loop and a bare WebSocket
// broadcast. With two cores, the server and the load generator have one each, and the database shares
// the generator's.
// Arguments select parts: commit, rate, stalled, fan, sustained, idle, burst, year, patch.
// A part that fails is reported, and the next one runs.
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import { join } from "node:path";
import { PASSWORD } from "../e2e/fixtures.mjs";
import { Servers, origin, root } from "../e2e/servers.mjs";

const PUBSUB_PORT = 4301, FLOOR_PORT = 4302;
const PUBSUB = `127.0.0.1:${PUBSUB_PORT}`, FLOOR = `127.0.0.1:${FLOOR_PORT}`;
const selectedParts = process.argv.slice(2);
const servers = new Servers("pmo_bench_feed");
const env = { ...servers.env, PUBSUB_PORT: `${PUBSUB_PORT}`, PUBSUB_MAX_CONNECTIONS_PER_USER: "100000", RUST_LOG: "warn,sqlx=error" };
const loadGenerator = join(root, "target/release/examples/load");

// --- machine -----------------------------------------------------------------------------------------

/** Returns the numbers of the cores that this process may use, for example [0, 1]. */
function allowedCores() {
  const list = readFileSync("/proc/self/status", "utf8").match(/^Cpus_allowed_list:\s*(\S+)/m)[1];
  return list.split(",").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, n) => first + n);
  });
}
const cores = allowedCores();
const SERVER_CORE = cores[0], LOAD_CORE = cores[1] ?? cores[0];

function describeMachine() {
  const [first, last] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").trim().split(/\s+/).map(Number);
  // Child processes inherit the limit of this process.
  const fileLimit = readFileSync("/proc/self/limits", "utf8").match(/^Max open files\s+(\S+)\s+(\S+)/m);
  return [
    `machine: ${cores.length} cores (${os.cpus()[0]?.model.trim() ?? "unknown"}), ${(os.totalmem() / 2 ** 30).toFixed(0)} GiB of memory, Linux ${os.release()}`,
    `limits: ephemeral ports ${first} to ${last} (${last - first + 1} per source address), open files ${fileLimit[1]} (hard limit ${fileLimit[2]})`,
    `cores: server ${SERVER_CORE}, load generator ${LOAD_CORE}`,
  ].join("\n");
}

// --- table -------------------------------------------------------------------------------------------

const rows = [];
const formatValue = (value) => (value == null ? "-" : value.toFixed(value < 100 ? 2 : 0)).padStart(9);
const header = `${"".padEnd(64)} ${"p50".padStart(9)} ${"p99".padStart(9)} ${"floor p50".padStart(9)} ${"ratio".padStart(7)}   ${"target".padEnd(16)}`;
function addRow(row) {
  rows.push(row.trimEnd());
  console.error(rows.at(-1));
}

/** Returns what a measurement could not do: clients not opened, failed attempts, missing changes. */
function describeProblems(details = {}) {
  const { connections, closed, incomplete_rounds: incompleteRounds, missing_changes: missingChanges, failed_writes: failedWrites } = details;
  const problems = [];
  if (connections && connections.opened < connections.requested) problems.push(`only ${connections.opened} of ${connections.requested} clients opened`);
  const attempts = Object.entries(connections?.failed_attempts ?? {}).map(([failure, count]) => `${count} × ${failure}`);
  if (attempts.length) problems.push(`failed attempts: ${attempts.join(", ")}`);
  if (closed) problems.push(`${closed} connections closed by the server`);
  if (incompleteRounds) problems.push(`${incompleteRounds} incomplete rounds`);
  if (missingChanges) problems.push(`${missingChanges} changes missing`);
  if (failedWrites) problems.push(`${failedWrites} writes failed`);
  return problems;
}

/** Adds a row; `floor` is the measurement that it is compared with. */
function report(label, result, { target = "", floor, note = "" } = {}) {
  const ratio = floor && result?.p50 != null && floor.p50 ? `${(result.p50 / floor.p50).toFixed(2)} ×` : "";
  addRow(`${label.padEnd(64)} ${formatValue(result?.p50)} ${formatValue(result?.p99)} ${formatValue(floor?.p50)} ${ratio.padStart(7)}   ${target.padEnd(16)} ${note}`);
  for (const problem of describeProblems(result?.details)) addRow(`    ! ${problem}`);
}

// --- processes ---------------------------------------------------------------------------------------

const onCore = (core, program, options) => ["taskset", ["-c", `${core}`, program, ...options]];

/** Runs the load generator; returns its measurements. */
function measure(...options) {
  const output = execFileSync(...onCore(LOAD_CORE, loadGenerator, options.map(String)), { env, encoding: "utf8", maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "inherit"] });
  return output.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

/** Starts a server on its own core, calls `run` with its process id, and stops the server. */
async function runWithServer(program, options, port, run) {
  const child = spawn(...onCore(SERVER_CORE, program, options), { env, stdio: ["ignore", "inherit", "inherit"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  try {
    for (let ready = false; !ready;) {
      if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
      ready = await new Promise((resolve) => {
        http.get(`http://127.0.0.1:${port}/health`, (response) => { response.resume(); resolve(true); }).on("error", (error) => resolve(error.code !== "ECONNREFUSED"));
      });
      if (!ready) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return await run(child.pid);
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
}
const withPubsub = (run) => runWithServer(servers.program("pmo-pubsub"), [], PUBSUB_PORT, run);
const withBroadcastServer = (run) => runWithServer(loadGenerator, ["--service", FLOOR, "broadcast-server"], FLOOR_PORT, run);
const measurePubsub = (...options) => measure("--service", PUBSUB, ...options);

/** Runs a part of the benchmark if it is selected; a failure is reported, and the benchmark goes on. */
async function part(name, run) {
  if (selectedParts.length > 0 && !selectedParts.includes(name)) return;
  try {
    await run();
  } catch (error) {
    addRow(`! ${name} failed: ${error.message.split("\n")[0]}`);
    process.exitCode = 1;
  }
}

// --- parts -------------------------------------------------------------------------------------------

console.error(`${describeMachine()}\n`);
if (!process.env.KEEP) {
  servers.prepare("small");
  measure("prepare");
  servers.sql("vacuum analyze");
}
console.error(header);

await part("commit", async () => {
  const [notify] = measure("notify");
  report("floor: NOTIFY to LISTEN, ms", notify);
  await withPubsub(async () => {
    const [commit, update] = measurePubsub("commit");
    report("COMMIT to INVALIDATE, 1 client, ms", commit, { floor: notify, target: "p50 1.5, p99 6" });
    report("UPDATE to INVALIDATE, 1 client, ms", update, { floor: notify });
  });
});

await part("rate", () => withPubsub(async () => {
  const [rate] = measurePubsub("rate", 500, 100);
  report("COMMIT to INVALIDATE, 500 clients, 100 writes/s, ms", rate, { target: "p50 4, p99 20" });
}));

await part("stalled", async () => {
  const [reading] = await withPubsub(async () => measurePubsub("stalled", 1000, 100, "--reads"));
  report("1,000 clients, 100 writes/s, after a write of 5,000 rows, ms", reading);
  const [stalled] = await withPubsub(async () => measurePubsub("stalled", 1000, 100));
  report("  the same with one client that does not read, ms", stalled, { note: `p99 ratio ${(stalled.p99 / reading.p99).toFixed(2)} ×` });
});

for (const [clients, target] of [[500, "p50 5"], [5000, "p50 80"]]) {
  await part("fan", async () => {
    const [broadcast] = await withBroadcastServer(async () => measure("--service", FLOOR, "broadcast", clients));
    report(`floor: WebSocket broadcast to the last of ${clients} clients, ms`, broadcast);
    const [fan] = await withPubsub(async () => measurePubsub("fan", clients));
    report(`COMMIT to INVALIDATE at the last of ${clients} clients, ms`, fan, { floor: broadcast, target });
  });
}

await part("sustained", () => withPubsub(async () => {
  for (const result of measurePubsub("sustained", 1000)) {
    report(`deliveries/s, 1,000 clients, ${result.details.writes} writes/s`, result, { target: "20,000", note: `${(result.details.individual_share * 100).toFixed(0)} % of the changes delivered individually` });
  }
}));

for (const [clients, watches, target] of [[5000, 0, "at most 6"], [5000, 100, "at most 12"], [1000, 0, ""], [2500, 0, ""], [9000, 0, ""], [9000, 100, ""]]) {
  await part("idle", () => withPubsub(async (pid) => {
    const [idle] = measurePubsub("--pid", pid, "idle", clients, watches);
    report(`resident kB per connection, ${clients} with ${watches} subscriptions`, idle, { target });
  }));
}

await part("burst", () => withPubsub(async () => {
  const [burst] = measurePubsub("burst", 20, 50000);
  const { frames, queued_each: queued } = burst.details;
  report("50,000 rows in one transaction, 20 clients, all delivered, ms", burst, { target: "under 5,000", note: `${frames} frames each, at most ${Math.round(queued / 1024)} kB queued per client (limit 4,096)` });
}));

await part("year", async () => {
  const measureCommit = (log, target) => withPubsub(async () => {
    const [commit] = measurePubsub("commit");
    report(`COMMIT to INVALIDATE, ${log}, ms`, commit, { target });
  });
  const measureHistory = (log) => {
    const id = servers.sql("select id from app.wiki where name like 'w%' order by id limit 1 offset 7");
    const plan = servers.sql(`explain (analyze, format json) select * from app.system_logging where entity_code = 'wiki' and entity_id = '${id}' order by seq desc limit 100`);
    report(`history of one entity, ${log}, ms (1 run)`, { p50: JSON.parse(plan)[0]["Execution Time"] });
  };
  await measureCommit("empty log", "");
  measureHistory("empty log");
  // Ten million rows in the twelve months before the current one, by old transactions.
  const entities = servers.sql("select count(*) from app.wiki where name like 'w%'");
  servers.sql("alter table app.system_logging disable trigger user");
  for (let month = 12; month >= 1; month -= 1) {
    servers.sql(`select app.ensure_log_partition((date_trunc('month', now()) - interval '${month} months')::date)`);
    servers.sql(`insert into app.system_logging (username, person_type, entity_code, entity_id, action, created_ts, updated, sync_status, xid, epoch, entity_version, changed)
      select 'bench', 'employee', 'wiki', lpad(to_hex(x'600000000000'::bigint + n % ${entities}), 32, '0')::uuid, 3, at, at, 'sent', (3 + n % 600)::text::xid8, (select epoch from app.feed_epoch), n / 10000,
        '{"name": {"old": "before", "new": "after"}}'
      from generate_series(1, 834000) n, lateral (select date_trunc('month', now()) - interval '${month} months' + n * interval '2.9 seconds' as at) t`);
  }
  servers.sql("alter table app.system_logging enable trigger user");
  servers.sql("vacuum analyze app.system_logging");
  console.error(`  ${servers.sql("select count(*) from app.system_logging")} rows in ${servers.sql("select count(*) from pg_partition_tree('app.system_logging') where isleaf")} partitions`);
  await measureCommit("log of a year", "as empty log");
  measureHistory("log of a year");
});

await part("patch", async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 32 });
  const send = (method, path, token, body) => new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    const request = http.request(`${origin}/api/v1${path}`, { method, agent, headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ status: response.statusCode, body: JSON.parse(Buffer.concat(chunks)) }));
    });
    request.on("error", reject);
    request.end(JSON.stringify(body));
  });
  process.on("exit", () => Object.values(servers.running).forEach((child) => child.kill("SIGKILL")));
  try {
    await servers.start();
    const { token } = (await send("POST", "/auth/login", null, { email: "admin@pmo.example", password: PASSWORD })).body;
    const ids = servers.sql("select id from app.task where active_flag order by id limit 32").split("\n");
    const measurePatches = async (writers) => {
      const times = [], deadline = performance.now() + 3000;
      await Promise.all(Array.from({ length: writers }, async (_, writer) => {
        for (let n = 0; performance.now() < deadline; n += 1) {
          const startedAt = performance.now();
          const { status, body } = await send("PATCH", `/task/${ids[writer]}`, token, { descr: `bench ${writer} ${n} ${performance.now()}` });
          if (status !== 200) throw new Error(JSON.stringify(body));
          times.push(performance.now() - startedAt);
        }
      }));
      times.sort((a, b) => a - b);
      return { p50: times[times.length >> 1], p99: times[Math.floor(times.length * 0.99)] };
    };
    const restart = async (notifyMode) => { servers.env.FEED_NOTIFY = notifyMode; await servers.stop(); await servers.start(); };
    // Label, NOTIFY mode, and the triggers to disable.
    const variants = [
      ["log, NOTIFY after the commit", "after-commit", []],
      ["log, NOTIFY in the transaction", "in-transaction", []],
      ["log, no NOTIFY", "in-transaction", ["app.system_logging disable trigger notify_feed"]],
      ["no log, no NOTIFY", "in-transaction", ["app.system_logging disable trigger notify_feed", "app.task disable trigger t50_log_change"]],
    ];
    for (const writers of [1, 8, 32]) {
      let floor;
      const results = [];
      // The last variant is the floor, so it is measured first.
      for (const [label, notifyMode, changes] of [...variants].reverse()) {
        await restart(notifyMode);
        let result;
        try {
          changes.forEach((change) => servers.sql(`alter table ${change}`));
          await measurePatches(writers);
          result = await measurePatches(writers);
        } finally {
          changes.forEach((change) => servers.sql(`alter table ${change.replace("disable", "enable")}`));
        }
        floor ??= result;
        results.push([label, result]);
      }
      for (const [label, result] of results.reverse()) report(`PATCH, ${writers} writers, ${label}, ms`, result, { floor });
    }
  } finally {
    await servers.stop();
    agent.destroy();
  }
});

console.log(`${new Date().toISOString().slice(0, 10)}\n${describeMachine()}\n\n${header}\n${rows.join("\n")}`);
