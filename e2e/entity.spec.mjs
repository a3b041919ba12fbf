// Features of every entity page: comments, presence, history, sharing, deletion; and the command
// palette, CSV import and export, calendar URLs.
import { expect, grantAccess, importPlan, row, samplePlan, test } from "./fixtures.mjs";
import { origin } from "./servers.mjs";

const taskId = (servers, project, name) => servers.sql(`select id from app.task where project_id = '${project}' and name = '${name}'`);
const waitForSync = (page) => expect(page.getByTestId("sync")).toHaveText("Synced");

test("comments, mentions, replies, reactions and resolutions appear for other users immediately", async ({ signInAs, servers }) => {
  const { id, token } = await importPlan("editor", samplePlan, "Talked about");
  await grantAccess(servers, token, "viewer", id, 1);
  const [editor, viewer] = [await signInAs("editor"), await signInAs("viewer")];
  const path = `/task/${taskId(servers, id, "Sitemap")}`;
  for (const page of [editor, viewer]) await page.goto(path);
  const composer = editor.getByRole("textbox", { name: "Comment" });
  await composer.fill("Half of it");
  await editor.reload();
  await expect(composer, "an unsent comment survives a reload").toHaveValue("Half of it");
  await composer.fill("**Please** look, ");
  await composer.pressSequentially("@vik");
  await expect(editor.getByRole("option", { name: "Viktor Viewer" })).toBeVisible();
  await editor.keyboard.press("Enter");
  await editor.keyboard.type("<img src=x onerror=alert(1)>");
  await editor.keyboard.press("Control+Enter");
  const thread = viewer.locator(".thread").first();
  await expect(thread.locator(".mention")).toHaveText("Viktor Viewer");
  await expect(thread.locator("strong")).toHaveText("Please");
  await expect(thread.locator("img"), "HTML in a comment is not rendered").toHaveCount(0);
  expect(servers.sql(`select array_length(mentions, 1) from app.message where target_id = '${path.slice(6)}'`)).toBe("1");
  await thread.getByRole("button", { name: "React" }).click();
  await thread.getByRole("button", { name: "Agree", exact: true }).click();
  await expect(editor.getByRole("button", { name: "Agree: Viktor Viewer" })).toBeVisible();
  await editor.getByRole("button", { name: "Agree: Viktor Viewer" }).click();
  await expect(viewer.getByRole("button", { name: /^Agree: / })).toHaveText("2");
  await thread.getByRole("button", { name: "Reply" }).click();
  await viewer.getByRole("textbox", { name: "Reply" }).fill("Looks right");
  await viewer.keyboard.press("Control+Enter");
  await expect(editor.locator(".thread").first()).toContainText("Looks right");
  await expect(thread.getByRole("button", { name: "Resolve" }), "a user with COMMENT permission can resolve only their own threads").toHaveCount(0);
  await editor.getByRole("button", { name: "Resolve" }).click();
  await expect(thread.getByText("Resolved")).toBeVisible();
  for (const page of [editor, viewer]) expect(page.problems).toEqual([]);
});

test("presence shows other users who view the same entity", async ({ signInAs, servers }) => {
  const { id, token } = await importPlan("editor", samplePlan, "Here now");
  await grantAccess(servers, token, "viewer", id, 0);
  const [editor, viewer, outsider] = [await signInAs("editor"), await signInAs("viewer"), await signInAs("outsider")];
  const sitemap = servers.sql(`select id from app.task where project_id = '${id}' and name = 'Sitemap'`);
  await editor.goto(`/task/${sitemap}`);
  await outsider.goto(`/task/${sitemap}`);
  await expect(editor.locator("h1")).toBeVisible();
  await expect(editor.getByTestId("sync")).toHaveText("Synced");
  await expect(editor.getByTestId("presence")).toHaveCount(0);
  await viewer.goto(`/task/${sitemap}`);
  await expect(editor.getByRole("group", { name: "Viewing now: Viktor Viewer" })).toBeVisible();
  await expect(viewer.getByRole("group", { name: "Viewing now: Edda Editor" })).toBeVisible();
  // The viewer opens another page and is no longer shown.
  await viewer.goto(`/project/${id}`);
  await expect(editor.getByTestId("presence")).toHaveCount(0);
  await editor.goto(`/project/${id}`);
  await expect(viewer.getByRole("group", { name: "Viewing now: Edda Editor" })).toBeVisible();
  await editor.close();
  await expect(viewer.getByTestId("presence")).toHaveCount(0);
  expect([...viewer.problems, ...outsider.problems]).toEqual([]);
});

test("history lists changes per field and restores a previous version", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Looked back at");
  const editor = await signInAs("editor");
  const sitemap = taskId(servers, id, "Sitemap");
  await editor.goto(`/task/${sitemap}`);
  const description = editor.getByRole("textbox", { name: "Description" });
  await description.fill("one\ntwo\nthree");
  await editor.keyboard.press("Control+s");
  await waitForSync(editor);
  await description.fill("one\nzwei\nthree");
  await editor.getByLabel("Estimate").fill("99");
  await editor.keyboard.press("Control+s");
  await waitForSync(editor);
  await editor.getByRole("button", { name: "History" }).click();
  const latest = editor.locator(".history-entry").first();
  await expect(latest.locator(".lines del")).toHaveText("two");
  await expect(latest.locator(".lines ins")).toHaveText("zwei");
  await expect(latest).toContainText("99");
  await editor.locator(".history-entry").nth(1).getByRole("button", { name: "Restore this version" }).click();
  await expect(editor.getByRole("dialog")).toContainText("Estimate");
  await editor.getByRole("button", { name: "Restore", exact: true }).click();
  await expect(description).toHaveValue("one\ntwo\nthree");
  await expect(editor.locator(".history-entry").first()).toContainText("v4");
  expect(servers.sql(`select descr from app.task where id = '${sitemap}'`)).toBe("one\ntwo\nthree");
});

test("the sharing dialog grants, explains and revokes access", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Shared in a dialog");
  const [editor, outsider] = [await signInAs("editor"), await signInAs("outsider")];
  await editor.goto(`/project/${id}`);
  await editor.getByRole("button", { name: "Share", exact: true }).click();
  const dialog = editor.getByRole("dialog", { name: /^Share “/ });
  await dialog.getByRole("button", { name: "Choose a person or a role" }).click();
  await editor.getByRole("combobox", { name: "Person or role" }).fill("Viktor");
  await editor.keyboard.press("Enter");
  await dialog.getByRole("combobox", { name: "Permission" }).selectOption({ label: "Can edit" });
  await dialog.getByRole("button", { name: "Share", exact: true }).click();
  const grant = dialog.locator("li", { hasText: "Viktor Viewer" }).filter({ has: editor.getByRole("button", { name: "Revoke access from Viktor Viewer" }) });
  await expect(grant).toContainText("Can edit");
  await dialog.locator("li", { hasText: "Viktor Viewer" }).getByRole("button", { name: "Why?" }).click();
  await expect(editor.getByRole("dialog", { name: /Why Viktor Viewer has access/ })).toContainText("Direct, on Project “Shared in a dialog”");
  await editor.getByRole("dialog", { name: /Why/ }).getByRole("button", { name: "Close" }).click();
  await grant.getByRole("button", { name: /Revoke access/ }).click();
  await expect(grant).toHaveCount(0);
  await outsider.goto(`/project/${id}`);
  await expect(outsider.getByTestId("not-found")).toBeVisible();
});

test("a deleted entity can be restored from the toast and from its page", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Deleted and back");
  const editor = await signInAs("editor");
  const sitemap = taskId(servers, id, "Sitemap");
  const isActive = () => servers.sql(`select active_flag from app.task where id = '${sitemap}'`);
  const deleteTask = async () => {
    await editor.goto(`/task/${sitemap}`);
    await editor.getByRole("button", { name: "Delete", exact: true }).click();
    await editor.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  };
  await deleteTask();
  await expect.poll(isActive).toBe("f");
  await editor.getByRole("button", { name: "Undo" }).click();
  await expect.poll(isActive).toBe("t");
  await expect(row(editor, "Sitemap")).toBeVisible();
  await deleteTask();
  await expect.poll(isActive).toBe("f");
  await editor.goto(`/task/${sitemap}`);
  await expect(editor.getByText("“Sitemap” was deleted")).toBeVisible();
  await editor.getByRole("button", { name: "Restore", exact: true }).click();
  await expect(editor.getByLabel("Name", { exact: true })).toHaveValue("Sitemap");
});

test("the command palette searches local data and runs commands", async ({ signInAs, servers }) => {
  const { id } = await importPlan("editor", samplePlan, "Found by typing");
  servers.sql(`insert into app.task (name, project_id, wbs, rank) select 'Filler ' || n || ' of many', '${id}', n::text, lpad(n::text, 8, '0') from generate_series(1, 10000) n`);
  const editor = await signInAs("editor");
  await editor.goto(`/task?project_id=${id}`);
  await expect(editor.getByTestId("row-count")).toHaveText(/^10\d\d\d rows$/);
  await editor.keyboard.press("Control+k");
  const input = editor.getByRole("combobox", { name: "Search or run a command" });
  await input.fill("filler 777");
  await expect(editor.getByRole("option", { name: /Filler 777 of many/ }).first()).toBeVisible();
  // Time from the input event to the next rendered frame, for 20 queries.
  const times = await editor.evaluate(async () => {
    const field = document.querySelector(".palette input"), times = [];
    for (let n = 0; n < 20; n += 1) {
      const startedAt = performance.now();
      field.value = `filler ${n * 37}`;
      field.dispatchEvent(new InputEvent("input", { bubbles: true }));
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      times.push(performance.now() - startedAt);
    }
    return times.sort((a, b) => a - b);
  });
  console.log(`palette over 10,000 rows: median ${times[10].toFixed(1)} ms, slowest ${times[19].toFixed(1)} ms (one frame included)`);
  await input.fill("sitemap");
  await editor.keyboard.press("Enter");
  await expect(editor.getByLabel("Name", { exact: true })).toHaveValue("Sitemap");
  await editor.keyboard.press("Control+k");
  await input.fill("change stage");
  await editor.keyboard.press("Enter");
  await editor.getByRole("combobox", { name: "Search or run a command" }).fill("blocked");
  await editor.keyboard.press("Enter");
  await waitForSync(editor);
  expect(servers.sql(`select dl__task_stage from app.task where project_id = '${id}' and name = 'Sitemap'`)).toBe("Blocked");
  await editor.locator("h1").click();
  await editor.keyboard.press("c");
  await editor.keyboard.type("risk");
  await editor.keyboard.press("Enter");
  await expect(editor.getByRole("dialog").getByRole("button", { name: "Project" }), "the current project is preselected").toHaveText("Found by typing");
  await editor.getByRole("textbox", { name: "Name" }).last().fill("A risk from anywhere");
  await editor.keyboard.press("Enter");
  await expect(editor).toHaveURL(/\/risk\//);
  await waitForSync(editor);
  expect(servers.sql(`select count(*) from app.risk where project_id = '${id}'`)).toBe("1");
});

test("CSV import shows a preview, and export contains the visible rows", async ({ signInAs, servers }, info) => {
  const { id } = await importPlan("editor", samplePlan, "Rows in and out");
  const editor = await signInAs("editor");
  await editor.goto(`/project/${id}/risk`);
  await editor.getByRole("button", { name: "Import" }).click();
  const file = (text) => ({ name: "risks.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
  const fileInput = editor.locator("input[type=file]");
  await fileInput.setInputFiles(file("Name,Chance,Status\r\nSupplier fails,30%,Assessed\r\nWrong,150,Assessed\r\n"));
  const dialog = editor.getByRole("dialog", { name: "Import risks" });
  await dialog.getByRole("combobox", { name: "Column for Chance" }).selectOption({ label: "Probability" });
  await expect(dialog.getByRole("status")).toContainText("1 new, 0 changed, 0 unchanged, 1 with errors");
  await expect(dialog).toContainText("must be between 0 and 100");
  await expect(dialog.getByRole("button", { name: /^Import 2 rows/ })).toBeDisabled();
  await fileInput.setInputFiles(file("Name,Probability,Status,Remark\r\nSupplier fails,30%,Assessed,x\r\n=HYPERLINK(1),15,Identified,\r\n"));
  await expect(dialog.getByRole("status")).toContainText("2 new");
  await dialog.getByRole("button", { name: "Import 2 rows" }).click();
  await expect(dialog).toContainText("2 new");
  await dialog.getByRole("button", { name: "Done" }).click();
  await expect(editor.getByRole("link", { name: "=HYPERLINK(1)" })).toBeVisible();
  const download = editor.waitForEvent("download");
  await editor.getByRole("button", { name: "Export" }).click();
  const path = info.outputPath("risks.csv");
  await (await download).saveAs(path);
  const { readFileSync } = await import("node:fs");
  const lines = readFileSync(path, "utf8").trim().split("\r\n");
  expect(lines).toHaveLength(3);
  expect(lines[1]).toContain("'=HYPERLINK(1)");
  await editor.goto(`/project/${id}`);
  await editor.getByRole("button", { name: "More actions" }).click();
  const plan = editor.waitForEvent("download");
  await editor.getByRole("menuitem", { name: "Export for Microsoft Project" }).click();
  const xml = info.outputPath("plan.xml");
  await (await plan).saveAs(xml);
  const reimported = await importPlan("editor", xml, "In again");
  expect(servers.sql(`select count(*) from app.task where project_id = '${reimported.id}'`)).toBe(servers.sql(`select count(*) from app.task where project_id = '${id}'`));
});

test("a calendar URL is shown once, works without a session and can be revoked", async ({ signInAs }) => {
  const { id } = await importPlan("editor", samplePlan, "In a calendar");
  const editor = await signInAs("editor");
  await editor.goto(`/project/${id}`);
  await editor.getByRole("button", { name: "More actions" }).click();
  await editor.getByRole("menuitem", { name: "Subscribe to due dates…" }).click();
  await editor.getByRole("button", { name: "Create calendar URL" }).click();
  const url = await editor.getByLabel("URL (shown once)").inputValue();
  expect(url).toMatch(/^http:\/\/localhost:\d+\/api\/v1\/calendar\/[\w-]{40,}\.ics$/);
  const response = await fetch(url.replace(/^http:\/\/[^/]+/, origin));
  expect([response.status, (await response.text()).slice(0, 15)]).toEqual([200, "BEGIN:VCALENDAR"]);
  await editor.getByRole("dialog").locator("li", { hasText: "In a calendar" }).getByRole("button", { name: "Revoke" }).click();
  await expect.poll(async () => (await fetch(url)).status).toBe(404);
});
