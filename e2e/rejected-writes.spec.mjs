// What can't be: refused, gone, out of reach, not to be stored. A person is told so where they look, and keeps what they typed.
import { join } from "node:path";
import { expect, importPlan, open, row, samplePlan, share, test } from "./fixtures.mjs";
import { root } from "./servers.mjs";

const pictures = process.env.UPDATE_PICTURES ? join(root, "docs/pictures") : join(root, "e2e/results/pictures");
const save = (page) => page.getByRole("button", { name: /^Save Ctrl/ });
const task = (service, project, name) => service.sql(`select id from app.task where project_id = '${project}' and name = '${name}'`);

test("what was typed about a thing that is gone stays in sight until a person gives it up", async ({ as, service }) => {
  const { id } = await importPlan("editor", samplePlan, "Gone");
  const editor = await as("editor");
  await editor.goto(`/task/${task(service, id, "Sitemap")}`);
  await expect(editor.getByLabel("Name", { exact: true })).toHaveValue("Sitemap");
  await editor.evaluate(() => navigator.serviceWorker.ready);
  await service.stop();
  await editor.getByRole("textbox", { name: "Description" }).fill("A page of thoughts");
  await save(editor).click();
  await expect(editor.getByTestId("sync")).toContainText("Offline · 1 change");
  service.sql(`update app.task set active_flag = false where project_id = '${id}' and name = 'Sitemap'`);
  await service.start();
  await expect(editor.getByTestId("sync")).toHaveText("Needs attention: 1 change", { timeout: 45_000 });
  await expect(editor.getByTestId("nothing-here")).toContainText("There is nothing here");
  await expect(editor.getByTestId("left-behind")).toContainText("A page of thoughts");
  for (const [name, size] of [["phone", { width: 390, height: 844 }], ["desk", { width: 1440, height: 900 }]]) {
    await editor.setViewportSize(size);
    await editor.screenshot({ path: join(pictures, `gone-${name}.png`) });
  }
  await editor.getByTestId("left-behind").getByRole("button", { name: "Review" }).click();
  const dialog = editor.getByRole("dialog");
  await expect(dialog).toContainText("A page of thoughts");
  await expect(dialog.getByRole("link", { name: "Edit" }), "nobody could open its draft").toHaveCount(0);
  await editor.screenshot({ path: join(pictures, "gone-tray.png") });
  await dialog.getByRole("button", { name: "Discard" }).click();
  await editor.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  expect(editor.problems).toEqual([]);
});

test("a thing that was never made goes with what hangs on it, when a person says so", async ({ as, service }) => {
  const { id } = await importPlan("editor", samplePlan, "Never made");
  const editor = await as("editor");
  await open(editor, id);
  await editor.evaluate(() => navigator.serviceWorker.ready);
  await service.stop();
  await editor.getByRole("button", { name: "Task", exact: true }).click();
  await editor.getByLabel("Name", { exact: true }).fill("A bad idea");
  await editor.getByRole("button", { name: "Create" }).click();
  await row(editor, "A bad idea").getByRole("link").click();
  await expect(editor.getByRole("heading", { level: 1 })).toHaveText("New");
  await editor.getByRole("button", { name: "Add" }).click();
  await editor.getByRole("dialog").getByLabel("Name").fill("A part of it");
  await editor.getByRole("button", { name: "Create" }).click();
  await expect(editor.getByRole("link", { name: "A part of it" })).toBeVisible();
  await expect(editor.getByTestId("sync")).toContainText("2 changes");
  await editor.getByTestId("sync").click();
  const made = editor.getByRole("dialog").getByRole("listitem").filter({ hasText: "A bad idea" });
  await expect(made).toContainText("discarding it takes 1 more with it");
  await made.getByRole("button", { name: "Discard" }).click();
  await expect(editor.getByRole("dialog")).toContainText("Everything has been sent");
  await service.start();
  await editor.keyboard.press("Escape");
  await editor.getByRole("button", { name: "Try now" }).click();
  await expect(editor.getByTestId("sync")).toHaveText("Synced", { timeout: 45_000 });
  expect(service.sql(`select count(*) from app.task where project_id = '${id}' and name in ('A bad idea', 'A part of it')`)).toBe("0");
});

test("choices are those of the plan, on a device that has seen nothing else of it; a deep link has its crumbs", async ({ as, service }) => {
  const { id } = await importPlan("editor", samplePlan, "Choices");
  await importPlan("editor", samplePlan, "Another plan");
  const editor = await as("editor");
  await editor.goto(`/task/${task(service, id, "Sitemap")}`);
  await expect(editor.getByRole("navigation", { name: "Breadcrumb" }).getByRole("link", { name: "Choices" })).toBeVisible();
  const [project, parent] = ["Project", "Parent task"].map((name) => editor.getByRole("button", { name, exact: true }));
  await expect(project).toHaveText("Choices");
  const before = await parent.textContent();
  const list = (name) => editor.getByRole("combobox", { name, exact: true });
  await project.click();
  await list("Project").fill("another plan");
  await expect(editor.getByRole("option", { name: "Another plan" })).toHaveCount(1);
  await editor.keyboard.press("Escape");
  await parent.click();
  await expect(editor.getByRole("option", { name: "Interview ten customers" })).toHaveCount(1);
  await expect(editor.getByRole("option"), "one plan's tasks, less itself, and none").toHaveCount(60);
  await expect(editor.getByRole("option", { name: "Sitemap", exact: true })).toHaveCount(0);
  await editor.keyboard.press("Escape");
  expect([await project.textContent(), await parent.textContent()], "what is chosen stays chosen").toEqual(["Choices", before]);
  await parent.click();
  await list("Parent task").fill("discov");
  await editor.keyboard.press("Enter");
  await save(editor).click();
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  await expect.poll(() => service.sql(`select p.name from app.task t join app.task p on p.id = t.parent__task_id where t.project_id = '${id}' and t.name = 'Sitemap'`)).toBe("Discovery");
});

test("what can't be stored is said beside its field, and nothing is sent until it is right", async ({ as, service }) => {
  const { id } = await importPlan("editor", samplePlan, "Wrong");
  const editor = await as("editor");
  await editor.goto(`/task/${task(service, id, "Sitemap")}`);
  const estimate = editor.getByLabel("Estimate");
  await estimate.fill("3,5");
  for (const wrong of ["abc", "1e400", "99999999999999"]) {
    await estimate.fill(wrong);
    await expect(editor.getByRole("alert")).toContainText("must");
    await expect(editor.getByRole("region", { name: "Draft" })).toContainText("To be corrected first: Estimate");
    await expect(save(editor)).toBeDisabled();
    await editor.keyboard.press("Control+s");
  }
  await estimate.fill("4");
  await expect(editor.getByRole("alert")).toHaveCount(0);
  await editor.getByLabel("Name", { exact: true }).fill(" ");
  await expect(editor.getByRole("alert")).toHaveText("Name is needed");
  await editor.screenshot({ path: join(pictures, "wrong.png") });
  await editor.getByLabel("Name", { exact: true }).fill("Map");
  await save(editor).click();
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  await expect.poll(() => service.sql(`select name, estimated_hours from app.task where project_id = '${id}' and name = 'Map'`)).toBe("Map|4.00");
});

test("who may not make a thing is not offered to, and who may is", async ({ as, service }) => {
  const { id, token } = await importPlan("editor", samplePlan, "Looked at");
  await share(service, token, "viewer", id, 0);
  const [admin, viewer] = [await as("admin"), await as("viewer")];
  for (const [page, offered] of [[admin, 1], [viewer, 0]]) {
    await page.goto("/project");
    await expect(page.getByRole("row", { name: /Looked at/ })).toHaveCount(offered === 1 ? await page.getByRole("row", { name: /Looked at/ }).count() : 1);
    await expect(page.getByRole("button", { name: "New project" })).toHaveCount(offered);
    await expect(page.getByRole("button", { name: "Import" })).toHaveCount(offered);
  }
  await viewer.goto(`/project/${id}/risk`);
  await expect(viewer.getByText(/^No \w+ yet$/)).toBeVisible();
  await expect(viewer.getByRole("button", { name: "Risk" })).toHaveCount(0);
});

test("offline, what was never opened says that it is not here, and does not pretend that it does not exist", async ({ as, service }) => {
  const { id } = await importPlan("editor", samplePlan, "Unseen");
  const editor = await as("editor");
  await editor.evaluate(() => navigator.serviceWorker.ready);
  const address = `/risk/00000000-0000-7000-8000-000000000001`;
  await service.stop();
  await editor.goto(address);
  await expect(editor.getByTestId("nothing-here")).toContainText("This is not on this device");
  await editor.goto("/employee");
  await expect(editor.getByText("This could not be loaded")).toBeVisible();
  await editor.goto(`/project/${id}/wiki`);
  await expect(editor.getByText("This could not be loaded")).toBeVisible();
  await editor.screenshot({ path: join(pictures, "unseen.png") });
  await service.start();
  await editor.getByRole("button", { name: "Try now" }).click();
  await expect(editor.getByText(/^No \w+ yet$/)).toBeVisible({ timeout: 45_000 });
  await editor.goto(address);
  await expect(editor.getByTestId("nothing-here")).toContainText("There is nothing here");
});

test("a browser that keeps nothing says so, and nothing on the page says otherwise", async ({ as, service }) => {
  const { id } = await importPlan("editor", samplePlan, "Kept nowhere");
  const editor = await as("editor");
  await editor.context().addInitScript(() => { Object.defineProperty(window, "indexedDB", { value: undefined }); });
  await editor.goto(`/task/${task(service, id, "Sitemap")}`);
  await expect(editor.getByText("Nothing can be kept on this device.")).toBeVisible();
  await editor.getByRole("textbox", { name: "Description" }).fill("For now");
  await expect(editor.getByRole("region", { name: "Draft" })).toContainText("in this tab only");
  await expect(editor.getByText("kept on this device", { exact: false }).filter({ hasNotText: "Nothing can be" })).toHaveCount(0);
  await expect(editor.getByTestId("keep")).toBeHidden();
  await save(editor).click();
  await expect.poll(() => service.sql(`select descr from app.task where project_id = '${id}' and name = 'Sitemap'`)).toBe("For now");
});

test("a draft says when somebody else changes the same, and the list of what is not sent leads back to it", async ({ as, service }) => {
  const { id } = await importPlan("editor", samplePlan, "Overtaken");
  const editor = await as("editor");
  await editor.goto(`/task/${task(service, id, "Sitemap")}`);
  await editor.getByLabel("Estimate").fill("7");
  const draft = editor.getByRole("region", { name: "Draft" });
  await expect(draft).toContainText("Estimate · kept on this device");
  service.sql(`update app.task set estimated_hours = 9 where project_id = '${id}' and name = 'Sitemap'`);
  await expect(draft).toContainText("Somebody else has changed Estimate meanwhile");
  await open(editor, id);
  await editor.getByTestId("sync").click();
  await editor.screenshot({ path: join(pictures, "drafts.png") });
  await editor.getByRole("dialog").getByRole("link", { name: "Sitemap" }).click();
  await expect(draft).toContainText("1 unsaved change");
  await editor.getByRole("button", { name: "Discard" }).click();
  await expect(editor.getByLabel("Estimate")).toHaveValue("9");
});
