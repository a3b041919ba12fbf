// The promises a person can see, on the release build, in two browsers.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, importPlan, open, row, samplePlan, share, test } from "./fixtures.mjs";
import { root } from "./servers.mjs";

const pictures = process.env.UPDATE_PICTURES ? join(root, "docs/pictures") : join(root, "e2e/results/pictures");

async function plan(service, name) {
  const made = await importPlan("editor", samplePlan, name);
  await share(service, made.token, "viewer", made.id, 1);
  return made;
}

test("a plan is imported in the browser and opens as an outline", async ({ as }) => {
  const page = await as("editor");
  await page.screenshot({ path: join(pictures, "projects.png") });
  await page.getByRole("button", { name: "Import" }).click();
  await page.locator("input[type=file]").setInputFiles(samplePlan);
  await expect(page.getByText("60 tasks, 8 milestones and 51 links")).toBeVisible();
  await page.getByRole("link", { name: "Open the plan" }).click();
  await expect(page.getByTestId("task-count")).toHaveText("60 tasks");
  await expect(row(page, "Write the brief")).toContainText("Completed");
  await expect(row(page, "Discovery")).toHaveAttribute("aria-expanded", "true");
  await page.screenshot({ path: join(pictures, "plan.png") });
  await row(page, "Discovery").getByRole("button", { name: "Collapse" }).click();
  await expect(row(page, "Write the brief")).toHaveCount(0);
  expect(page.problems).toEqual([]);
});

test("an edit by one appears with the other in under a second, with no reload", async ({ as, service }) => {
  const { id } = await plan(service, "Two browsers");
  const [editor, viewer] = [await as("editor"), await as("viewer")];
  await open(editor, id);
  await open(viewer, id);
  await viewer.evaluate(() => { window.__here = true; });
  await row(editor, "Interview ten customers").getByRole("button", { name: /Change stage/ }).click();
  const seen = viewer.evaluate(() => new Promise((done) => {
    const look = () => [...document.querySelectorAll("table.wbs tbody tr")].some((r) => r.innerText.includes("Interview ten customers") && r.innerText.includes("Blocked"));
    const watch = new MutationObserver(() => { if (look()) { watch.disconnect(); done(Date.now()); } });
    watch.observe(document.body, { subtree: true, childList: true, characterData: true });
  }));
  const clicked = Date.now();
  await editor.getByRole("option", { name: "Blocked" }).click();
  expect(await seen - clicked).toBeLessThan(1000);
  expect(await viewer.evaluate(() => window.__here)).toBe(true);
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  expect([...editor.problems, ...viewer.problems]).toEqual([]);
});

test("a new task appears in the other's open list, and a deleted one leaves it", async ({ as, service }) => {
  const { id } = await plan(service, "Come and go");
  const [editor, viewer] = [await as("editor"), await as("viewer")];
  await open(editor, id);
  await open(viewer, id);
  await editor.getByRole("button", { name: "Task", exact: true }).click();
  await editor.getByLabel("Name").fill("A task made just now");
  await editor.getByRole("button", { name: "Create" }).click();
  await expect(viewer.getByTestId("task-count")).toHaveText("61 tasks");
  await viewer.locator(".content").evaluate((e) => e.scrollTo(0, e.scrollHeight));
  await expect(row(viewer, "A task made just now")).toBeVisible();
  // What one makes comes into one's own view.
  await expect(row(editor, "A task made just now")).toBeInViewport();
  await editor.locator(".content").evaluate((e) => e.scrollTo(0, 0));
  await row(editor, "Tone of voice").getByRole("link").click();
  await editor.getByRole("button", { name: "Delete" }).click();
  await editor.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await viewer.locator(".content").evaluate((e) => e.scrollTo(0, 0));
  await expect(row(viewer, "Tone of voice")).toHaveCount(0);
  await expect(viewer.getByTestId("task-count")).toHaveText("60 tasks");
});

test("a person without a grant gets neither page nor push", async ({ as, service }) => {
  const { id } = await plan(service, "Secret");
  const outsider = await as("outsider");
  const frames = [];
  outsider.on("websocket", (socket) => socket.on("framereceived", (frame) => frames.push(String(frame.payload))));
  await outsider.goto(`/project/${id}`);
  await expect(outsider.getByTestId("nothing-here")).toBeVisible();
  await expect(outsider.getByTestId("sync")).toHaveText("Synced");
  await outsider.goto("/project");
  await expect(outsider.getByText(/^No \w+ yet$/)).toBeVisible();
  const [editor, viewer] = [await as("editor"), await as("viewer")];
  await open(editor, id);
  await open(viewer, id);
  await row(editor, "Sitemap").getByRole("button", { name: /Change stage/ }).click();
  await editor.getByRole("option", { name: "Blocked" }).click();
  await expect(row(viewer, "Sitemap")).toContainText("Blocked");
  // What another was told by now, the outsider was not.
  await expect(outsider.getByTestId("sync")).toHaveText("Synced");
  expect(frames.filter((f) => f.includes("INVALIDATE"))).toEqual([]);
  expect(frames.some((f) => f.includes(id))).toBe(false);
});

test("a grant that is taken back takes the plan off the screen and off the device", async ({ as, service }) => {
  const made = await importPlan("editor", samplePlan, "Lent");
  const grant = await share(service, made.token, "outsider", made.id, 0);
  const outsider = await as("outsider");
  await open(outsider, made.id);
  service.sql(`delete from app.entity_rbac where id = '${grant}'`);
  await expect(outsider.getByTestId("nothing-here")).toBeVisible();
  await expect.poll(() => outsider.evaluate(kept)).not.toContain("Interview ten customers");
});

/** Everything that IndexedDB holds, as one text. */
const kept = async () => {
  let text = "";
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise((done, failed) => { const r = indexedDB.open(name); r.onsuccess = () => done(r.result); r.onerror = failed; });
    for (const store of database.objectStoreNames) {
      const rows = await new Promise((done, failed) => { const r = database.transaction(store).objectStore(store).getAll(); r.onsuccess = () => done(r.result); r.onerror = failed; });
      text += rows.map((row) => (typeof row === "string" ? row : new TextDecoder().decode(row))).join("\n");
    }
    database.close();
  }
  return text;
};

test("with api and pubsub stopped a reload shows the plan, takes an edit, and sends it when they are back", async ({ as, service }) => {
  const { id } = await plan(service, "Offline");
  const editor = await as("editor");
  await open(editor, id);
  await editor.evaluate(() => navigator.serviceWorker.ready);
  await expect.poll(() => editor.evaluate(kept)).toContain("Interview ten customers");
  await service.stop();
  await editor.reload();
  await expect(row(editor, "Interview ten customers")).toBeVisible();
  await expect(editor.getByTestId("sync")).toContainText("Offline");
  await row(editor, "Sitemap").getByRole("button", { name: /Change stage/ }).click();
  await editor.getByRole("option", { name: "In Review" }).click();
  await expect(row(editor, "Sitemap")).toContainText("In Review");
  await expect(editor.getByTestId("sync")).toHaveText("Offline · 1 change saved on this device");
  await editor.screenshot({ path: join(pictures, "offline.png") });
  await editor.reload();
  await expect(row(editor, "Sitemap")).toContainText("In Review");
  // A task that was only ever a row of the plan opens and takes a change as well.
  await row(editor, "Tone of voice").getByRole("link").click();
  await expect(editor.getByLabel("Name")).toHaveValue("Tone of voice");
  await expect(editor.getByLabel("Name")).toBeEnabled();
  await editor.getByRole("textbox", { name: "Description" }).fill("Written on a train");
  await editor.getByRole("button", { name: /^Save Ctrl/ }).click();
  await expect(editor.getByTestId("sync")).toHaveText("Offline · 2 changes saved on this device");
  await service.start();
  await expect(editor.getByTestId("sync")).toHaveText("Synced", { timeout: 45_000 });
  expect(service.sql(`select dl__task_stage from app.task where project_id = '${id}' and name = 'Sitemap'`)).toBe("In Review");
  expect(service.sql(`select descr from app.task where project_id = '${id}' and name = 'Tone of voice'`)).toBe("Written on a train");
  expect(editor.problems).toEqual([]);
});

test("of two tabs one leads; an edit shows in both, and when the leader goes the other sends and hears", async ({ as, service }) => {
  const { id } = await plan(service, "Two tabs");
  const first = await as("editor");
  const sockets = [];
  const watch = (page, name) => page.on("websocket", (socket) => sockets.push([name, socket]));
  watch(first, "first");
  await open(first, id);
  const second = await first.context().newPage();
  watch(second, "second");
  await open(second, id);
  await expect(second.getByTestId("sync")).toHaveText("Synced");
  expect(sockets.some(([name]) => name === "second"), "the second tab needs no socket").toBe(false);
  await row(second, "Sitemap").getByRole("button", { name: /Change stage/ }).click();
  await second.getByRole("option", { name: "Blocked" }).click();
  await expect(row(first, "Sitemap")).toContainText("Blocked");
  await expect(second.getByTestId("sync")).toHaveText("Synced");
  // What somebody else does is heard in both.
  service.sql(`update app.task set name = 'Sitemap of the site' where name = 'Sitemap' and project_id = '${id}'`);
  await expect(row(first, "Sitemap of the site")).toBeVisible();
  await expect(row(second, "Sitemap of the site")).toBeVisible();
  await first.close();
  await row(second, "Sitemap of the site").getByRole("button", { name: /Change stage/ }).click();
  await second.getByRole("option", { name: "In Progress" }).click();
  await expect.poll(() => service.sql(`select dl__task_stage from app.task where name = 'Sitemap of the site' and project_id = '${id}'`)).toBe("In Progress");
  await expect.poll(() => sockets.some(([name]) => name === "second"), "it has the socket now").toBe(true);
  service.sql(`update app.task set name = 'Sitemap once more' where name = 'Sitemap of the site' and project_id = '${id}'`);
  await expect(row(second, "Sitemap once more")).toBeVisible();
});

test("where no socket opens, changes are asked for instead", async ({ as, service }) => {
  const { id } = await plan(service, "No socket");
  const editor = await as("editor");
  await editor.routeWebSocket(/ws/, (socket) => socket.close({ code: 1006 }));
  await open(editor, id);
  await expect(editor.getByTestId("sync")).toHaveText("Synced", { timeout: 30_000 });
  service.sql(`update app.task set name = 'Heard without a socket' where name = 'Sitemap' and project_id = '${id}'`);
  await expect(row(editor, "Heard without a socket")).toBeVisible({ timeout: 20_000 });
});

test("a draft survives a reload, undoes and redoes, and is saved", async ({ as, service }) => {
  const { id } = await plan(service, "Draft");
  const editor = await as("editor");
  await open(editor, id);
  await row(editor, "Write the brief").getByRole("link").click();
  await editor.getByLabel("Name", { exact: true }).fill("Write the long brief");
  await editor.getByLabel("Estimate").fill("120");
  await expect(editor.getByRole("region", { name: "Draft" })).toContainText("2 unsaved changes");
  await expect.poll(() => editor.evaluate(kept)).toContain("Write the long brief");
  await editor.screenshot({ path: join(pictures, "task.png") });
  await editor.reload();
  await expect(editor.getByLabel("Name", { exact: true })).toHaveValue("Write the long brief");
  await expect(editor.getByLabel("Estimate")).toHaveValue("120");
  await editor.getByRole("button", { name: "Undo" }).click();
  await expect(editor.getByRole("region", { name: "Draft" })).toContainText("1 unsaved change");
  await editor.getByRole("button", { name: "Redo" }).click();
  await editor.getByRole("button", { name: "Save" }).click();
  await expect(editor.getByRole("region", { name: "Draft" })).toHaveCount(0);
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  expect(service.sql(`select estimated_hours from app.task where project_id = '${id}' and name = 'Write the long brief'`)).toBe("120.00");
});

test("what two changed at once is put before a person with both values, field by field", async ({ as, service }) => {
  const { id } = await plan(service, "Both");
  const editor = await as("editor");
  await open(editor, id);
  await row(editor, "Sitemap").getByRole("link").click();
  await editor.getByLabel("Name", { exact: true }).fill("Map of the site");
  await editor.getByRole("textbox", { name: "Description" }).fill("Drawn by hand");
  await editor.getByLabel("Estimate").fill("8");
  service.sql(`update app.task set name = 'Site plan', descr = 'Drawn by a machine', dl__task_stage = 'Blocked' where project_id = '${id}' and name = 'Sitemap'`);
  await editor.getByRole("button", { name: "Save" }).click();
  await expect(editor.getByTestId("sync")).toContainText("Needs attention: 1 change");
  // The page of the thing says so, and a reload loses nothing of it.
  await editor.reload();
  await editor.getByRole("status").getByRole("button", { name: "Review" }).click();
  const dialog = editor.getByRole("dialog");
  await expect(dialog).toContainText("Merged by itself, from you: Estimate");
  const line = (name) => dialog.getByRole("row", { name });
  await expect(line(/^Name/)).toContainText("Map of the site");
  await expect(line(/^Name/)).toContainText("Site plan");
  await expect(line(/^Stage/), "what merged by itself is no question").toHaveCount(0);
  for (const [name, options] of [["desk", {}], ["dark", { colorScheme: "dark" }], ["phone", { viewport: { width: 390, height: 844 } }]]) {
    if (options.viewport) await editor.setViewportSize(options.viewport);
    await editor.emulateMedia({ colorScheme: options.colorScheme ?? "light" });
    await editor.screenshot({ path: join(pictures, `merge-${name}.png`) });
  }
  await editor.setViewportSize({ width: 1440, height: 900 });
  // Theirs for one, words of its own for the other.
  await line(/^Name/).getByRole("cell").nth(1).getByRole("radio").check();
  await line(/^Description/).getByRole("button", { name: "Edit text" }).click();
  await line(/^Description/).getByRole("textbox").fill("Drawn by both");
  await dialog.getByRole("button", { name: "Save result" }).click();
  await expect(dialog).toHaveCount(0);
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  expect(service.sql(`select name, descr, estimated_hours, dl__task_stage from app.task where project_id = '${id}' and name = 'Site plan'`)).toBe("Site plan|Drawn by both|8.00|Blocked");
});

test("a link made offline shows at once, outlives a reload, and is sent", async ({ as, service }) => {
  const name = "Linked plan";
  const { id } = await plan(service, name);
  const admin = await as("admin");
  const program = service.sql("insert into app.program (code, name) values ('LINK', 'Linked program') returning id");
  await admin.goto(`/project/${id}`);
  await expect(admin.locator("table.wbs tbody tr[data-id]").first()).toBeVisible();
  await admin.goto(`/program/${program}/project`);
  await expect(admin.getByText(/^No \w+ yet$/)).toBeVisible();
  await expect(admin.getByTestId("sync")).toHaveText("Synced");
  await service.stop();
  await admin.getByRole("button", { name: "Add project" }).click();
  await admin.getByPlaceholder("Type a name").fill(name);
  await admin.getByRole("button", { name, exact: true }).click();
  await expect(admin.getByRole("row", { name: new RegExp(name) })).toBeVisible();
  await admin.reload();
  await expect(admin.getByRole("row", { name: new RegExp(name) })).toBeVisible();
  await admin.screenshot({ path: join(pictures, "linked.png") });
  await service.start();
  await expect(admin.getByTestId("sync")).toHaveText("Synced", { timeout: 45_000 });
  expect(service.sql(`select child_id from app.entity_instance_link where parent_id = '${program}' and child_code = 'project'`)).toBe(id);
  await admin.getByRole("row", { name: new RegExp(name) }).getByRole("button", { name: "Take out" }).click();
  await expect(admin.getByText(/^No \w+ yet$/)).toBeVisible();
  await expect.poll(() => service.sql(`select count(*) from app.entity_instance_link where parent_id = '${program}' and child_code = 'project'`)).toBe("0");
});

test("a plan that is kept offline is there with all that hangs below it, though nobody has ever opened it", async ({ as, service }) => {
  const { id } = await plan(service, "Kept");
  const editor = await as("editor");
  await open(editor, id);
  const task = (name) => service.sql(`select id from app.task where project_id = '${id}' and name = '${name}'`);
  const say = (body, name) => service.sql(`insert into app.message (about_code, about_uuid, body) values ('task', '${task(name)}', '${body}')`);
  say("Said before", "Sitemap");
  const page = service.sql("insert into app.wiki (code, name) values ('NOTES', 'Notes of the kept plan') returning id");
  service.sql(`insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) values ('project', '${id}', 'wiki', '${page}', true)`);
  const keep = editor.getByTestId("keep");
  await expect(keep).toHaveAttribute("aria-label", /Keep offline/);
  await keep.click();
  await expect(keep).toHaveAttribute("aria-label", /Kept on this device with \d+ things/);
  const before = Number((await keep.getAttribute("aria-label")).match(/\d+/)[0]);
  expect(before).toBeGreaterThan(100);
  await editor.screenshot({ path: join(pictures, "kept.png") });
  // What is made deep inside comes to the device, with nobody looking.
  say("Said meanwhile", "Content inventory");
  await expect(keep).toHaveAttribute("aria-label", new RegExp(`with ${before + 1} things`));
  await expect.poll(() => editor.evaluate(kept)).toContain("Said meanwhile");
  await service.stop();
  await editor.goto(`/task/${task("Sitemap")}`);
  await expect(editor.getByText("Said before")).toBeVisible();
  await editor.goto(`/task/${task("Content inventory")}`);
  await expect(editor.getByText("Said meanwhile")).toBeVisible();
  await editor.goto(`/project/${id}`);
  await editor.getByRole("link", { name: "Dependencies" }).click();
  await expect(editor.locator("table tbody tr[data-id]").first()).toBeVisible();
  // What hangs there by a link alone is known as well, and that there is nothing of another type.
  await editor.getByRole("link", { name: "Wiki" }).last().click();
  await expect(editor.getByRole("row", { name: /Notes of the kept plan/ })).toBeVisible();
  await editor.getByRole("link", { name: "Artifacts" }).click();
  await expect(editor.getByText(/^No \w+ yet$/)).toBeVisible();
  await service.start();
  await editor.goto(`/project/${id}`);
  await expect(editor.getByTestId("sync")).toHaveText("Synced", { timeout: 45_000 });
  await expect(keep).toHaveAttribute("aria-pressed", "true");
  await keep.click();
  await expect(keep).toHaveAttribute("aria-pressed", "false");
});

test("whoever asks for the devtools sees what the engine does, and can take the network away", async ({ as, service }) => {
  const { id } = await plan(service, "Devtools");
  const editor = await as("editor");
  await open(editor, id);
  await editor.keyboard.press("Control+Alt+d");
  await expect(editor.getByTestId("devtools"), "not for those who did not ask").toHaveCount(0);
  await editor.goto(`/project/${id}?devtools`);
  await expect(row(editor, "Sitemap")).toBeVisible();
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  await editor.keyboard.press("Control+Alt+d");
  const tools = editor.getByTestId("devtools");
  await expect(tools.locator("pre")).toContainText(/This tab leads +yes/);
  await tools.getByLabel("Offline").check();
  await expect(editor.getByTestId("sync")).toHaveText("Offline");
  await row(editor, "Sitemap").getByRole("button", { name: /Change stage/ }).click();
  await editor.getByRole("option", { name: "Blocked" }).click();
  await expect(editor.getByTestId("sync")).toContainText("1 change saved on this device");
  await tools.getByRole("button", { name: /Outbox/ }).click();
  await expect(tools.locator("pre")).toContainText(/change of dl__task_stage on version \d+ +waits/);
  await editor.screenshot({ path: join(pictures, "devtools.png") });
  await tools.getByLabel("Offline").uncheck();
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  await tools.getByLabel("No socket").check();
  service.sql(`update app.task set name = 'Heard all the same' where name = 'Sitemap' and project_id = '${id}'`);
  await expect(row(editor, "Heard all the same")).toBeVisible({ timeout: 20_000 });
  await tools.getByLabel("No socket").uncheck();
  await tools.getByRole("button", { name: /Frames/ }).click();
  await expect(tools.locator("pre")).toContainText("HELLO");
  await tools.getByRole("button", { name: /Queries/ }).click();
  await expect(tools.locator("pre")).toContainText(/fresh/);
});

test("a part of the app that can't be fetched says so, and comes when it can be", async ({ as, service }) => {
  const admin = await as("admin", { serviceWorkers: "block" });
  const { id } = await importPlan("admin", samplePlan, "Fetched late");
  await admin.route("**/part-*.wasm", (route) => route.abort());
  await admin.goto(`/project/${id}`);
  await expect(admin.getByRole("heading", { name: "This part of the app is not on this device yet" })).toBeVisible();
  await admin.unroute("**/part-*.wasm");
  await expect(row(admin, "Sitemap")).toBeVisible();
  expect(admin.problems).toEqual([]);
});

test("signing out empties the database of that person", async ({ as, service }) => {
  const { id } = await plan(service, "Leave");
  const editor = await as("editor");
  await open(editor, id);
  await expect.poll(() => editor.evaluate(kept)).toContain("Interview ten customers");
  await editor.getByRole("button", { name: "Sign out" }).click();
  await expect(editor.getByLabel("Email")).toBeVisible();
  await expect.poll(() => editor.evaluate(kept)).toBe("");
  await editor.screenshot({ path: join(pictures, "sign-in.png") });
});

test("a wrong password is said in plain words, and the door stays shut", async ({ browser, service }) => {
  await service.start();
  const page = await browser.newPage({ baseURL: "http://localhost:4100" });
  await page.goto("/project");
  await page.getByLabel("Email").fill("editor@pmo.example");
  await page.getByLabel("Password", { exact: true }).fill("wrong");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("alert")).toHaveText("The address or the password is wrong.");
  await page.close();
});

test("a real release plan of 414 tasks draws only what is seen", async ({ as, service }) => {
  const fedora = join(root, "../shared/data/fedora-20.mspdi.xml");
  test.skip(!existsSync(fedora), "the Fedora plan is not on this machine");
  const made = await importPlan("editor", fedora, "Fedora 20");
  expect(made.report.taken).toMatchObject({ tasks: 414, links: 369, milestones: 223, summaries: 34 });
  const editor = await as("editor");
  await open(editor, made.id);
  await expect(editor.getByTestId("task-count")).toHaveText("414 tasks");
  const table = editor.locator("table.wbs");
  await expect(table).toHaveAttribute("aria-rowcount", "414");
  expect(await table.locator("tbody tr[data-id]").count()).toBeLessThan(70);
  await editor.locator(".content").evaluate((e) => e.scrollTo(0, e.scrollHeight));
  await expect(table.locator("tbody tr[data-id]").last()).toContainText("1.");
  expect(await table.locator("tbody tr[data-id]").count()).toBeLessThan(70);
});

test("a menu stays in the window, below a row and above the last one, and on a phone", async ({ as, service }) => {
  const { id } = await plan(service, "Menus");
  for (const options of [{}, { viewport: { width: 390, height: 844 }, hasTouch: true }]) {
    const page = await as("editor", options);
    await open(page, id);
    const rows = page.locator("table.wbs tbody tr[data-id]");
    for (const last of [false, true]) {
      if (last) await page.locator(".content").evaluate((e) => e.scrollTo(0, e.scrollHeight));
      const line = last ? row(page, "Project closed") : rows.nth(1);
      await line.getByRole("button", { name: /Change stage/ }).click();
      const menu = page.getByRole("listbox");
      await expect(menu).toBeVisible();
      const box = await menu.boundingBox(), size = page.viewportSize();
      expect(box.x >= 0 && box.y >= 0 && box.x + box.width <= size.width && box.y + box.height <= size.height, JSON.stringify(box)).toBe(true);
      await page.screenshot({ path: join(pictures, `menu-${options.viewport ? "phone" : "desk"}-${last ? "last" : "first"}.png`) });
      await page.getByRole("option", { name: last ? "In Review" : "Blocked" }).click();
      await expect(menu).toHaveCount(0);
      await expect(line).toContainText(last ? "In Review" : "Blocked");
    }
    await expect(page.getByTestId("sync")).toHaveText("Synced");
    expect(page.problems).toEqual([]);
  }
});

test("on a phone, and in the dark, the pages hold together", async ({ as, service }) => {
  const { id } = await plan(service, "Phone");
  for (const [name, colorScheme] of [["light", "light"], ["dark", "dark"]]) {
    const desktop = await as("editor", { colorScheme });
    await open(desktop, id);
    await desktop.screenshot({ path: join(pictures, `plan-${name}.png`) });
    const phone = await as("editor", { viewport: { width: 390, height: 844 }, colorScheme, hasTouch: true });
    await phone.goto(`/project/${id}`);
    await expect(phone.locator("table.wbs tbody tr[data-id]").first()).toBeVisible();
    await phone.screenshot({ path: join(pictures, `plan-phone-${name}.png`) });
    expect(await phone.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  }
});
