// Benchmark of the planning engine: native, and as WASM in Chromium, beside a bare pass over the same
// arrays in the same run. Prints medians, ratios and bars; fails if native and WASM differ, or if
// dragging allocates. Arguments are numbers of tasks.
import { chromium } from "../e2e/node_modules/@playwright/test/index.mjs";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const sizes = process.argv.slice(2).map(Number);
if (sizes.length === 0) sizes.push(1_000, 10_000, 100_000);
const root = fileURLToPath(new URL("..", import.meta.url));
const run = (command, args, env = {}) => execFileSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, ...env } });
/** Bars in milliseconds, by number of tasks: [native, WASM]. */
const BARS = {
  10_000: { full: [4, 8], build: [10, undefined], dragP95: [undefined, 1] },
  100_000: { full: [60, 120], dragP95: [undefined, 8] },
};
const MAX_TASK_BYTES = 160, MAX_LINK_BYTES = 32;

/** Builds both sides; the WASM with profile and optimizer of the app. Returns the path of the WASM. */
function build() {
  run("cargo", ["build", "--quiet", "--release", "-p", "pmo-planning", "--example", "bench_native"]);
  run("cargo", ["build", "--quiet", "--profile", "web", "-p", "pmo-planning", "--example", "bench_wasm", "--target", "wasm32-unknown-unknown"], { CARGO_TARGET_DIR: join(root, "target/web") });
  const outDir = join(root, "target/bench-planning"), out = join(outDir, "planning.wasm");
  mkdirSync(outDir, { recursive: true });
  const indexHtml = readFileSync(join(root, "apps/web/index.html"), "utf8");
  const attribute = (name) => indexHtml.match(new RegExp(`${name}="([^"]+)"`))[1];
  run("wasm-opt", [`-O${attribute("data-wasm-opt")}`, ...attribute("data-wasm-opt-params").split(" "), "-o", out, join(root, "target/web/wasm32-unknown-unknown/web/examples/bench_wasm.wasm")]);
  return out;
}

/** Runs in the page: measures one number of tasks. */
async function measureInPage(tasks) {
  const { instance } = await WebAssembly.instantiateStreaming(fetch("/planning.wasm"));
  const wasm = instance.exports;
  const quantile = (times, share) => [...times].sort((a, b) => a - b)[Math.min(Math.floor(times.length * share), times.length - 1)];
  // The clock ticks every 5 µs, so short steps are repeated between two readings.
  const time = (step, repeats) => {
    const startedAt = performance.now();
    for (let n = 0; n < repeats; n += 1) step();
    return (performance.now() - startedAt) / repeats;
  };
  const links = wasm.setup(tasks);
  const rounds = Math.min(Math.max(2_000_000 / tasks, 20), 200), repeats = Math.ceil(5_000 / tasks);
  const full = [], bareFull = [], buildTimes = [], drag = [], bareDrag = [];
  for (let n = 0; n < 5; n += 1) { wasm.full(); wasm.bare_full(); wasm.build(); }
  for (let n = 0; n < rounds; n += 1) {
    full.push(time(wasm.full, repeats));
    bareFull.push(time(wasm.bare_full, repeats));
    buildTimes.push(time(wasm.build, repeats));
  }
  for (let n = 0; n < 300; n += 1) { wasm.drag(); wasm.bare_change(); }
  let touched = 0;
  for (let n = 0; n < 1_200; n += 1) {
    drag.push(time(() => { touched += wasm.drag(); }, 1));
    bareDrag.push(time(wasm.bare_change, 1));
  }
  const allocations = Number(wasm.allocations_of_drags(1_200));
  const alone = Number(wasm.engine_bytes_alone(tasks)), engineBytes = Number(wasm.engine_bytes(tasks));
  return {
    tasks, links, full: quantile(full, 0.5), bareFull: quantile(bareFull, 0.5), build: quantile(buildTimes, 0.5),
    dragP50: quantile(drag, 0.5), dragP95: quantile(drag, 0.95), bareDragP50: quantile(bareDrag, 0.5), bareDragP95: quantile(bareDrag, 0.95),
    touched: Math.round(touched / 1_200), allocations, engineBytes, engineBytesAlone: alone, planBytes: Number(wasm.plan_bytes(tasks)),
    hash: BigInt.asUintN(64, wasm.hash()).toString(),
  };
}

async function measureWasm(path) {
  const wasm = readFileSync(path);
  const server = createServer((request, response) => {
    // Cross-origin isolation gives the page high-resolution timers.
    const headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
    if (request.url === "/planning.wasm") response.writeHead(200, { ...headers, "content-type": "application/wasm" }).end(wasm);
    else response.writeHead(200, { ...headers, "content-type": "text/html" }).end("<!doctype html><title>bench</title>");
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
  try {
    const results = [];
    for (const tasks of sizes) {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${server.address().port}/`);
      results.push(await page.evaluate(measureInPage, tasks));
      await page.close();
    }
    return results;
  } finally {
    await browser.close();
    server.close();
  }
}

const wasmPath = build();
const native = sizes.map((tasks) => JSON.parse(execFileSync(join(root, "target/release/examples/bench_native"), [String(tasks)], { encoding: "utf8" })));
const wasm = await measureWasm(wasmPath);
const format = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3));
const cells = (...texts) => console.log(texts.map((text, index) => (index ? String(text).padStart(9) : String(text).padEnd(44))).join(" "));
let failures = 0;
const check = (isRight, text) => { if (!isRight) { failures += 1; console.log(`FAILED: ${text}`); } };
cells("milliseconds, medians", "native", "bare", "ratio", "bar", "WASM", "bare", "ratio", "bar");
sizes.forEach((tasks, index) => {
  const [ours, page] = [native[index], wasm[index]];
  const row = (name, key, bareKey) => {
    const bars = BARS[tasks]?.[key] ?? [];
    const side = (result, bar) => [format(result[key]), bareKey ? format(result[bareKey]) : "", bareKey ? `${(result[key] / result[bareKey]).toFixed(1)} ×` : "", bar === undefined ? "" : `≤ ${bar}`];
    cells(`${tasks} tasks, ${ours.links} links: ${name}`, ...side(ours, bars[0]), ...side(page, bars[1]));
    bars.forEach((bar, side) => { if (bar !== undefined && [ours, page][side][key] > bar) console.log(`  above its bar of ${bar} ms`); });
  };
  row("full", "full", "bareFull");
  row("build from rows", "build");
  row("dragged bar, p50", "dragP50", "bareDragP50");
  row("dragged bar, p95", "dragP95", "bareDragP95");
});
console.log("");
cells("memory and counts", "native", "WASM", "bar");
sizes.forEach((tasks, index) => {
  const [ours, page] = [native[index], wasm[index]];
  const perTask = (result) => result.engineBytesAlone / tasks, perLink = (result) => (result.engineBytes - result.engineBytesAlone) / result.links;
  cells(`${tasks}: engine and schedule, bytes a task`, perTask(ours).toFixed(0), perTask(page).toFixed(0), `≤ ${MAX_TASK_BYTES}`);
  cells(`${tasks}: engine, bytes a link`, perLink(ours).toFixed(0), perLink(page).toFixed(0), `≤ ${MAX_LINK_BYTES}`);
  cells(`${tasks}: plan as entered, bytes a task`, (ours.planBytes / tasks).toFixed(0), (page.planBytes / tasks).toFixed(0));
  cells(`${tasks}: tasks computed by a drag, mean`, ours.touched, page.touched);
  cells(`${tasks}: allocations of 1200 drags`, ours.allocations, page.allocations, "0");
  cells(`${tasks}: same schedule natively and as WASM`, ours.hash === page.hash ? "yes" : "NO", "", "yes");
  check(ours.hash === page.hash, `schedules of ${tasks} tasks differ: ${ours.hash}, ${page.hash}`);
  check(ours.allocations + page.allocations === 0, "dragging allocates");
});
process.exit(failures ? 1 : 0);
