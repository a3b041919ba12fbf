// Writes and pages that fail: rejected changes, deleted entities, invalid input, missing permission,
// uncached pages. The page shows the reason, and input is never lost.
import { join } from "node:path";
import { expect, grantAccess, importPlan, openProject, row, samplePlan, test } from "./fixtures.mjs";
import { root } from "./servers.mjs";

const screenshots = process.env.UPDATE_PICTURES ? join(root, "docs/pictures") : join(root, "e2e/results/pictures");
const saveButton = (page) => page.getByRole("button", { name: /^Save Ctrl/ });
const taskId = (servers, project, name) => servers.sql(`select id from app.task where project_id = '${project}' and name = '${name}'`);

test("unsent edits of a deleted entity stay visible until the user discards them", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Gone");
  const editor = await signInAs("editor");
  await editor.goto(`/task/${taskId(servers, id, "Sitemap")}`);
  await expect(editor.getByLabel("Name", { exact: true })).toHaveValue("Sitemap");
  await editor.evaluate(() => navigator.serviceWorker.ready);
  await servers.stop();
  await editor.getByRole("textbox", { name: "Description" }).fill("A page of thoughts");
  await saveButton(editor).click();
  await expect(editor.getByTestId("sync")).toContainText("Offline · 1 change");
  servers.sql(`update app.task set active_flag = false where project_id = '${id}' and name = 'Sitemap'`);
  await servers.start();
  await expect(editor.getByTestId("sync")).toHaveText("Needs attention: 1 change", { timeout: 45_000 });
  await expect(editor.getByTestId("not-found")).toContainText("Not found");
  await expect(editor.getByTestId("orphaned-edits")).toContainText("A page of thoughts");
  for (const [name, size] of [["phone", { width: 390, height: 844 }], ["desk", { width: 1440, height: 900 }]]) {
    await editor.setViewportSize(size);
    await editor.screenshot({ path: join(screenshots, `gone-${name}.png`) });
  }
  await editor.getByTestId("orphaned-edits").getByRole("button", { name: "Review" }).click();
  const dialog = editor.getByRole("dialog");
  await expect(dialog).toContainText("A page of thoughts");
  await expect(dialog.getByRole("link", { name: "Edit" }), "a draft of a deleted entity cannot be edited").toHaveCount(0);
  await editor.screenshot({ path: join(screenshots, "gone-tray.png") });
  await dialog.getByRole("button", { name: "Discard" }).click();
  await editor.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  expect(editor.problems).toEqual([]);
});

test("discarding an unsent entity also discards its unsent children", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Never made");
  const editor = await signInAs("editor");
  await openProject(editor, id);
  await editor.evaluate(() => navigator.serviceWorker.ready);
  await servers.stop();
  await editor.getByRole("button", { name: "Task", exact: true }).click();
  await editor.getByLabel("Name", { exact: true }).fill("A bad idea");
  await editor.getByRole("button", { name: "Create", exact: true }).click();
  await row(editor, "A bad idea").getByRole("link").click();
  await expect(editor.getByRole("heading", { level: 1 })).toHaveText("New");
  await editor.getByRole("button", { name: "Add" }).click();
  await editor.getByRole("dialog").getByLabel("Name").fill("A part of it");
  await editor.getByRole("button", { name: "Create", exact: true }).click();
  await expect(editor.getByRole("link", { name: "A part of it" })).toBeVisible();
  await expect(editor.getByTestId("sync")).toContainText("2 changes");
  await editor.getByTestId("sync").click();
  const entry = editor.getByRole("dialog").getByRole("listitem").filter({ hasText: "A bad idea" });
  await expect(entry).toContainText("discarding it also discards 1 more");
  await entry.getByRole("button", { name: "Discard" }).click();
  await expect(editor.getByRole("dialog")).toContainText("No pending changes");
  await servers.start();
  await editor.keyboard.press("Escape");
  await editor.getByRole("button", { name: "Try now" }).click();
  await expect(editor.getByTestId("sync")).toHaveText("Synced", { timeout: 45_000 });
  expect(servers.sql(`select count(*) from app.task where project_id = '${id}' and name in ('A bad idea', 'A part of it')`)).toBe("0");
});

test("after a deep link, pickers offer the tasks of the plan, and breadcrumbs are shown", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Choices");
  await importPlan("editor", samplePlan, "Another plan");
  const editor = await signInAs("editor");
  await editor.goto(`/task/${taskId(servers, id, "Sitemap")}`);
  await expect(editor.getByRole("navigation", { name: "Breadcrumb" }).getByRole("link", { name: "Choices" })).toBeVisible();
  const [project, parent] = ["Project", "Parent task"].map((name) => editor.getByRole("button", { name, exact: true }));
  await expect(project).toHaveText("Choices");
  const before = await parent.textContent();
  const combobox = (name) => editor.getByRole("combobox", { name, exact: true });
  await project.click();
  await combobox("Project").fill("another plan");
  await expect(editor.getByRole("option", { name: "Another plan" })).toHaveCount(1);
  await editor.keyboard.press("Escape");
  await parent.click();
  await expect(editor.getByRole("option", { name: "Interview ten customers" })).toHaveCount(1);
  await expect(editor.getByRole("option"), "the tasks of the plan without the task itself, plus the empty choice").toHaveCount(60);
  await expect(editor.getByRole("option", { name: "Sitemap", exact: true })).toHaveCount(0);
  await editor.keyboard.press("Escape");
  expect([await project.textContent(), await parent.textContent()], "Escape keeps the selection").toEqual(["Choices", before]);
  await parent.click();
  await combobox("Parent task").fill("discov");
  await editor.keyboard.press("Enter");
  await saveButton(editor).click();
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  await expect.poll(() => servers.sql(`select p.name from app.task t join app.task p on p.id = t.parent__task_id where t.project_id = '${id}' and t.name = 'Sitemap'`)).toBe("Discovery");
});

test("invalid values show an error at their field and block saving", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Wrong");
  const editor = await signInAs("editor");
  await editor.goto(`/task/${taskId(servers, id, "Sitemap")}`);
  const estimate = editor.getByLabel("Estimate");
  await estimate.fill("3,5");
  for (const invalid of ["abc", "1e400", "99999999999999"]) {
    await estimate.fill(invalid);
    await expect(editor.getByRole("alert")).toContainText("must");
    await expect(editor.getByRole("region", { name: "Draft" })).toContainText("Invalid fields: Estimate");
    await expect(saveButton(editor)).toBeDisabled();
    await editor.keyboard.press("Control+s");
  }
  await estimate.fill("4");
  await expect(editor.getByRole("alert")).toHaveCount(0);
  await editor.getByLabel("Name", { exact: true }).fill(" ");
  await expect(editor.getByRole("alert")).toHaveText("Name is required");
  await editor.screenshot({ path: join(screenshots, "wrong.png") });
  await editor.getByLabel("Name", { exact: true }).fill("Map");
  await saveButton(editor).click();
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  await expect.poll(() => servers.sql(`select name, estimated_hours from app.task where project_id = '${id}' and name = 'Map'`)).toBe("Map|4.00");
});

test("create and import buttons are shown only to users with permission", async ({ signInAs, servers }) => {
  const { id, token } = await importPlan("editor", samplePlan, "Looked at");
  await grantAccess(servers, token, "viewer", id, 0);
  const [admin, viewer] = [await signInAs("admin"), await signInAs("viewer")];
  for (const [page, buttonCount] of [[admin, 1], [viewer, 0]]) {
    await page.goto("/project");
    await expect(page.getByRole("row", { name: /Looked at/ })).toHaveCount(buttonCount === 1 ? await page.getByRole("row", { name: /Looked at/ }).count() : 1);
    await expect(page.getByRole("button", { name: "New project" })).toHaveCount(buttonCount);
    await expect(page.getByRole("button", { name: "Import" })).toHaveCount(buttonCount);
  }
  await viewer.goto(`/project/${id}/risk`);
  await expect(viewer.getByText(/^No \w+ yet$/)).toBeVisible();
  await expect(viewer.getByRole("button", { name: "Risk" })).toHaveCount(0);
});

test("offline, a page that is not cached says so instead of reporting that it does not exist", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Unseen");
  const editor = await signInAs("editor");
  await editor.evaluate(() => navigator.serviceWorker.ready);
  const path = `/risk/00000000-0000-7000-8000-000000000001`;
  await servers.stop();
  await editor.goto(path);
  await expect(editor.getByTestId("not-found")).toContainText("Not available offline");
  await editor.goto("/employee");
  await expect(editor.getByText("This list could not be loaded")).toBeVisible();
  await editor.goto(`/project/${id}/wiki`);
  await expect(editor.getByText("This list could not be loaded")).toBeVisible();
  await editor.screenshot({ path: join(screenshots, "unseen.png") });
  await servers.start();
  await editor.getByRole("button", { name: "Try now" }).click();
  await expect(editor.getByText(/^No \w+ yet$/)).toBeVisible({ timeout: 45_000 });
  await editor.goto(path);
  await expect(editor.getByTestId("not-found")).toContainText("Not found");
});

test("a browser without IndexedDB shows that nothing is stored on the device", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "No local storage");
  const editor = await signInAs("editor");
  await editor.context().addInitScript(() => { Object.defineProperty(window, "indexedDB", { value: undefined }); });
  await editor.goto(`/task/${taskId(servers, id, "Sitemap")}`);
  await expect(editor.getByText("Local storage unavailable.")).toBeVisible();
  await editor.getByRole("textbox", { name: "Description" }).fill("For now");
  await expect(editor.getByRole("region", { name: "Draft" })).toContainText("in this tab only");
  await expect(editor.getByText("saved locally", { exact: false })).toHaveCount(0);
  await expect(editor.getByTestId("offline-button")).toBeHidden();
  await saveButton(editor).click();
  await expect.poll(() => servers.sql(`select descr from app.task where project_id = '${id}' and name = 'Sitemap'`)).toBe("For now");
});

test("a draft warns about a concurrent change, and the list of unsent changes links to it", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Overtaken");
  const editor = await signInAs("editor");
  await editor.goto(`/task/${taskId(servers, id, "Sitemap")}`);
  await editor.getByLabel("Estimate").fill("7");
  const draft = editor.getByRole("region", { name: "Draft" });
  await expect(draft).toContainText("Estimate · saved locally");
  servers.sql(`update app.task set estimated_hours = 9 where project_id = '${id}' and name = 'Sitemap'`);
  await expect(draft).toContainText("Another user changed Estimate");
  await openProject(editor, id);
  await editor.getByTestId("sync").click();
  await editor.screenshot({ path: join(screenshots, "drafts.png") });
  await editor.getByRole("dialog").getByRole("link", { name: "Sitemap" }).click();
  await expect(draft).toContainText("1 unsaved change");
  await editor.getByRole("button", { name: "Discard" }).click();
  await expect(editor.getByLabel("Estimate")).toHaveValue("9");
});
