// Every page: accessibility checks with axe, keyboard access, and screenshots at two widths in both
// themes.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createUser, expect, grantAccess, importPlan, samplePlan, test } from "./fixtures.mjs";
import { origin, root } from "./servers.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const taskId = (servers, project, name) => servers.sql(`select id from app.task where project_id = '${project}' and name = '${name}'`);

/** Returns serious and critical axe violations of the current page, one line each. */
async function seriousViolations(page) {
  // Through the debugger: the page's content security policy forbids other scripts.
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const results = await window.axe.run(document, { resultTypes: ["violations"] });
    return results.violations.filter((v) => ["serious", "critical"].includes(v.impact)).flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(" ")}: ${n.failureSummary.split("\n")[1]}`));
  });
}

/**
 * Returns controls of the current page that the Tab key does not focus, and focused controls without
 * a focus indicator, one line each.
 */
async function unreachableByKeyboard(page) {
  const count = await page.evaluate(() => {
    const scope = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
    const candidates = [...scope.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")];
    const focusable = candidates.filter((e) => e.tabIndex >= 0 && !e.disabled && e.checkVisibility({ visibilityProperty: true }) && !e.closest("[inert], details:not([open]) > :not(summary)"));
    document.activeElement?.blur();
    window.controls = focusable.filter((e) => !e.closest("[popover]:not(:popover-open)") && !(e.type === "radio" && !e.checked));
    window.visited = new Set();
    window.withoutFocusRing = [];
    return window.controls.length;
  });
  const recordFocus = () => page.evaluate(() => {
    const focused = document.activeElement;
    // A date input has several tab stops, so consecutive repeats are not a wrap-around.
    const wrapped = window.visited.has(focused) && focused !== window.last && focused !== document.body;
    window.last = focused;
    window.visited.add(focused);
    const hasRing = (e) => { const s = e && getComputedStyle(e); return s && ((s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== "none"); };
    // Text inputs show a caret, grids show the active cell.
    const hasCaret = focused.matches("textarea, input:not([type]), input[type=text], input[type=search]");
    const ringCandidates = [focused, focused.parentElement, focused.parentElement?.parentElement, document.getElementById(focused.getAttribute("aria-activedescendant") ?? "")];
    if (focused !== document.body && !hasCaret && !ringCandidates.some(hasRing)) window.withoutFocusRing.push(focused);
    return wrapped;
  });
  for (let n = 0; n < count * 2 + 20; n += 1) {
    await page.keyboard.press("Tab");
    if (await recordFocus()) break;
  }
  return page.evaluate(() => {
    // Restore focus and scroll position for the screenshot.
    document.activeElement?.blur();
    document.querySelectorAll(".content, .subbar, .sidebar").forEach((e) => e.scrollTo(0, 0));
    const describe = (problem) => (e) => `${problem}: ${e.outerHTML.slice(0, 140)}`;
    return [...window.controls.filter((e) => !window.visited.has(e)).map(describe("not focusable")), ...window.withoutFocusRing.map(describe("no focus ring"))];
  });
}

test("every page passes axe in both themes on desktop and phone, and the Tab key focuses every control", async ({ signInAs, servers }) => {
  test.setTimeout(300_000);
  const { id, token } = await importPlan("editor", samplePlan, "Looked over");
  await grantAccess(servers, token, "viewer", id, 1);
  const sitemap = taskId(servers, id, "Sitemap");
  servers.sql(`insert into app.message (name, body, target_code, target_id, author__person_id) select 'x', 'A **word** on it', 'task', '${sitemap}', id from app.person where email = 'viewer@pmo.example'`);
  const editor = await signInAs("editor");
  // Without transitions: axe must not measure intermediate colors.
  await editor.emulateMedia({ reducedMotion: "reduce" });
  await editor.goto(`/project/${id}/artifact`);
  await editor.locator(".drop-zone input[type=file]").setInputFiles(join(root, "docs", "pictures", "sign-in.png"));
  await editor.getByRole("region", { name: "Uploads" }).getByRole("link").waitFor();
  const artifact = servers.sql("select id from app.artifact where name = 'sign-in.png' order by created_ts desc limit 1");
  const clickButton = (name) => () => editor.getByRole("button", { name, exact: true }).first().click();
  const editorPages = [
    ["projects", "/project", async () => {}],
    ["tasks-filtered", `/task?project_id=${id}&dl__task_stage[in]=To%20Do&sort=-due_date`, async () => {}],
    ["tasks-selected", `/task?project_id=${id}`, async () => { await editor.getByRole("grid").focus(); await editor.keyboard.press("ArrowDown"); await editor.keyboard.press("Space"); await editor.keyboard.press("Shift+ArrowDown"); }],
    ["tasks-editing", `/task?project_id=${id}`, async () => { await editor.locator("td.editable .pill").first().click(); await expect(editor.getByRole("combobox", { name: "Stage" })).toBeVisible(); }],
    ["plan", `/project/${id}`, async () => {}],
    ["gantt", `/project/${id}?layout=gantt`, async () => { await expect(editor.getByTestId("gantt-row").first()).toBeVisible(); }],
    ["plan-risks", `/project/${id}/risk`, async () => {}],
    ["project", `/project/${id}/overview`, async () => {}],
    ["task", `/task/${sitemap}`, async () => { await expect(editor.locator(".thread")).toBeVisible(); }],
    ["task-history", `/task/${sitemap}`, async () => { await clickButton("History")(); await expect(editor.locator(".history-entry").first()).toBeVisible(); }],
    ["task-sharing", `/task/${sitemap}`, async () => { await clickButton("Share")(); await expect(editor.getByText("Everyone with access")).toBeVisible(); }],
    ["palette", "/project", async () => { await editor.keyboard.press("Control+k"); await editor.keyboard.type("site"); await expect(editor.getByRole("option").first()).toBeVisible(); }],
    ["new-risk", "/risk/new", async () => { await expect(editor.getByLabel("Name")).toBeVisible(); }],
    ["import", `/project/${id}/risk`, async () => { await clickButton("Import")(); }],
    ["not-found", "/task/01a2056d-3563-7049-ab62-bfe1ca58ce3f", async () => { await expect(editor.getByTestId("not-found")).toBeVisible(); }],
    ["files", `/project/${id}/artifact`, async () => { await expect(editor.getByRole("button", { name: "Choose files" })).toBeVisible(); }],
    ["file", `/artifact/${artifact}`, async () => { await expect(editor.locator("img.preview")).toBeVisible(); }],
    ["tray", "/project", async () => { await editor.locator("[data-testid=sync], [data-testid=sync-compact]").filter({ visible: true }).first().click(); await expect(editor.getByRole("dialog")).toBeVisible(); }],
  ];
  // Pages that only administrators can open.
  const admin = await signInAs("admin");
  await admin.emulateMedia({ reducedMotion: "reduce" });
  const openForm = (name) => async () => { await admin.getByRole("button", { name }).first().click(); await expect(admin.getByRole("form").first()).toBeVisible(); };
  const waitFor = (selector) => async () => { await expect(admin.locator(selector).first()).toBeVisible(); };
  const adminPages = [
    ["admin-people", "/admin/people", async () => {}],
    ["admin-person", `/person/${servers.sql("select id from app.person where email = 'viewer@pmo.example'")}`, async () => { await expect(admin.getByRole("button", { name: "Reset password…" })).toBeVisible(); }],
    ["admin-roles", "/admin/roles", async () => {}],
    ["admin-grants", "/admin/grants", waitFor(".plain-table .person")],
    ["admin-options", "/admin/options", openForm(/^Issue severity/)],
    ["admin-types", "/admin/types", openForm("Risks")],
    ["admin-settings", "/admin/settings", waitFor("form.admin-box")],
    ["admin-activity", "/admin/activity", waitFor(".activity li")],
  ];
  const failures = {};
  for (const [width, height, device] of [[1440, 900, "desktop"], [390, 844, "phone"]]) {
    for (const [page, list] of [[editor, editorPages], [admin, adminPages]]) {
      await page.setViewportSize({ width, height });
      for (const [name, path, prepare] of list) {
        // Keyboard features and table cells exist only on desktop.
        if (device === "phone" && ["tasks-selected", "tasks-editing", "palette", "plan-risks", "import"].includes(name)) continue;
        await page.goto(path);
        await expect(page.locator("main .topbar").first()).toBeVisible();
        // Wait for the code-split part.
        await page.waitForFunction(() => document.querySelector("link[data-later]"));
        await expect(page.locator("[aria-busy=true]")).toHaveCount(0);
        await prepare();
        // In-place editors and popups that close on blur have separate tests.
        if (device === "desktop" && !["tasks-editing", "tasks-selected", "palette"].includes(name)) {
          const unreachable = await unreachableByKeyboard(page);
          if (unreachable.length) failures[`${name} by keyboard`] = unreachable.slice(0, 6);
        }
        for (const theme of ["light", "dark"]) {
          await page.evaluate((theme) => { document.documentElement.dataset.theme = theme; }, theme);
          const violations = await seriousViolations(page);
          if (violations.length) failures[`${name} ${device} ${theme}`] = violations.slice(0, 6);
          if (process.env.UPDATE_PICTURES) await page.screenshot({ path: join(root, "docs", "pictures", `${name}-${device}-${theme}.png`), animations: "disabled" });
        }
      }
    }
  }
  expect(failures).toEqual({});
  expect([...editor.problems, ...admin.problems]).toEqual([]);
});

test("a user without projects sees the onboarding page", async ({ signInAs, servers }) => {
  // A user who can create projects but sees none: existing data belongs to others.
  createUser(servers, "Beginner");
  const beginner = await signInAs("beginner");
  await beginner.goto("/project");
  await expect(beginner.getByRole("heading", { name: "No projects yet" })).toBeVisible();
  const role = servers.sql("insert into app.role (name) values ('Beginners') returning id").split("\n")[0];
  servers.sql(`insert into app.entity_rbac (role_id, entity_code, permission, inheritance_mode) values ('${role}', 'project', 6, 'none')`);
  servers.sql(`insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id) select 'role', '${role}', 'person', id from app.person where email = 'beginner@pmo.example'`);
  await beginner.reload();
  await expect(beginner.getByRole("heading", { name: "Start with a plan" })).toBeVisible();
  await beginner.getByRole("button", { name: /Load demo data/ }).click();
  await expect(beginner.getByRole("alert")).toContainText("Only administrators may load demo data");
  if (process.env.UPDATE_PICTURES) await beginner.screenshot({ path: join(root, "docs", "pictures", "onboarding-desktop-light.png") });
  await beginner.getByRole("button", { name: /Create your first project/ }).click();
  await beginner.getByRole("dialog").getByLabel("Name").fill("The first one");
  await beginner.getByRole("dialog").getByRole("button", { name: "Create" }).click();
  await expect(beginner.locator("h1")).toHaveText("The first one");
});

// A complete new entity type: its table, registration and parent relations. No Rust code.
const VEHICLE = `
create table app.vehicle (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, driver__employee_id uuid references app.employee, passenger__employee_ids uuid[] not null default '{}', price_amt numeric, load_pct numeric,
  bought_date date, range_hours numeric, electric_flag boolean not null default false, note text, dl__vehicle_status text not null default 'Ordered');
insert into app.datalabel (name, id, option_name, display_order) values ('vehicle_status', 1, 'Ordered', 10), ('vehicle_status', 2, 'Running', 20), ('vehicle_status', 3, 'Sold', 30);
insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable)
  values ('vehicle', 'Vehicle', 'Vehicles', 'briefcase', 'VEH', true, 95, '{}', '{"columns": ["code", "name", "dl__vehicle_status", "driver__employee_id", "price_amt", "load_pct", "bought_date", "electric_flag"], "empty_text": "Vehicles are what people drive."}');
insert into app.entity_child (parent_code, child_code, owned, parent_column, parent_type_column, create_permission, display_order) values ('project', 'vehicle', true, 'project_id', '', 6, 200), ('vehicle', 'message', true, 'target_id', 'target_code', 1, 90);
select app.register_entity('vehicle');
insert into app.entity_rbac (role_id, entity_code, permission) select id, 'vehicle', 7 from app.role where name = 'Administrators';`;

test("an entity type added by one migration has working list and detail pages immediately", async ({ signInAs, servers }) => {
  // The table is not dropped: a running server does not expect a table to disappear.
  servers.sql(VEHICLE);
  const { id, token } = await importPlan("admin", samplePlan, "With vehicles");
  // A running server reloads the types when a request names an unknown one.
  await expect.poll(async () => (await fetch(`${origin}/api/v1/vehicle`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
  const admin = await signInAs("admin");
  await admin.goto("/vehicle");
  await expect(admin.getByText("Vehicles are what people drive.")).toBeVisible();
  await expect(admin.getByRole("navigation", { name: "Main", exact: true }).getByRole("link", { name: "Vehicles" })).toBeVisible();
  await admin.goto(`/project/${id}/vehicle`);
  await admin.getByRole("button", { name: "Vehicle", exact: true }).click();
  await admin.getByRole("dialog").getByLabel("Name").fill("A red van");
  await admin.getByRole("button", { name: "More fields" }).click();
  await admin.getByRole("dialog").getByLabel("Price").fill("12500,50");
  await admin.getByRole("dialog").getByLabel("Load").fill("40");
  await admin.getByRole("dialog").getByLabel("Bought").fill("2026-03-01");
  await admin.getByRole("dialog").getByLabel("Electric").check();
  await admin.getByRole("dialog").getByRole("button", { name: "Driver" }).click();
  await admin.getByRole("combobox", { name: "Driver" }).fill("Ada");
  await admin.keyboard.press("Enter");
  await admin.getByRole("dialog").getByRole("button", { name: "Create" }).click();
  const van = admin.locator("tr[data-id]", { hasText: "A red van" });
  await expect(van).toContainText("Ada Admin");
  await expect(van).toContainText("40%");
  await expect(van).toContainText("1 Mar");
  await van.locator("td.editable .pill").click();
  await admin.getByRole("combobox", { name: "Status" }).fill("running");
  await admin.keyboard.press("Enter");
  await expect(admin.getByTestId("sync")).toHaveText("Synced");
  expect(servers.sql("select dl__vehicle_status, price_amt, electric_flag from app.vehicle")).toBe("Running|12500.50|t");
  if (process.env.UPDATE_PICTURES) await admin.screenshot({ path: join(root, "docs", "pictures", "new-type-list.png") });
  await van.getByRole("link").click();
  await expect(admin.getByRole("textbox", { name: "Comment" })).toBeVisible();
  await expect(admin.getByRole("button", { name: "Edit Status: Running" })).toBeVisible();
  expect(await seriousViolations(admin)).toEqual([]);
  if (process.env.UPDATE_PICTURES) await admin.screenshot({ path: join(root, "docs", "pictures", "new-type-page.png") });
  await admin.keyboard.press("Control+k");
  await admin.keyboard.type("red van");
  await expect(admin.getByRole("option", { name: /A red van/ }).first()).toBeVisible();
  expect(admin.problems).toEqual([]);
});
