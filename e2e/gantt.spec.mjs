// Gantt chart: bars by mouse, keyboard and touch, links, undo, explanation, export, accessibility.
//
// Bars are painted on a canvas. Their positions follow from the dates in the table beside them, and from the scale, which the chart
// states as `data-origin` and `data-pixels-per-day`.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { expect, importPlan, samplePlan, test } from "./fixtures.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const ganttRow = (page, name) => page.getByTestId("gantt-row").filter({ has: page.getByRole("link", { name, exact: true }) });
const message = (page) => page.getByTestId("gantt-message");

/** Opens the chart of a project and waits until it is loaded, computed and synchronized. */
async function openChart(page, project) {
  await page.goto(`/project/${project}?layout=gantt`);
  await expect(page.getByTestId("gantt-row").first()).toBeVisible();
  await expect(page.getByTestId("gantt-stored")).toHaveCount(0);
  // All bars of the plan are in view.
  await page.getByRole("button", { name: "Fit" }).click();
}

/** Returns start and finish of a task as the table states them, in minutes. */
async function dates(page, name) {
  const moments = await ganttRow(page, name).locator("time").evaluateAll((times) => times.map((time) => time.dateTime));
  const [start, finish] = moments.map((moment) => Date.parse(`${moment}Z`) / 60_000);
  return { start, finish, days: (finish - start) / 1440 };
}

/** Returns the box of a task's bar in the window. */
async function bar(page, name) {
  const { start, finish } = await dates(page, name);
  const row = await ganttRow(page, name).boundingBox();
  return page.getByTestId("gantt-canvas").evaluate((canvas, { start, finish, row }) => {
    const perMinute = Number(canvas.dataset.pixelsPerDay) / 1440;
    const origin = Date.parse(`${canvas.dataset.origin}Z`) / 60_000;
    const left = canvas.getBoundingClientRect().left - canvas.closest(".gantt-scroll").scrollLeft;
    const [x, end] = [start, finish].map((minute) => left + (minute - origin) * perMinute);
    return { x, end, y: row.y + row.height / 2, day: perMinute * 1440 };
  }, { start, finish, row });
}

async function drag(page, from, to, { release = true } = {}) {
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move((from.x + to.x) / 2, (from.y + to.y) / 2, { steps: 4 });
  await page.mouse.move(to.x, to.y, { steps: 4 });
  if (release) await page.mouse.up();
}

async function seriousViolations(page) {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const results = await window.axe.run(document, { resultTypes: ["violations"] });
    return results.violations.filter((v) => ["serious", "critical"].includes(v.impact)).flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(" ")}`));
  });
}

test("the chart is a layout of the plan with rows, painted bars and the same tasks", async ({ signInAs }) => {
  const { id } = await importPlan("editor", samplePlan, "Gantt layout");
  const page = await signInAs("editor");
  await page.goto(`/project/${id}`);
  await page.getByTestId("layout-switch").getByRole("link", { name: "Gantt" }).click();
  await expect(page).toHaveURL(/layout=gantt/);
  await expect(page.getByTestId("gantt-row").first()).toBeVisible();
  await page.reload();
  await expect(ganttRow(page, "Discovery")).toHaveAttribute("aria-expanded", "true");
  const painted = () => page.locator(".gantt-canvas canvas").first().evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 60, canvas.width, canvas.height - 60);
    return new Set(Array.from({ length: data.length / 400 }, (_, n) => `${data[n * 400]},${data[n * 400 + 1]},${data[n * 400 + 2]}`)).size;
  });
  await expect.poll(painted).toBeGreaterThan(4);
  await ganttRow(page, "Discovery").getByRole("button", { name: "Collapse" }).click();
  await expect(ganttRow(page, "Write the brief")).toHaveCount(0);
  await page.getByTestId("layout-switch").getByRole("link", { name: "Outline" }).click();
  await expect(page.locator("table.wbs tbody tr[data-id]").first()).toBeVisible();
  expect(page.problems).toEqual([]);
});

test("dragging a bar shows the cascade, moves the successors with one write, and Ctrl Z takes it back", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Gantt move");
  const page = await signInAs("editor");
  await openChart(page, id);
  await page.getByRole("button", { name: "Week", exact: true }).click();
  await ganttRow(page, "Write the brief").click();
  await page.keyboard.press("Space");
  const [before, successor] = [await dates(page, "Write the brief"), await dates(page, "Agree on goals and measures")];
  const box = await bar(page, "Write the brief");
  const middle = { x: (box.x + box.end) / 2, y: box.y };
  const writes = [];
  page.on("request", (request) => { if (["PATCH", "POST"].includes(request.method()) && request.url().includes("/api/v1/task")) writes.push(request.url()); });
  await drag(page, middle, { x: middle.x + box.day * 7, y: box.y }, { release: false });
  await expect(message(page)).toContainText(/Moves \d+ tasks?, finish/);
  await page.mouse.up();
  await expect.poll(async () => (await dates(page, "Write the brief")).start - before.start).toBe(7 * 1440);
  expect((await dates(page, "Agree on goals and measures")).start - successor.start).toBe(7 * 1440);
  await expect(page.getByTestId("sync")).toHaveText("Synced");
  expect(writes.length).toBe(1);
  expect(servers.sql(`select dl__constraint_type from app.task where project_id = '${id}' and name = 'Write the brief'`)).toBe("Start No Earlier Than");
  await page.keyboard.press("Control+z");
  await expect.poll(() => dates(page, "Write the brief")).toEqual(before);
  await expect.poll(() => dates(page, "Agree on goals and measures")).toEqual(successor);
  await page.keyboard.press("Control+Shift+Z");
  await expect.poll(async () => (await dates(page, "Write the brief")).start - before.start).toBe(7 * 1440);
  expect(page.problems).toEqual([]);
});

test("Esc gives up a drag without a write", async ({ signInAs }) => {
  const { id } = await importPlan("editor", samplePlan, "Gantt escape");
  const page = await signInAs("editor");
  await openChart(page, id);
  const before = await dates(page, "Sitemap");
  const box = await bar(page, "Sitemap");
  const middle = { x: (box.x + box.end) / 2, y: box.y };
  await drag(page, middle, { x: middle.x + box.day * 14, y: box.y }, { release: false });
  await expect(message(page)).toContainText("Moves");
  await page.keyboard.press("Escape");
  await expect(message(page)).toHaveText("");
  await page.mouse.up();
  expect(await dates(page, "Sitemap")).toEqual(before);
  await expect(page.getByTestId("sync")).toHaveText("Synced");
});

test("both ends of a bar can be dragged", async ({ signInAs }) => {
  const { id } = await importPlan("editor", samplePlan, "Gantt resize");
  const page = await signInAs("editor");
  await openChart(page, id);
  await page.getByRole("button", { name: "Day", exact: true }).click();
  await ganttRow(page, "Sitemap").click();
  await page.keyboard.press("Space");
  const before = await dates(page, "Sitemap");
  let box = await bar(page, "Sitemap");
  await drag(page, { x: box.end - 3, y: box.y - 4 }, { x: box.end - 3 + box.day * 7, y: box.y - 4 });
  await expect.poll(async () => (await dates(page, "Sitemap")).finish - before.finish).toBe(7 * 1440);
  expect((await dates(page, "Sitemap")).start).toBe(before.start);
  box = await bar(page, "Sitemap");
  await drag(page, { x: box.x + 3, y: box.y - 4 }, { x: box.x + 3 + box.day * 7, y: box.y - 4 });
  await expect.poll(async () => (await dates(page, "Sitemap")).start - before.start).toBe(7 * 1440);
});

test("a link is drawn from bar to bar, its type follows from the ends, and a ring is refused with its path", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Gantt links");
  const page = await signInAs("editor");
  await openChart(page, id);
  const count = () => Number(servers.sql(`select count(*) from app.task_dependency where project_id = '${id}' and active_flag`));
  const links = count();
  let [brief, inventory] = [await bar(page, "Write the brief"), await bar(page, "Content inventory")];
  // From the start to the start: SS.
  await page.mouse.move(brief.x + 2, brief.y);
  await drag(page, { x: brief.x - 9, y: brief.y }, { x: inventory.x + 2, y: inventory.y });
  await expect.poll(count).toBe(links + 1);
  const newest = `select dl__dependency_type from app.task_dependency where project_id = '${id}' order by created_ts desc limit 1`;
  expect(servers.sql(newest)).toBe("SS");
  // Backwards: the ring is named and nothing is written. A drag near an edge may have scrolled the chart.
  [brief, inventory] = [await bar(page, "Write the brief"), await bar(page, "Content inventory")];
  await drag(page, { x: inventory.end + 9, y: inventory.y }, { x: brief.x + 2, y: brief.y });
  await expect(message(page)).toContainText(/ring: .*→/);
  expect(count()).toBe(links + 1);
  expect(page.problems).toEqual([]);
});

test("the chart can be used with the keyboard alone", async ({ signInAs }) => {
  const { id } = await importPlan("editor", samplePlan, "Gantt keyboard");
  const page = await signInAs("editor");
  await openChart(page, id);
  const table = page.getByTestId("gantt-table");
  await table.focus();
  await page.keyboard.press("Home");
  await expect(ganttRow(page, "Discovery")).toHaveAttribute("aria-selected", "true");
  await page.keyboard.press("ArrowLeft");
  await expect(ganttRow(page, "Discovery")).toHaveAttribute("aria-expanded", "false");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await expect(ganttRow(page, "Write the brief")).toHaveAttribute("aria-selected", "true");
  await expect(table).toHaveAttribute("aria-activedescendant", /gantt-row-/);
  const before = await dates(page, "Write the brief");
  await page.keyboard.press("Alt+ArrowRight");
  await expect.poll(async () => (await dates(page, "Write the brief")).start - before.start).toBe(1440);
  await page.keyboard.press("Alt+Shift+ArrowRight");
  await expect.poll(async () => (await dates(page, "Write the brief")).start - before.start).toBe(8 * 1440);
  await page.keyboard.press("i");
  await expect(page.getByTestId("gantt-chain").locator("li").first()).toContainText("constraint");
  await page.keyboard.press("Escape");
  await expect(page.getByTestId("gantt-why")).toHaveCount(0);
  await page.keyboard.press("Control+z");
  await page.keyboard.press("Control+z");
  await expect.poll(() => dates(page, "Write the brief")).toEqual(before);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/task\//);
  expect(page.problems).toEqual([]);
});

test("zoom keeps the moment under the pointer, and only visible rows are in the document", async ({ signInAs }) => {
  const { id } = await importPlan("editor", samplePlan, "Gantt zoom");
  const page = await signInAs("editor");
  await openChart(page, id);
  const canvas = page.getByTestId("gantt-canvas");
  const at = (x) => canvas.evaluate((canvas, x) => {
    const scroller = canvas.closest(".gantt-scroll");
    const days = (scroller.scrollLeft + x - canvas.getBoundingClientRect().left) / Number(canvas.dataset.pixelsPerDay);
    return { days, zoom: Number(canvas.dataset.pixelsPerDay) };
  }, x);
  const box = await canvas.boundingBox();
  const x = box.x + box.width * 0.4;
  await page.mouse.move(x, box.y + 200);
  const before = await at(x);
  await page.keyboard.down("Control");
  await page.mouse.wheel(0, -300);
  await page.keyboard.up("Control");
  await expect.poll(async () => (await at(x)).zoom).toBeGreaterThan(before.zoom);
  const after = await at(x);
  expect(Math.abs(after.days - before.days)).toBeLessThan(1.5 / before.zoom);
  expect(await page.getByTestId("gantt-row").count()).toBeLessThan(50);
});

test("on a phone the chart scrolls and a tap opens the dates of a task", async ({ signInAs }) => {
  const { id } = await importPlan("editor", samplePlan, "Gantt phone");
  const page = await signInAs("editor", { viewport: { width: 390, height: 844 }, hasTouch: true });
  await page.goto(`/project/${id}?layout=gantt`);
  await expect(page.getByTestId("gantt-row").first()).toBeVisible();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  await ganttRow(page, "Sitemap").locator(".tree").tap({ position: { x: 60, y: 4 } });
  const sheet = page.getByTestId("gantt-sheet");
  await expect(sheet.getByLabel("Start")).toHaveValue("2026-09-24");
  await sheet.getByLabel("Start").fill("2026-10-01");
  await page.getByRole("button", { name: "Done" }).click();
  await expect(ganttRow(page, "Sitemap").locator("time").first()).toHaveAttribute("datetime", /^2026-10-01/);
  expect(page.problems).toEqual([]);
});

test("the chart passes axe, is printed in pages, and is saved as SVG and PNG", async ({ signInAs }) => {
  const { id } = await importPlan("editor", samplePlan, "Gantt <paper> & 'ink'");
  const page = await signInAs("editor");
  // Without transitions: axe must not measure intermediate colors.
  await page.emulateMedia({ reducedMotion: "reduce" });
  await openChart(page, id);
  for (const theme of ["light", "dark"]) {
    await page.evaluate((theme) => { document.documentElement.dataset.theme = theme; }, theme);
    expect(await seriousViolations(page)).toEqual([]);
  }
  const menu = page.getByRole("button", { name: "Print and export" });
  for (const [item, extension] of [["Save as SVG", "svg"], ["Save as PNG", "png"]]) {
    await menu.click();
    const download = page.waitForEvent("download");
    await page.getByRole("menuitem", { name: item }).click();
    const file = await download;
    expect(file.suggestedFilename()).toMatch(new RegExp(`\\.${extension}$`));
    const bytes = readFileSync(await file.path());
    expect(bytes.length).toBeGreaterThan(2_000);
    if (extension === "svg") {
      expect(String(bytes)).toContain("Gantt &lt;paper&gt; &amp; &#39;ink&#39;");
      expect(String(bytes)).not.toContain("<paper>");
    }
  }
  await page.evaluate(() => { window.print = () => { window.printed = document.querySelectorAll(".gantt-print > svg").length; }; });
  await menu.click();
  await page.getByRole("menuitem", { name: "Print…" }).click();
  await expect(page.getByTestId("gantt-pages")).toHaveText(/^\d+ pages?$/);
  await page.getByRole("dialog").getByRole("button", { name: "Print" }).click();
  expect(await page.evaluate(() => window.printed)).toBeGreaterThan(0);
  expect(page.problems).toEqual([]);
});
