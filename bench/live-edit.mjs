// Benchmark of a live edit: time from the PATCH response to the repaint in another browser, over 200
// edits on the release build. Floor in the same run: a GET of one row in that browser.
import { chromium } from "../e2e/node_modules/@playwright/test/index.mjs";
import { Servers, origin } from "../e2e/servers.mjs";
import { PASSWORD, grantAccess, importPlan, samplePlan } from "../e2e/fixtures.mjs";

const EDITS = Number(process.env.EDITS ?? 200);
const servers = new Servers("pmo_bench");
servers.prepare("demo");
await servers.start();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
try {
  const { id, token } = await importPlan("editor", samplePlan, "Bench");
  await grantAccess(servers, token, "viewer", id, 0);
  const page = await (await browser.newContext({ baseURL: origin, viewport: { width: 1440, height: 900 } })).newPage();
  await page.goto("/");
  await page.getByLabel("Email").fill("viewer@pmo.example");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByText("Synced", { exact: true }).first().waitFor();
  await page.goto(`/project/${id}`);
  await page.locator("table.wbs tbody tr[data-id]").first().waitFor();
  await page.getByText("Synced", { exact: true }).first().waitFor();
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const { data } = await (await fetch(`${origin}/api/v1/project/${id}/task?limit=1000&sort=wbs`, { headers })).json();
  const task = data.find((t) => t.wbs === "1.1");
  // The observing page records the first frame after a new name appears in the document.
  await page.evaluate(() => {
    window.__painted = new Map();
    new MutationObserver(() => {
      for (const [, name] of document.body.innerText.matchAll(/(edit \d+ of \d+)/g)) {
        if (!window.__painted.has(name)) { window.__painted.set(name, null); requestAnimationFrame(() => window.__painted.set(name, performance.timeOrigin + performance.now())); }
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  const repaintTimes = [], patchTimes = [], floorTimes = [];
  for (let n = 1; n <= EDITS; n += 1) {
    const name = `edit ${n} of ${EDITS}`;
    const sentAt = performance.timeOrigin + performance.now();
    const response = await fetch(`${origin}/api/v1/task/${task.id}`, { method: "PATCH", headers, body: JSON.stringify({ name }) });
    const answeredAt = performance.timeOrigin + performance.now();
    if (response.status !== 200) throw new Error(`PATCH answered ${response.status}`);
    const paintedAt = await page.waitForFunction((name) => window.__painted.get(name), name, { timeout: 10_000 }).then((h) => h.jsonValue());
    repaintTimes.push(Math.max(0, paintedAt - answeredAt)); patchTimes.push(answeredAt - sentAt);
    floorTimes.push(await page.evaluate(async ([path, token]) => {
      const startedAt = performance.now();
      await (await fetch(path, { headers: { authorization: `Bearer ${token}` } })).json();
      return performance.now() - startedAt;
    }, [`/api/v1/task?ids=${task.id}`, token]));
  }
  const percentile = (list, part) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * part))];
  const report = (name, list) => console.log(`${name.padEnd(52)} ${percentile(list, 0.5).toFixed(1).padStart(8)} ${percentile(list, 0.95).toFixed(1).padStart(8)}`);
  console.log(`${`${EDITS} edits of one task, milliseconds`.padEnd(52)} ${"p50".padStart(8)} ${"p95".padStart(8)}`);
  report("PATCH response → repaint in the other browser", repaintTimes);
  report("PATCH request", patchTimes);
  report("floor: GET of one row in that browser", floorTimes);
  console.log(`ratio of the medians to the floor: ${(percentile(repaintTimes, 0.5) / percentile(floorTimes, 0.5)).toFixed(1)}`);
} finally {
  await browser.close();
  await servers.stop();
}
