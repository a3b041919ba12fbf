// End-to-end workflow of one user, from plan import to export, with an offline phase in between.
import { readFileSync } from "node:fs";
import { expect, importPlan, samplePlan, test } from "./fixtures.mjs";

const waitForSync = (page) => expect(page.getByTestId("sync")).toHaveText("Synced", { timeout: 30_000 });
const grid = (page) => page.getByRole("grid");

/** Sets the stage of the focused row and moves the focus to the next row. */
async function setStage(page, option) {
  await page.keyboard.press("Enter");
  await page.getByRole("combobox", { name: "Stage" }).fill(option);
  await page.keyboard.press("Enter");
  await page.keyboard.press("ArrowDown");
}

/** Creates a child of the plan in the dialog of its tab. */
async function createEntity(page, typeName, name) {
  await page.locator(".topbar").getByRole("button", { name: typeName, exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill(name);
  await dialog.getByRole("button", { name: "Create" }).click();
  await expect(dialog).toHaveCount(0);
  await expect(grid(page).getByRole("link", { name, exact: true })).toBeVisible();
}

test("a working day with an offline phase loses no data", async ({ signInAs, servers }, info) => {
  test.setTimeout(180_000);
  const editor = await signInAs("editor");
  // Import a plan.
  await editor.getByRole("button", { name: "Import" }).click();
  await editor.locator("input[type=file]").setInputFiles(samplePlan);
  await expect(editor.getByText("60 tasks, 8 milestones and 51 dependencies")).toBeVisible();
  await editor.getByRole("link", { name: "Open plan" }).click();
  await expect(editor.getByTestId("task-count")).toHaveText("60 tasks");
  const id = new URL(editor.url()).pathname.split("/")[2];
  const queryTasks = (columns, where = "true") => servers.sql(`select ${columns} from app.task where project_id = '${id}' and ${where}`);
  // Edit the table by keyboard.
  const tablePath = `/task?project_id=${id}&columns=name,dl__task_stage&sort=name`;
  await editor.goto(tablePath);
  await expect(grid(editor).locator("tbody tr[data-id]").first()).toBeVisible();
  const names = queryTasks("string_agg(name, '|' order by name collate \"C\")").split("|");
  await grid(editor).focus();
  await editor.keyboard.press("ArrowDown");
  await editor.keyboard.press("ArrowRight");
  await setStage(editor, "In Review");
  await setStage(editor, "In Review");
  await waitForSync(editor);
  expect(queryTasks("count(*)", "dl__task_stage = 'In Review'")).toBe("2");
  // Share the plan with a viewer, then mention the viewer in a comment.
  await editor.goto(`/project/${id}`);
  await editor.getByRole("button", { name: "Share", exact: true }).click();
  const sharingDialog = editor.getByRole("dialog", { name: /^Share “/ });
  await sharingDialog.getByRole("button", { name: "Choose a person or a role" }).click();
  await editor.getByRole("combobox", { name: "Person or role" }).fill("Viktor");
  await editor.keyboard.press("Enter");
  await sharingDialog.getByRole("button", { name: "Share", exact: true }).click();
  await expect(sharingDialog.getByRole("button", { name: "Revoke access from Viktor Viewer" })).toBeVisible();
  await editor.keyboard.press("Escape");
  const sitemap = queryTasks("id", "name = 'Sitemap'");
  await editor.goto(`/task/${sitemap}`);
  await editor.getByRole("textbox", { name: "Comment" }).fill("Have a look, ");
  await editor.getByRole("textbox", { name: "Comment" }).pressSequentially("@vik");
  await editor.getByRole("option", { name: "Viktor Viewer" }).click();
  await editor.keyboard.press("Control+Enter");
  await expect(editor.locator(".thread .mention")).toHaveText("Viktor Viewer");
  // Save two versions of a text; the first is restored later.
  const description = editor.getByRole("textbox", { name: "Description" });
  for (const text of ["As it was", "As it should not be"]) {
    await description.fill(text);
    await editor.keyboard.press("Control+s");
    await waitForSync(editor);
  }
  // Open the lists that are used offline, so that they are cached.
  for (const tab of ["risk", "issue", "milestone"]) {
    await editor.goto(`/project/${id}/${tab}`);
    await expect(editor.getByText(/^No \w+ yet$/)).toBeVisible();
  }
  await editor.goto(tablePath);
  await expect(grid(editor).locator("tbody tr[data-id]").first()).toBeVisible();
  await waitForSync(editor);
  // Offline: change eight tasks and create four risks, four issues and four milestones.
  await editor.context().setOffline(true);
  await expect(editor.getByTestId("sync")).toContainText("Offline");
  await grid(editor).focus();
  for (let n = 0; n < 11; n++) await editor.keyboard.press("ArrowDown");
  await editor.keyboard.press("ArrowRight");
  for (let n = 0; n < 8; n++) await setStage(editor, "Blocked");
  await expect(editor.getByTestId("sync")).toContainText("8 changes");
  // Reload while offline.
  await editor.reload();
  await expect(editor.getByTestId("sync")).toContainText("8 changes");
  for (const [tab, typeName] of [["risk", "Risk"], ["issue", "Issue"], ["milestone", "Milestone"]]) {
    await editor.goto(`/project/${id}/${tab}`);
    for (let n = 1; n <= 4; n++) await createEntity(editor, typeName, `${typeName} made without a network ${n}`);
  }
  await expect(editor.getByTestId("sync")).toContainText("20 changes");
  await editor.reload();
  await expect(editor.getByTestId("sync")).toContainText("20 changes");
  expect(servers.sql(`select count(*) from app.risk where project_id = '${id}'`)).toBe("0");
  // Another user changes the same field of one task.
  const blockedCount = queryTasks("count(*)", "dl__task_stage = 'Blocked'");
  const conflictingTask = names[12];
  servers.sql(`update app.task set dl__task_stage = 'In Progress' where project_id = '${id}' and name = '${conflictingTask}'`);
  await editor.context().setOffline(false);
  await expect(editor.getByTestId("sync")).toContainText("Needs attention: 1 change", { timeout: 30_000 });
  await editor.getByTestId("sync").click();
  await editor.getByRole("dialog").getByRole("button", { name: "Review" }).click();
  const mergeDialog = editor.getByRole("dialog");
  await expect(mergeDialog.getByRole("row", { name: /^Stage/ })).toContainText("In Progress");
  await mergeDialog.getByRole("row", { name: /^Stage/ }).getByRole("radio").first().check();
  await mergeDialog.getByRole("button", { name: "Save result" }).click();
  await waitForSync(editor);
  // Restore the first text.
  await editor.goto(`/task/${sitemap}`);
  await editor.getByRole("button", { name: "History" }).click();
  await editor.locator(".history-entry").nth(1).getByRole("button", { name: "Restore this version" }).click();
  await editor.getByRole("button", { name: "Restore", exact: true }).click();
  await expect(description).toHaveValue("As it was");
  // Export for other programs.
  await editor.goto(`/project/${id}/risk`);
  const csv = editor.waitForEvent("download");
  await editor.getByRole("button", { name: "Export" }).click();
  await (await csv).saveAs(info.outputPath("risks.csv"));
  await editor.goto(`/project/${id}`);
  await editor.getByRole("button", { name: "More actions" }).click();
  const xml = editor.waitForEvent("download");
  await editor.getByRole("menuitem", { name: "Export for Microsoft Project" }).click();
  await (await xml).saveAs(info.outputPath("plan.xml"));
  // Compare all data on the server.
  expect(Number(queryTasks("count(*)", "dl__task_stage = 'Blocked'")) - Number(blockedCount), "eight stages, one of them after a conflict").toBe(8);
  for (const [typeName, table] of [["Risk", "risk"], ["Issue", "issue"], ["Milestone", "milestone"]]) {
    const createdNames = servers.sql(`select string_agg(name, '|' order by name) from app.${table} where project_id = '${id}' and active_flag`);
    expect(createdNames).toBe([1, 2, 3, 4].map((n) => `${typeName} made without a network ${n}`).join("|"));
  }
  expect(queryTasks("descr", "name = 'Sitemap'")).toBe("As it was");
  expect(queryTasks("count(*)", "active_flag")).toBe("60");
  expect(servers.sql(`select m.body ~ '^Have a look' and p.name = 'Viktor Viewer' from app.message m join app.person p on p.id = any (m.mentions) where m.target_id = '${sitemap}'`)).toBe("t");
  expect(servers.sql(`select count(*) from app.entity_rbac g join app.person p on p.id = g.person_id where g.entity_instance_id = '${id}' and p.email = 'viewer@pmo.example'`)).toBe("1");
  expect(readFileSync(info.outputPath("risks.csv"), "utf8").trim().split("\r\n")).toHaveLength(5);
  const reimported = await importPlan("editor", info.outputPath("plan.xml"), "The same again");
  const outline = (project) => servers.sql(`select string_agg(wbs || ' ' || name || ' ' || coalesce(start_date::text, '') || ' ' || coalesce(due_date::text, ''), '; ' order by wbs) from app.task where project_id = '${project}'`);
  expect(outline(reimported.id)).toBe(outline(id));
  // The viewer sees the result.
  const viewer = await signInAs("viewer");
  await viewer.goto(`/project/${id}/milestone`);
  await expect(grid(viewer).getByRole("link", { name: "Milestone made without a network 4" })).toBeVisible();
  expect([...editor.problems, ...viewer.problems]).toEqual([]);
});
