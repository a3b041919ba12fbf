// Benchmark of the client engine against Dexie and query-core with the same workload, in one
// Chromium in one run. Prints medians and ratios. A row has about 960 bytes.
// Arguments select parts: persist, write, invalidate, list. Persisting starts on a new page and is
// measured after a warm-up with 2,000 rows.
import { chromium } from "../e2e/node_modules/@playwright/test/index.mjs";
import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const parts = process.argv.slice(2);
const isSelected = (part) => parts.length === 0 || parts.includes(part);
const ROUNDS = Number(process.env.ROUNDS ?? 3);
const clientDir = fileURLToPath(new URL("./client", import.meta.url));
const root = fileURLToPath(new URL("..", import.meta.url));
const run = (command, args, env = {}) => execFileSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, ...env } });
if (!existsSync(join(clientDir, "node_modules", "dexie"))) run("npm", ["ci", "--silent", "--prefix", clientDir]);
// Same profile, flags and optimizer as the app.
run("cargo", ["build", "--quiet", "--profile", "web", "-p", "pmo-web", "--example", "engine", "--target", "wasm32-unknown-unknown"],
  { CARGO_TARGET_DIR: join(root, "target/web"), CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS: "--cfg erase_components" });
const outDir = join(root, "target/bench-client");
mkdirSync(outDir, { recursive: true });
run("wasm-bindgen", ["--target", "web", "--no-typescript", "--out-dir", outDir, join(root, "target/web/wasm32-unknown-unknown/web/examples/engine.wasm")]);
const indexHtml = readFileSync(join(root, "apps/web/index.html"), "utf8");
const attribute = (name) => indexHtml.match(new RegExp(`${name}="([^"]+)"`))[1];
run("wasm-opt", [`-O${attribute("data-wasm-opt")}`, ...attribute("data-wasm-opt-params").split(" "), "-o", join(outDir, "engine_bg.wasm"), join(outDir, "engine_bg.wasm")]);

const types = { ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm" };
const server = createServer((request, response) => {
  const path = normalize(new URL(request.url, "http://x").pathname);
  // Cross-origin isolation gives the page high-resolution timers.
  const headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
  if (path === "/") return response.writeHead(200, { ...headers, "content-type": "text/html" }).end("<!doctype html><title>bench</title><script>window.process = { env: { NODE_ENV: 'production' } }</script>");
  const file = [clientDir, outDir].map((folder) => join(folder, path)).find((file) => existsSync(file) && statSync(file).isFile());
  if (!file) return response.writeHead(404).end();
  response.writeHead(200, { ...headers, "content-type": types[extname(file)] ?? "text/plain" });
  createReadStream(file).pipe(response);
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const origin = `http://127.0.0.1:${server.address().port}/`;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
const context = await browser.newContext({ baseURL: origin });
let nextPerson = 0;

/** Runs one side of a measurement on a new page; returns its result and the memory growth in bytes. */
async function evaluateIn(side, name, ...args) {
  const page = await context.newPage();
  try {
    await page.goto(origin);
    const session = await context.newCDPSession(page);
    const heapBytes = async () => {
      await session.send("HeapProfiler.collectGarbage");
      const { usedSize, backingStorageSize = 0 } = await session.send("Runtime.getHeapUsage");
      return usedSize + backingStorageSize;
    };
    await page.evaluate(async () => { window.bench = await import("/page.mjs"); });
    const before = await heapBytes();
    const measured = await page.evaluate(([side, name, args]) => window.bench[side][name](...args), [side, name, args]);
    const wasm = side === "engine" ? await page.evaluate(() => window.bench.wasmBytes()) : 0;
    // Some versions count WASM memory as backing storage already, so take the larger value.
    const after = await heapBytes();
    return { measured, bytes: Math.max(after - before, side === "engine" ? wasm : 0) };
  } finally {
    await page.close();
  }
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const formatNumber = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3));
const report = (name, engineValue, peerValue, target) => {
  const ratio = peerValue / engineValue;
  console.log(`${name.padEnd(58)} ${formatNumber(engineValue).padStart(9)} ${formatNumber(peerValue).padStart(9)} ${`${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(1)} ×`.padStart(8)}   ${target}`);
};
/** Runs both sides alternately for `rounds` rounds; returns the medians per key. */
async function repeat(name, keys, argument, rounds = ROUNDS) {
  const results = { engine: [], peer: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const side of round % 2 ? ["peer", "engine"] : ["engine", "peer"]) {
      const person = (nextPerson += 1);
      results[side].push(await evaluateIn(side, name, ...(argument === undefined ? [person] : [argument, person])));
    }
  }
  return keys.map((key) => ["engine", "peer"].map((side) => median(results[side].map(({ measured }) => (key ? measured[key] : measured)))));
}

try {
  console.log(`${"milliseconds, medians".padEnd(58)} ${"engine".padStart(9)} ${"peer".padStart(9)} ${"ratio".padStart(8)}   target`);
  for (const [rows, rounds, target] of isSelected("persist") ? [[10_000, ROUNDS, "≥ 8 ×"], [100_000, 1, "≥ 20 ×"]] : []) {
    const persisted = { engine: [], peer: [], floor: [] }, hydrated = { engine: [], peer: [] };
    for (let round = 0; round < rounds; round += 1) {
      const person = (nextPerson += 1);
      for (const side of ["engine", "peer"]) {
        persisted[side].push((await evaluateIn(side, "persist", rows, person)).measured);
        hydrated[side].push(await evaluateIn(side, "hydrate", rows, person));
      }
      // The floor runs last: the browser keeps compacting its database after a large write.
      persisted.floor.push((await evaluateIn("floor", "persist", rows, person)).measured);
    }
    const hydrateMedian = (side, key) => median(hydrated[side].map(({ measured }) => measured[key]));
    report(`persist ${rows} rows`, median(persisted.engine), median(persisted.peer), target);
    report(`persist ${rows} rows; against plain puts of the same bytes`, median(persisted.engine), median(persisted.floor), "");
    report(`hydrate ${rows} on a new page: first list`, hydrateMedian("engine", "first"), hydrateMedian("peer", "first"), "≥ 4 ×");
    report(`hydrate ${rows}: every row in memory`, hydrateMedian("engine", "all"), hydrateMedian("peer", "all"), "");
    const mebibytes = (side) => median(hydrated[side].map(({ bytes }) => bytes)) / 2 ** 20;
    report(`  memory growth of the page, MiB`, mebibytes("engine"), mebibytes("peer"), "≥ 1 ×");
  }
  if (isSelected("write")) {
    const floorTimes = [];
    for (let round = 0; round < ROUNDS; round += 1) floorTimes.push((await evaluateIn("floor", "writes", (nextPerson += 1))).measured.one);
    const [one, burst] = await repeat("writes", ["one", "burst"]);
    report("one durable write; against a put in Dexie", ...one, "");
    report("one durable write; against a plain put", one[0], median(floorTimes), "≥ 1 ×");
    report("one of 500 in a burst", ...burst, "engine < 0.1");
    report("keystroke to frame, p95, 10000 rows cached, 100 observed", ...(await repeat("screen", [null], 10_000))[0], "engine < 16");
  }
  for (const rows of isSelected("invalidate") ? [1000, 10_000, 100_000] : []) {
    const [single, all] = await repeat("invalidate", ["one", "all"], rows, rows > 10_000 ? 1 : ROUNDS);
    report(`invalidate one row, 100 observed, ${rows} cached`, ...single, "engine < 0.2");
    if (rows === 10_000) console.log(`${"invalidate all: requests for 101 keys".padEnd(58)} ${String(all[0]).padStart(9)} ${String(all[1]).padStart(9)} ${"".padStart(8)}   engine ≤ 3`);
  }
  if (isSelected("list")) {
    const [first, next, changed] = await repeat("filter", ["first", "next", "changed"], 10_000);
    report("filter and sort 10000, first 100: first query", ...first, "engine < 3");
    report("filter and sort 10000, first 100: another query", ...next, "engine < 3");
    report("update of one row of that list", ...changed, "engine < 0.3");
  }
} finally {
  await browser.close();
  server.close();
}
