// The change feed under load: how soon a commit is told, to one, to hundreds, to thousands; what a socket weighs; what a burst and a reader who does
// not read do; what the feed adds to a write. Beside it in the same run: a bare LISTEN/NOTIFY loop and a bare WebSocket broadcast. Service and load
// generator have a core each; the database shares the generator's.
import { execFileSync, spawn } from "node:child_process";
import http from "node:http";
import { join } from "node:path";
import { Servers, origin, root } from "../e2e/servers.mjs";
import { PASSWORD } from "../e2e/fixtures.mjs";

const PUBSUB = "127.0.0.1:4301", FLOOR = "127.0.0.1:4302";
const only = process.argv.slice(2);
const servers = new Servers("pmo_bench_feed");
const environment = {
  ...servers.env, PUBSUB_PORT: "4301", PUBSUB_CONNECTIONS_PER_PERSON: "100000", RUST_LOG: "warn,sqlx=error",
};
const load = join(root, "target/release/examples/load");
const pinned = (core, program, options) => ["taskset", ["-c", `${core}`, program, ...options]];
const measure = (...options) => execFileSync(...pinned(1, load, options.map(String)), { env: environment, encoding: "utf8", maxBuffer: 1 << 26 })
  .trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
const rows = [];
const ms = (n) => (n == null ? "-" : n.toFixed(n < 100 ? 2 : 0)).padStart(9);
const report = (what, m, target = "", more = "") => { rows.push(`${what.padEnd(64)} ${ms(m.p50)} ${ms(m.p99)}   ${target.padEnd(22)} ${more}`); console.error(rows.at(-1)); };
const wanted = (name) => only.length === 0 || only.includes(name);

if (!process.env.KEEP) {
  servers.prepare("small");
  measure("prepare");
  servers.sql("vacuum analyze");
}
/** Runs `what` beside a service that has just been started on a core of its own. */
async function runWithServer(program, options, port, what) {
  const child = spawn(...pinned(0, program, options), { env: environment, stdio: ["ignore", "inherit", "inherit"] });
  for (let up = false; !up;) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
    up = await new Promise((resolve) => {
      http.get(`http://127.0.0.1:${port}/health`, (answer) => { answer.resume(); resolve(true); }).on("error", (e) => resolve(e.code !== "ECONNREFUSED"));
    });
    if (!up) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  try { return await what(child.pid); } finally {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
}
const feed = (what) => runWithServer(servers.program("pmo-pubsub"), [], 4301, what);
const floor = (what) => runWithServer(load, ["--service", FLOOR, "broadcast-server"], 4302, what);
const first = (list) => list[0];

console.error(`${"".padEnd(64)} ${"p50".padStart(9)} ${"p99".padStart(9)}   asked`);
if (wanted("commit")) {
  report("bare NOTIFY until LISTEN has it, ms", first(measure("notify")), "floor");
  await feed(async () => {
    const [commit, update] = measure("--service", PUBSUB, "commit");
    report("COMMIT until INVALIDATE at one client, ms", commit, "p50 1.5, p99 6");
    report("UPDATE until INVALIDATE at one client, ms", update);
  });
}
if (wanted("rate")) {
  await feed(() => report("500 clients, 100 writes/s: COMMIT until INVALIDATE, ms", first(measure("--service", PUBSUB, "rate", 500, 100)), "p50 4, p99 20"));
}
if (wanted("stalled")) {
  const quiet = await feed(() => first(measure("--service", PUBSUB, "stalled", 1000, 100, "--reads")));
  report("1,000 clients, 100 writes/s, 5,000 rows in between, ms", quiet);
  await feed(() => {
    const stalled = first(measure("--service", PUBSUB, "stalled", 1000, 100));
    report("  the same while one client does not read, ms", stalled, "", `p99 ${(stalled.p99 / quiet.p99).toFixed(2)} times`);
  });
}
if (wanted("fan")) {
  for (const [clients, target] of [[500, "last in p50 5"], [5000, "under 80"]]) {
    const bare = await floor(() => first(measure("--service", FLOOR, "broadcast", clients)));
    report(`bare WebSocket broadcast until the last of ${clients} has it, ms`, bare, "floor");
    const fan = await feed(() => first(measure("--service", PUBSUB, "fan", clients)));
    report(`COMMIT until the last of ${clients} is told, ms`, fan, target, `${(fan.p50 / bare.p50).toFixed(2)} times the floor`);
  }
}
if (wanted("sustained")) {
  await feed(() => {
    for (const m of measure("--service", PUBSUB, "sustained", 1000)) {
      report(`deliveries/s, 1,000 clients, ${m.more.writes} writes/s`, m, "20,000", `${(m.more.told * 100).toFixed(0)} % told one by one`);
    }
  });
}
if (wanted("idle")) {
  for (const [clients, watches, target] of [[5000, 0, "at most 6"], [5000, 100, "at most 12"], [1000, 0, ""], [2500, 0, ""], [9000, 0, ""], [9000, 100, ""]]) {
    await feed((pid) => report(`resident kB a socket, ${clients} sockets with ${watches} subscriptions`, first(measure("--service", PUBSUB, "--pid", pid, "idle", clients, watches)), target));
  }
}
if (wanted("burst")) {
  await feed(() => {
    const m = first(measure("--service", PUBSUB, "burst", 20, 50000));
    report("50,000 rows in one transaction, 20 clients, until all are told, ms", m, "under 5,000",
      `${m.more.frames} frames each, at most ${Math.round(m.more.queued_each / 1024)} kB waited for one (bound 4,096)`);
  });
}
if (wanted("year")) {
  const things = servers.sql("select count(*) from app.wiki where name like 'w%'");
  const telling = async (what) => feed(() => {
    report(`COMMIT until INVALIDATE, ${what}, ms`, first(measure("--service", PUBSUB, "commit")), what === "a young log" ? "" : "no slower");
  });
  const history = (what) => {
    const thing = servers.sql("select id from app.wiki where name like 'w%' order by id limit 1 offset 7");
    const plan = servers.sql(`explain (analyze, format json) select * from app.system_logging where entity_code = 'wiki' and entity_id = '${thing}' order by seq desc limit 100`);
    report(`history of one thing, ${what}, ms (1 run)`, { p50: JSON.parse(plan)[0]["Execution Time"] });
  };
  await telling("a young log");
  history("a young log");
  // Ten million rows over the twelve months before this one, by transactions of long ago.
  servers.sql("alter table app.system_logging disable trigger user");
  for (let month = 12; month >= 1; month -= 1) {
    servers.sql(`select app.ensure_log_partition((date_trunc('month', now()) - interval '${month} months')::date)`);
    servers.sql(`insert into app.system_logging (username, person_type, entity_code, entity_id, action, created_ts, updated, sync_status, xid, epoch, entity_version, changed)
      select 'bench', 'employee', 'wiki', lpad(to_hex(x'600000000000'::bigint + n % ${things}), 32, '0')::uuid, 3, at, at, 'sent', (3 + n % 600)::text::xid8, (select epoch from app.feed_epoch), n / 10000,
        '{"name": {"old": "before", "new": "after"}}'
      from generate_series(1, 834000) n, lateral (select date_trunc('month', now()) - interval '${month} months' + n * interval '2.9 seconds' as at) t`);
  }
  servers.sql("alter table app.system_logging enable trigger user");
  servers.sql("vacuum analyze app.system_logging");
  console.error(`  ${servers.sql("select count(*) from app.system_logging")} rows in ${servers.sql("select count(*) from pg_partition_tree('app.system_logging') where isleaf")} partitions`);
  await telling("a year behind it");
  history("a year behind it");
}
if (wanted("patch")) {
  environment.API_PORT = "4100";
  await servers.start();
  process.on("exit", () => Object.values(servers.running).forEach((child) => child.kill("SIGKILL")));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 32 });
  const send = (method, path, token, body) => new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    const request = http.request(`${origin}/api/v1${path}`, { method, agent, headers }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve({ status: answer.statusCode, body: JSON.parse(Buffer.concat(parts)) }));
    });
    request.on("error", reject);
    request.end(JSON.stringify(body));
  });
  const { token } = (await send("POST", "/auth/login", null, { email: "admin@pmo.example", password: PASSWORD })).body;
  const ids = servers.sql("select id from app.task where active_flag order by id limit 32").split("\n");
  const writing = async (writers) => {
    const times = [], until = performance.now() + 3000;
    await Promise.all(Array.from({ length: writers }, async (_, w) => {
      for (let n = 0; performance.now() < until; n += 1) {
        const began = performance.now();
        const { status, body } = await send("PATCH", `/task/${ids[w]}`, token, { descr: `bench ${w} ${n} ${performance.now()}` });
        if (status !== 200) throw new Error(JSON.stringify(body));
        times.push(performance.now() - began);
      }
    }));
    times.sort((a, b) => a - b);
    return { p50: times[times.length >> 1], p99: times[Math.floor(times.length * 0.99)] };
  };
  const restart = async (doorbell) => { servers.env.FEED_DOORBELL = doorbell; await servers.stop(); await servers.start(); };
  const ways = [
    ["log, and the api rings afterwards", null],
    ["with log and doorbell", []],
    ["with the log, no doorbell", ["app.system_logging disable trigger ring_feed"]],
    ["with neither", ["app.system_logging disable trigger ring_feed", "app.task disable trigger log_change"]],
  ];
  for (const writers of [1, 8, 32]) {
    let bare;
    const found = [];
    for (const [title, changes] of [...ways].reverse()) {
      const off = changes ?? [];
      await restart(changes ? "in-transaction" : "afterwards");
      off.forEach((change) => servers.sql(`alter table ${change}`));
      let m;
      try {
        await writing(writers);
        m = await writing(writers);
      } finally {
        off.forEach((change) => servers.sql(`alter table ${change.replace("disable", "enable")}`));
      }
      bare ??= m;
      found.push([title, m]);
    }
    for (const [title, m] of found.reverse()) report(`PATCH, ${writers} writers, ${title}, ms`, m, "", `${(m.p50 / bare.p50).toFixed(2)} times without`);
  }
  await servers.stop();
}
console.log(`Service on core 0, load and database on the rest; ${new Date().toISOString().slice(0, 10)}\n${"".padEnd(64)} ${"p50".padStart(9)} ${"p99".padStart(9)}   asked\n${rows.join("\n")}`);
