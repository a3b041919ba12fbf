// One day of one person, from a plan's file to files for others, with the network gone in between: nothing is lost.
import { readFileSync } from "node:fs";
import { expect, importPlan, samplePlan, test } from "./fixtures.mjs";

const synced = (page) => expect(page.getByTestId("sync")).toHaveText("Synced", { timeout: 30_000 });
const grid = (page) => page.getByRole("grid");

/** Changes the stage of the row that has the keyboard, and goes on to the next. */
async function stage(page, option) {
  await page.keyboard.press("Enter");
  await page.getByRole("combobox", { name: "Stage" }).fill(option);
  await page.keyboard.press("Enter");
  await page.keyboard.press("ArrowDown");
}

/** Makes a thing below a plan, by the dialog of its tab. */
async function make(page, kind, name) {
  await page.locator(".topbar").getByRole("button", { name: kind, exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill(name);
  await dialog.getByRole("button", { name: "Create" }).click();
  await expect(dialog).toHaveCount(0);
  await expect(grid(page).getByRole("link", { name, exact: true })).toBeVisible();
}

test("a day's work, half of it without a network, loses nothing", async ({ as, service }, info) => {
  test.setTimeout(180_000);
  const editor = await as("editor");
  // A plan by the wizard.
  await editor.getByRole("button", { name: "Import" }).click();
  await editor.locator("input[type=file]").setInputFiles(samplePlan);
  await expect(editor.getByText("60 tasks, 8 milestones and 51 links")).toBeVisible();
  await editor.getByRole("link", { name: "Open the plan" }).click();
  await expect(editor.getByTestId("task-count")).toHaveText("60 tasks");
  const id = new URL(editor.url()).pathname.split("/")[2];
  const ofPlan = (what, where = "true") => service.sql(`select ${what} from app.task where project_id = '${id}' and ${where}`);
  // In the table, by the keyboard alone.
  const table = `/task?project_id=${id}&columns=name,dl__task_stage&sort=name`;
  await editor.goto(table);
  await expect(grid(editor).locator("tbody tr[data-id]").first()).toBeVisible();
  const names = ofPlan("string_agg(name, '|' order by name collate \"C\")").split("|");
  await grid(editor).focus();
  await editor.keyboard.press("ArrowDown");
  await editor.keyboard.press("ArrowRight");
  await stage(editor, "In Review");
  await stage(editor, "In Review");
  await synced(editor);
  expect(ofPlan("count(*)", "dl__task_stage = 'In Review'")).toBe("2");
  // Said to somebody by name, who may see it by then: shared with a viewer.
  await editor.goto(`/project/${id}`);
  await editor.getByRole("button", { name: "Share", exact: true }).click();
  const sharing = editor.getByRole("dialog", { name: /Who may see/ });
  await sharing.getByRole("button", { name: "Choose a person or a role" }).click();
  await editor.getByRole("combobox", { name: "Person or role" }).fill("Viktor");
  await editor.keyboard.press("Enter");
  await sharing.getByRole("button", { name: "Share", exact: true }).click();
  await expect(sharing.getByRole("button", { name: "Take back from Viktor Viewer" })).toBeVisible();
  await editor.keyboard.press("Escape");
  const sitemap = ofPlan("id", "name = 'Sitemap'");
  await editor.goto(`/task/${sitemap}`);
  await editor.getByRole("textbox", { name: "Comment" }).fill("Have a look, ");
  await editor.getByRole("textbox", { name: "Comment" }).pressSequentially("@vik");
  await editor.getByRole("option", { name: "Viktor Viewer" }).click();
  await editor.keyboard.press("Control+Enter");
  await expect(editor.locator(".thread .mention")).toHaveText("Viktor Viewer");
  // Two versions of a text, to go back from later.
  const description = editor.getByRole("textbox", { name: "Description" });
  for (const text of ["As it was", "As it should not be"]) {
    await description.fill(text);
    await editor.keyboard.press("Control+s");
    await synced(editor);
  }
  // What is worked on without a network has been opened.
  for (const tab of ["risk", "issue", "milestone"]) {
    await editor.goto(`/project/${id}/${tab}`);
    await expect(editor.getByText(/^No \w+ yet$/)).toBeVisible();
  }
  await editor.goto(table);
  await expect(grid(editor).locator("tbody tr[data-id]").first()).toBeVisible();
  await synced(editor);
  // No network: eight tasks, four risks, four issues, four milestones.
  await editor.context().setOffline(true);
  await expect(editor.getByTestId("sync")).toContainText("Offline");
  await grid(editor).focus();
  for (let n = 0; n < 11; n++) await editor.keyboard.press("ArrowDown");
  await editor.keyboard.press("ArrowRight");
  for (let n = 0; n < 8; n++) await stage(editor, "Blocked");
  await expect(editor.getByTestId("sync")).toContainText("8 changes");
  // In the middle of it, a reload.
  await editor.reload();
  await expect(editor.getByTestId("sync")).toContainText("8 changes");
  for (const [tab, kind] of [["risk", "Risk"], ["issue", "Issue"], ["milestone", "Milestone"]]) {
    await editor.goto(`/project/${id}/${tab}`);
    for (let n = 1; n <= 4; n++) await make(editor, kind, `${kind} made without a network ${n}`);
  }
  await expect(editor.getByTestId("sync")).toContainText("20 changes");
  await editor.reload();
  await expect(editor.getByTestId("sync")).toContainText("20 changes");
  expect(service.sql(`select count(*) from app.risk where project_id = '${id}'`)).toBe("0");
  // Meanwhile somebody else changes the same of one.
  const blocked = ofPlan("count(*)", "dl__task_stage = 'Blocked'");
  const contested = names[12];
  service.sql(`update app.task set dl__task_stage = 'In Progress' where project_id = '${id}' and name = '${contested}'`);
  await editor.context().setOffline(false);
  await expect(editor.getByTestId("sync")).toContainText("Needs attention: 1 change", { timeout: 30_000 });
  await editor.getByTestId("sync").click();
  await editor.getByRole("dialog").getByRole("button", { name: "Review" }).click();
  const merge = editor.getByRole("dialog");
  await expect(merge.getByRole("row", { name: /^Stage/ })).toContainText("In Progress");
  await merge.getByRole("row", { name: /^Stage/ }).getByRole("radio").first().check();
  await merge.getByRole("button", { name: "Save result" }).click();
  await synced(editor);
  // Back to the first text.
  await editor.goto(`/task/${sitemap}`);
  await editor.getByRole("button", { name: "History" }).click();
  await editor.locator(".happened").nth(1).getByRole("button", { name: "Back to this" }).click();
  await editor.getByRole("button", { name: "Go back" }).click();
  await expect(description).toHaveValue("As it was");
  // Out again, for those who work with other programs.
  await editor.goto(`/project/${id}/risk`);
  const csv = editor.waitForEvent("download");
  await editor.getByRole("button", { name: "Export" }).click();
  await (await csv).saveAs(info.outputPath("risks.csv"));
  await editor.goto(`/project/${id}`);
  await editor.getByRole("button", { name: "More actions" }).click();
  const xml = editor.waitForEvent("download");
  await editor.getByRole("menuitem", { name: "Export for Microsoft Project" }).click();
  await (await xml).saveAs(info.outputPath("plan.xml"));
  // What the server holds, all of it.
  expect(Number(ofPlan("count(*)", "dl__task_stage = 'Blocked'")) - Number(blocked), "eight stages, one of them after a choice").toBe(8);
  for (const [kind, type] of [["Risk", "risk"], ["Issue", "issue"], ["Milestone", "milestone"]]) {
    const made = service.sql(`select string_agg(name, '|' order by name) from app.${type} where project_id = '${id}' and active_flag`);
    expect(made).toBe([1, 2, 3, 4].map((n) => `${kind} made without a network ${n}`).join("|"));
  }
  expect(ofPlan("descr", "name = 'Sitemap'")).toBe("As it was");
  expect(ofPlan("count(*)", "active_flag")).toBe("60");
  expect(service.sql(`select m.body ~ '^Have a look' and p.name = 'Viktor Viewer' from app.message m join app.person p on p.id = any (m.mentions) where m.about_uuid = '${sitemap}'`)).toBe("t");
  expect(service.sql(`select count(*) from app.entity_rbac g join app.person p on p.id = g.person_id where g.entity_instance_id = '${id}' and p.email = 'viewer@pmo.example'`)).toBe("1");
  expect(readFileSync(info.outputPath("risks.csv"), "utf8").trim().split("\r\n")).toHaveLength(5);
  const again = await importPlan("editor", info.outputPath("plan.xml"), "The same again");
  const plan = (project) => service.sql(`select string_agg(wbs || ' ' || name || ' ' || coalesce(start_date::text, '') || ' ' || coalesce(due_date::text, ''), '; ' order by wbs) from app.task where project_id = '${project}'`);
  expect(plan(again.id)).toBe(plan(id));
  // And the viewer sees it.
  const viewer = await as("viewer");
  await viewer.goto(`/project/${id}/milestone`);
  await expect(grid(viewer).getByRole("link", { name: "Milestone made without a network 4" })).toBeVisible();
  expect([...editor.problems, ...viewer.problems]).toEqual([]);
});
