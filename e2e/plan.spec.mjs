// Plans in two browsers: live updates, offline work, drafts, conflicts, pinning, devtools.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, grantAccess, importPlan, openProject, row, samplePlan, test } from "./fixtures.mjs";
import { root } from "./servers.mjs";

const screenshots = process.env.UPDATE_PICTURES ? join(root, "docs/pictures") : join(root, "e2e/results/pictures");

async function importSharedPlan(servers, name) {
  const imported = await importPlan("editor", samplePlan, name);
  await grantAccess(servers, imported.token, "viewer", imported.id, 1);
  return imported;
}

test("an imported plan opens as an outline", async ({ signInAs }) => {
  const page = await signInAs("editor");
  await page.screenshot({ path: join(screenshots, "projects.png") });
  await page.getByRole("button", { name: "Import" }).click();
  await page.locator("input[type=file]").setInputFiles(samplePlan);
  await expect(page.getByText("60 tasks, 8 milestones and 51 dependencies")).toBeVisible();
  await page.getByRole("link", { name: "Open plan" }).click();
  await expect(page.getByTestId("task-count")).toHaveText("60 tasks");
  await expect(row(page, "Write the brief")).toContainText("Completed");
  await expect(row(page, "Discovery")).toHaveAttribute("aria-expanded", "true");
  await page.screenshot({ path: join(screenshots, "plan.png") });
  await row(page, "Discovery").getByRole("button", { name: "Collapse" }).click();
  await expect(row(page, "Write the brief")).toHaveCount(0);
  expect(page.problems).toEqual([]);
});

test("an edit appears in another browser within a second, without a reload", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Two browsers");
  const [editor, viewer] = [await signInAs("editor"), await signInAs("viewer")];
  await openProject(editor, id);
  await openProject(viewer, id);
  await viewer.evaluate(() => { window.__notReloaded = true; });
  await row(editor, "Interview ten customers").getByRole("button", { name: /Change stage/ }).click();
  const shownAt = viewer.evaluate(() => new Promise((resolve) => {
    const isShown = () => [...document.querySelectorAll("table.wbs tbody tr")].some((r) => r.innerText.includes("Interview ten customers") && r.innerText.includes("Blocked"));
    const observer = new MutationObserver(() => { if (isShown()) { observer.disconnect(); resolve(Date.now()); } });
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
  }));
  const clickedAt = Date.now();
  await editor.getByRole("option", { name: "Blocked" }).click();
  expect(await shownAt - clickedAt).toBeLessThan(1000);
  expect(await viewer.evaluate(() => window.__notReloaded)).toBe(true);
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  expect([...editor.problems, ...viewer.problems]).toEqual([]);
});

test("another user's open list shows a created task and removes a deleted one", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Come and go");
  const [editor, viewer] = [await signInAs("editor"), await signInAs("viewer")];
  await openProject(editor, id);
  await openProject(viewer, id);
  await editor.getByRole("button", { name: "Task", exact: true }).click();
  await editor.getByLabel("Name").fill("A task made just now");
  await editor.getByRole("button", { name: "Create", exact: true }).click();
  await expect(viewer.getByTestId("task-count")).toHaveText("61 tasks");
  await viewer.locator(".content").evaluate((e) => e.scrollTo(0, e.scrollHeight));
  await expect(row(viewer, "A task made just now")).toBeVisible();
  // The created task is scrolled into the creator's view.
  await expect(row(editor, "A task made just now")).toBeInViewport();
  await editor.locator(".content").evaluate((e) => e.scrollTo(0, 0));
  await row(editor, "Tone of voice").getByRole("link").click();
  await editor.getByRole("button", { name: "Delete" }).click();
  await editor.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await viewer.locator(".content").evaluate((e) => e.scrollTo(0, 0));
  await expect(row(viewer, "Tone of voice")).toHaveCount(0);
  await expect(viewer.getByTestId("task-count")).toHaveText("60 tasks");
});

test("a user without a grant gets neither the page nor push messages", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Secret");
  const outsider = await signInAs("outsider");
  const frames = [];
  outsider.on("websocket", (socket) => socket.on("framereceived", (frame) => frames.push(String(frame.payload))));
  await outsider.goto(`/project/${id}`);
  await expect(outsider.getByTestId("not-found")).toBeVisible();
  await expect(outsider.getByTestId("sync")).toHaveText("Synced");
  await outsider.goto("/project");
  await expect(outsider.getByText(/^No \w+ yet$/)).toBeVisible();
  const [editor, viewer] = [await signInAs("editor"), await signInAs("viewer")];
  await openProject(editor, id);
  await openProject(viewer, id);
  await row(editor, "Sitemap").getByRole("button", { name: /Change stage/ }).click();
  await editor.getByRole("option", { name: "Blocked" }).click();
  await expect(row(viewer, "Sitemap")).toContainText("Blocked");
  // The viewer has received the change; the outsider must not have received anything.
  await expect(outsider.getByTestId("sync")).toHaveText("Synced");
  expect(frames.filter((f) => f.includes("INVALIDATE"))).toEqual([]);
  expect(frames.some((f) => f.includes(id))).toBe(false);
});

test("revoking a grant removes the plan from the page and from IndexedDB", async ({ signInAs, servers }) => {
  const imported = await importPlan("editor", samplePlan, "Lent");
  const grant = await grantAccess(servers, imported.token, "outsider", imported.id, 0);
  const outsider = await signInAs("outsider");
  await openProject(outsider, imported.id);
  servers.sql(`delete from app.entity_rbac where id = '${grant}'`);
  await expect(outsider.getByTestId("not-found")).toBeVisible();
  await expect.poll(() => outsider.evaluate(indexedDbText)).not.toContain("Interview ten customers");
});

/** Returns the content of all IndexedDB databases as one text. */
const indexedDbText = async () => {
  let text = "";
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise((resolve, reject) => { const r = indexedDB.open(name); r.onsuccess = () => resolve(r.result); r.onerror = reject; });
    for (const store of database.objectStoreNames) {
      const rows = await new Promise((resolve, reject) => { const r = database.transaction(store).objectStore(store).getAll(); r.onsuccess = () => resolve(r.result); r.onerror = reject; });
      text += rows.map((row) => (typeof row === "string" ? row : new TextDecoder().decode(row))).join("\n");
    }
    database.close();
  }
  return text;
};

test("a plan can be reloaded and edited while the servers are down, and edits are sent after their restart", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Offline");
  const editor = await signInAs("editor");
  await openProject(editor, id);
  await editor.evaluate(() => navigator.serviceWorker.ready);
  await expect.poll(() => editor.evaluate(indexedDbText)).toContain("Interview ten customers");
  await servers.stop();
  await editor.reload();
  await expect(row(editor, "Interview ten customers")).toBeVisible();
  await expect(editor.getByTestId("sync")).toContainText("Offline");
  await row(editor, "Sitemap").getByRole("button", { name: /Change stage/ }).click();
  await editor.getByRole("option", { name: "In Review" }).click();
  await expect(row(editor, "Sitemap")).toContainText("In Review");
  await expect(editor.getByTestId("sync")).toHaveText("Offline · 1 change saved locally");
  await editor.screenshot({ path: join(screenshots, "offline.png") });
  await editor.reload();
  await expect(row(editor, "Sitemap")).toContainText("In Review");
  // A task that was only loaded as a row of the plan can be opened and edited as well.
  await row(editor, "Tone of voice").getByRole("link").click();
  await expect(editor.getByLabel("Name")).toHaveValue("Tone of voice");
  await expect(editor.getByLabel("Name")).toBeEnabled();
  await editor.getByRole("textbox", { name: "Description" }).fill("Written on a train");
  await editor.getByRole("button", { name: /^Save Ctrl/ }).click();
  await expect(editor.getByTestId("sync")).toHaveText("Offline · 2 changes saved locally");
  await servers.start();
  await expect(editor.getByTestId("sync")).toHaveText("Synced", { timeout: 45_000 });
  expect(servers.sql(`select dl__task_stage from app.task where project_id = '${id}' and name = 'Sitemap'`)).toBe("In Review");
  expect(servers.sql(`select descr from app.task where project_id = '${id}' and name = 'Tone of voice'`)).toBe("Written on a train");
  expect(editor.problems).toEqual([]);
});

test("one of two tabs is the leader, edits appear in both, and the other tab takes over", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Two tabs");
  const first = await signInAs("editor");
  const sockets = [];
  const recordSockets = (page, name) => page.on("websocket", (socket) => sockets.push([name, socket]));
  recordSockets(first, "first");
  await openProject(first, id);
  const second = await first.context().newPage();
  recordSockets(second, "second");
  await openProject(second, id);
  await expect(second.getByTestId("sync")).toHaveText("Synced");
  expect(sockets.some(([name]) => name === "second"), "the second tab opens no socket").toBe(false);
  await row(second, "Sitemap").getByRole("button", { name: /Change stage/ }).click();
  await second.getByRole("option", { name: "Blocked" }).click();
  await expect(row(first, "Sitemap")).toContainText("Blocked");
  await expect(second.getByTestId("sync")).toHaveText("Synced");
  // Changes by others appear in both tabs.
  servers.sql(`update app.task set name = 'Sitemap of the site' where name = 'Sitemap' and project_id = '${id}'`);
  await expect(row(first, "Sitemap of the site")).toBeVisible();
  await expect(row(second, "Sitemap of the site")).toBeVisible();
  await first.close();
  await row(second, "Sitemap of the site").getByRole("button", { name: /Change stage/ }).click();
  await second.getByRole("option", { name: "In Progress" }).click();
  await expect.poll(() => servers.sql(`select dl__task_stage from app.task where name = 'Sitemap of the site' and project_id = '${id}'`)).toBe("In Progress");
  await expect.poll(() => sockets.some(([name]) => name === "second"), "the second tab has opened a socket").toBe(true);
  servers.sql(`update app.task set name = 'Sitemap once more' where name = 'Sitemap of the site' and project_id = '${id}'`);
  await expect(row(second, "Sitemap once more")).toBeVisible();
});

test("the client polls for changes if no WebSocket can be opened", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "No socket");
  const editor = await signInAs("editor");
  await editor.routeWebSocket(/ws/, (socket) => socket.close({ code: 1006 }));
  await openProject(editor, id);
  await expect(editor.getByTestId("sync")).toHaveText("Synced", { timeout: 30_000 });
  servers.sql(`update app.task set name = 'Heard without a socket' where name = 'Sitemap' and project_id = '${id}'`);
  await expect(row(editor, "Heard without a socket")).toBeVisible({ timeout: 20_000 });
});

test("a draft survives a reload, supports undo and redo, and can be saved", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Draft");
  const editor = await signInAs("editor");
  await openProject(editor, id);
  await row(editor, "Write the brief").getByRole("link").click();
  await editor.getByLabel("Name", { exact: true }).fill("Write the long brief");
  await editor.getByLabel("Estimate").fill("120");
  await expect(editor.getByRole("region", { name: "Draft" })).toContainText("2 unsaved changes");
  await expect.poll(() => editor.evaluate(indexedDbText)).toContain("Write the long brief");
  await editor.screenshot({ path: join(screenshots, "task.png") });
  await editor.reload();
  await expect(editor.getByLabel("Name", { exact: true })).toHaveValue("Write the long brief");
  await expect(editor.getByLabel("Estimate")).toHaveValue("120");
  await editor.getByRole("button", { name: "Undo" }).click();
  await expect(editor.getByRole("region", { name: "Draft" })).toContainText("1 unsaved change");
  await editor.getByRole("button", { name: "Redo" }).click();
  await editor.getByRole("button", { name: "Save" }).click();
  await expect(editor.getByRole("region", { name: "Draft" })).toHaveCount(0);
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  expect(servers.sql(`select estimated_hours from app.task where project_id = '${id}' and name = 'Write the long brief'`)).toBe("120.00");
});

test("a conflict is shown with both values and resolved field by field", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Both");
  const editor = await signInAs("editor");
  await openProject(editor, id);
  await row(editor, "Sitemap").getByRole("link").click();
  await editor.getByLabel("Name", { exact: true }).fill("Map of the site");
  await editor.getByRole("textbox", { name: "Description" }).fill("Drawn by hand");
  await editor.getByLabel("Estimate").fill("8");
  servers.sql(`update app.task set name = 'Site plan', descr = 'Drawn by a machine', dl__task_stage = 'Blocked' where project_id = '${id}' and name = 'Sitemap'`);
  await editor.getByRole("button", { name: "Save" }).click();
  await expect(editor.getByTestId("sync")).toContainText("Needs attention: 1 change");
  // The page of the task shows the conflict, also after a reload.
  await editor.reload();
  await editor.getByRole("status").getByRole("button", { name: "Review" }).click();
  const dialog = editor.getByRole("dialog");
  await expect(dialog).toContainText("Auto-merged, your change: Estimate");
  const fieldRow = (name) => dialog.getByRole("row", { name });
  await expect(fieldRow(/^Name/)).toContainText("Map of the site");
  await expect(fieldRow(/^Name/)).toContainText("Site plan");
  await expect(fieldRow(/^Stage/), "automatically merged fields need no decision").toHaveCount(0);
  for (const [name, options] of [["desk", {}], ["dark", { colorScheme: "dark" }], ["phone", { viewport: { width: 390, height: 844 } }]]) {
    if (options.viewport) await editor.setViewportSize(options.viewport);
    await editor.emulateMedia({ colorScheme: options.colorScheme ?? "light" });
    await editor.screenshot({ path: join(screenshots, `merge-${name}.png`) });
  }
  await editor.setViewportSize({ width: 1440, height: 900 });
  // Take their name, and write a new description.
  await fieldRow(/^Name/).getByRole("cell").nth(1).getByRole("radio").check();
  await fieldRow(/^Description/).getByRole("button", { name: "Edit text" }).click();
  await fieldRow(/^Description/).getByRole("textbox").fill("Drawn by both");
  await dialog.getByRole("button", { name: "Save result" }).click();
  await expect(dialog).toHaveCount(0);
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  expect(servers.sql(`select name, descr, estimated_hours, dl__task_stage from app.task where project_id = '${id}' and name = 'Site plan'`)).toBe("Site plan|Drawn by both|8.00|Blocked");
});

test("a link created offline appears immediately, survives a reload and is sent later", async ({ signInAs, servers }) => {
  const name = "Linked plan";
  const { id } = await importSharedPlan(servers, name);
  const admin = await signInAs("admin");
  const program = servers.sql("insert into app.program (code, name) values ('LINK', 'Linked program') returning id");
  await admin.goto(`/project/${id}`);
  await expect(admin.locator("table.wbs tbody tr[data-id]").first()).toBeVisible();
  await admin.goto(`/program/${program}/project`);
  await expect(admin.getByText(/^No \w+ yet$/)).toBeVisible();
  await expect(admin.getByTestId("sync")).toHaveText("Synced");
  await servers.stop();
  await admin.getByRole("button", { name: "Add project" }).click();
  await admin.getByPlaceholder("Type a name").fill(name);
  await admin.getByRole("button", { name, exact: true }).click();
  await expect(admin.getByRole("row", { name: new RegExp(name) })).toBeVisible();
  await admin.reload();
  await expect(admin.getByRole("row", { name: new RegExp(name) })).toBeVisible();
  await admin.screenshot({ path: join(screenshots, "linked.png") });
  await servers.start();
  await expect(admin.getByTestId("sync")).toHaveText("Synced", { timeout: 45_000 });
  expect(servers.sql(`select child_id from app.entity_instance_link where parent_id = '${program}' and child_code = 'project'`)).toBe(id);
  await admin.getByRole("row", { name: new RegExp(name) }).getByRole("button", { name: "Remove link" }).click();
  await expect(admin.getByText(/^No \w+ yet$/)).toBeVisible();
  await expect.poll(() => servers.sql(`select count(*) from app.entity_instance_link where parent_id = '${program}' and child_code = 'project'`)).toBe("0");
});

test("a pinned plan is available offline with all its descendants, including pages never opened before", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Pinned plan");
  const editor = await signInAs("editor");
  await openProject(editor, id);
  const taskId = (name) => servers.sql(`select id from app.task where project_id = '${id}' and name = '${name}'`);
  const insertComment = (body, name) => servers.sql(`insert into app.message (target_code, target_id, body) values ('task', '${taskId(name)}', '${body}')`);
  insertComment("Said before", "Sitemap");
  const wikiPage = servers.sql("insert into app.wiki (code, name) values ('NOTES', 'Notes of the pinned plan') returning id");
  servers.sql(`insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) values ('project', '${id}', 'wiki', '${wikiPage}', true)`);
  const pinButton = editor.getByTestId("offline-button");
  await expect(pinButton).toHaveAttribute("aria-label", /Make available offline/);
  await pinButton.click();
  await expect(pinButton).toHaveAttribute("aria-label", /Available offline \(\d+ items\)/);
  const pinnedCount = Number((await pinButton.getAttribute("aria-label")).match(/\d+/)[0]);
  expect(pinnedCount).toBeGreaterThan(100);
  await editor.screenshot({ path: join(screenshots, "pinned.png") });
  // A comment on a nested task is downloaded without an open page.
  insertComment("Said meanwhile", "Content inventory");
  await expect(pinButton).toHaveAttribute("aria-label", new RegExp(`\\(${pinnedCount + 1} items\\)`));
  await expect.poll(() => editor.evaluate(indexedDbText)).toContain("Said meanwhile");
  await servers.stop();
  await editor.goto(`/task/${taskId("Sitemap")}`);
  await expect(editor.getByText("Said before")).toBeVisible();
  await editor.goto(`/task/${taskId("Content inventory")}`);
  await expect(editor.getByText("Said meanwhile")).toBeVisible();
  await editor.goto(`/project/${id}`);
  await editor.getByRole("link", { name: "Dependencies" }).click();
  await expect(editor.locator("table tbody tr[data-id]").first()).toBeVisible();
  // Linked entities are available as well, and the client knows which types are empty.
  await editor.getByRole("link", { name: "Wiki" }).last().click();
  await expect(editor.getByRole("row", { name: /Notes of the pinned plan/ })).toBeVisible();
  await editor.getByRole("link", { name: "Artifacts" }).click();
  await expect(editor.getByText(/^No \w+ yet$/)).toBeVisible();
  await servers.start();
  await editor.goto(`/project/${id}`);
  await expect(editor.getByTestId("sync")).toHaveText("Synced", { timeout: 45_000 });
  await expect(pinButton).toHaveAttribute("aria-pressed", "true");
  await pinButton.click();
  await expect(pinButton).toHaveAttribute("aria-pressed", "false");
});

test("the devtools show the state of the engine and simulate a lost network", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Devtools");
  const editor = await signInAs("editor");
  await openProject(editor, id);
  await editor.keyboard.press("Control+Alt+d");
  await expect(editor.getByTestId("devtools"), "hidden without ?devtools").toHaveCount(0);
  await editor.goto(`/project/${id}?devtools`);
  await expect(row(editor, "Sitemap")).toBeVisible();
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  await editor.keyboard.press("Control+Alt+d");
  const devtools = editor.getByTestId("devtools");
  await expect(devtools.locator("pre")).toContainText(/Leader +yes/);
  await devtools.getByLabel("Offline").check();
  await expect(editor.getByTestId("sync")).toHaveText("Offline");
  await row(editor, "Sitemap").getByRole("button", { name: /Change stage/ }).click();
  await editor.getByRole("option", { name: "Blocked" }).click();
  await expect(editor.getByTestId("sync")).toContainText("1 change saved locally");
  await devtools.getByRole("button", { name: /Outbox/ }).click();
  await expect(devtools.locator("pre")).toContainText(/update of dl__task_stage on version \d+ +pending/);
  await editor.screenshot({ path: join(screenshots, "devtools.png") });
  await devtools.getByLabel("Offline").uncheck();
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  await devtools.getByLabel("No socket").check();
  servers.sql(`update app.task set name = 'Heard all the same' where name = 'Sitemap' and project_id = '${id}'`);
  await expect(row(editor, "Heard all the same")).toBeVisible({ timeout: 20_000 });
  await devtools.getByLabel("No socket").uncheck();
  await devtools.getByRole("button", { name: /Frames/ }).click();
  await expect(devtools.locator("pre")).toContainText("HELLO");
  await devtools.getByRole("button", { name: /Queries/ }).click();
  await expect(devtools.locator("pre")).toContainText(/fresh/);
});

test("a code-split part that fails to load shows a message and loads when it becomes available", async ({ signInAs, servers }) => {
  const admin = await signInAs("admin", { serviceWorkers: "block" });
  const { id } = await importPlan("admin", samplePlan, "Fetched late");
  await admin.route("**/part-*.wasm", (route) => route.abort());
  await admin.goto(`/project/${id}`);
  await expect(admin.getByRole("heading", { name: "This page is not cached yet; connect to load it" })).toBeVisible();
  await admin.unroute("**/part-*.wasm");
  await expect(row(admin, "Sitemap")).toBeVisible();
  expect(admin.problems).toEqual([]);
});

test("signing out deletes the local data of the user", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Leave");
  const editor = await signInAs("editor");
  await openProject(editor, id);
  await expect.poll(() => editor.evaluate(indexedDbText)).toContain("Interview ten customers");
  await editor.getByRole("button", { name: "Sign out" }).click();
  await expect(editor.getByLabel("Email")).toBeVisible();
  await expect.poll(() => editor.evaluate(indexedDbText)).toBe("");
  await editor.screenshot({ path: join(screenshots, "sign-in.png") });
});

test("a wrong password shows an error and does not sign in", async ({ browser, servers }) => {
  await servers.start();
  const page = await browser.newPage({ baseURL: "http://localhost:4100" });
  await page.goto("/project");
  await page.getByLabel("Email").fill("editor@pmo.example");
  await page.getByLabel("Password", { exact: true }).fill("wrong");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("alert")).toHaveText("Wrong email address or password.");
  await page.close();
});

test("a plan of 414 tasks renders only the visible rows", async ({ signInAs, servers }) => {
  const fedora = join(root, "../shared/data/fedora-20.mspdi.xml");
  test.skip(!existsSync(fedora), "the Fedora plan is not available");
  const imported = await importPlan("editor", fedora, "Fedora 20");
  expect(imported.report.imported).toMatchObject({ tasks: 414, links: 369, milestones: 223, summaries: 34 });
  const editor = await signInAs("editor");
  await openProject(editor, imported.id);
  await expect(editor.getByTestId("task-count")).toHaveText("414 tasks");
  const table = editor.locator("table.wbs");
  await expect(table).toHaveAttribute("aria-rowcount", "414");
  expect(await table.locator("tbody tr[data-id]").count()).toBeLessThan(70);
  await editor.locator(".content").evaluate((e) => e.scrollTo(0, e.scrollHeight));
  await expect(table.locator("tbody tr[data-id]").last()).toContainText("1.");
  expect(await table.locator("tbody tr[data-id]").count()).toBeLessThan(70);
});

test("menus stay inside the viewport at the first and the last row, on desktop and phone", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Menus");
  for (const options of [{}, { viewport: { width: 390, height: 844 }, hasTouch: true }]) {
    const page = await signInAs("editor", options);
    await openProject(page, id);
    const rows = page.locator("table.wbs tbody tr[data-id]");
    for (const last of [false, true]) {
      if (last) await page.locator(".content").evaluate((e) => e.scrollTo(0, e.scrollHeight));
      const taskRow = last ? row(page, "Project closed") : rows.nth(1);
      await taskRow.getByRole("button", { name: /Change stage/ }).click();
      const menu = page.getByRole("listbox");
      await expect(menu).toBeVisible();
      const box = await menu.boundingBox(), size = page.viewportSize();
      expect(box.x >= 0 && box.y >= 0 && box.x + box.width <= size.width && box.y + box.height <= size.height, JSON.stringify(box)).toBe(true);
      await page.screenshot({ path: join(screenshots, `menu-${options.viewport ? "phone" : "desk"}-${last ? "last" : "first"}.png`) });
      await page.getByRole("option", { name: last ? "In Review" : "Blocked" }).click();
      await expect(menu).toHaveCount(0);
      await expect(taskRow).toContainText(last ? "In Review" : "Blocked");
    }
    await expect(page.getByTestId("sync")).toHaveText("Synced");
    expect(page.problems).toEqual([]);
  }
});

test("plan pages fit a phone viewport in the light and the dark theme", async ({ signInAs, servers }) => {
  const { id } = await importSharedPlan(servers, "Phone");
  for (const [name, colorScheme] of [["light", "light"], ["dark", "dark"]]) {
    const desktop = await signInAs("editor", { colorScheme });
    await openProject(desktop, id);
    await desktop.screenshot({ path: join(screenshots, `plan-${name}.png`) });
    const phone = await signInAs("editor", { viewport: { width: 390, height: 844 }, colorScheme, hasTouch: true });
    await phone.goto(`/project/${id}`);
    await expect(phone.locator("table.wbs tbody tr[data-id]").first()).toBeVisible();
    await phone.screenshot({ path: join(screenshots, `plan-phone-${name}.png`) });
    expect(await phone.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  }
});
