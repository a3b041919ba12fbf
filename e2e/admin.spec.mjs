// Administration pages: options, types, settings, users and grants.
import { createUser, expect, importPlan, PASSWORD, samplePlan, test } from "./fixtures.mjs";
import { origin } from "./servers.mjs";

const login = (email, password) => fetch(`${origin}/api/v1/auth/login`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ email, password }) });

test("only administrators can open the administration pages", async ({ signInAs }) => {
  const editor = await signInAs("editor");
  await expect(editor.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Administration" })).toHaveCount(0);
  await editor.goto("/admin/people");
  await expect(editor.getByTestId("not-found")).toBeVisible();
});

test("an administrator reorders, recolors and renames options; rows are updated and used options cannot be deleted", async ({ signInAs, servers }) => {
  const { id } = await importPlan("admin", samplePlan, "With options");
  servers.sql(`insert into app.issue (name, project_id) values ('Watched issue', '${id}')`);
  const admin = await signInAs("admin");
  await admin.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Administration" }).click();
  await admin.getByRole("navigation", { name: "Administration sections" }).getByRole("link", { name: "Options" }).click();
  await admin.getByRole("button", { name: /^Issue severity/ }).click();
  const form = admin.getByRole("form", { name: "Options of Issue severity" });
  const optionNames = () => form.getByLabel("Name", { exact: true }).evaluateAll((all) => all.map((e) => e.value));
  await expect.poll(optionNames).toEqual(["Low", "Medium", "High", "Critical"]);
  await form.getByRole("button", { name: "Move up: Critical" }).click();
  await form.getByLabel("Color: Critical").selectOption("purple");
  await form.getByRole("button", { name: "Add option" }).click();
  await form.getByLabel("Name", { exact: true }).last().fill("Unbearable");
  await form.getByRole("button", { name: "Save" }).click();
  await expect(form.getByRole("status")).toContainText("Saved");
  expect(servers.sql("select string_agg(option_name || ' ' || coalesce(color_code, ''), ', ' order by display_order) from app.datalabel where name = 'issue_severity'")).toContain("Critical purple, High");
  // A second administrator with a stale form gets a conflict, and nothing is saved.
  const otherAdmin = await signInAs("admin");
  await otherAdmin.goto("/admin/options");
  await otherAdmin.getByRole("button", { name: /^Issue severity/ }).click();
  const otherForm = otherAdmin.getByRole("form", { name: "Options of Issue severity" });
  await otherForm.getByLabel("Name", { exact: true }).first().fill("Slight");
  await form.getByRole("button", { name: "Move up: High" }).click();
  await form.getByRole("button", { name: "Save" }).click();
  await expect(form.getByRole("status")).toContainText("Saved");
  await otherForm.getByRole("button", { name: "Save" }).click();
  await expect(otherForm.getByRole("alert")).toContainText("This option set was changed by someone else");
  expect(servers.sql("select count(*) from app.datalabel where option_name = 'Slight'")).toBe("0");
  // An option in use cannot be deleted: the form shows the error and keeps the edits.
  await admin.getByRole("button", { name: /^Issue status/ }).click();
  const statusForm = admin.getByRole("form", { name: "Options of Issue status" });
  await statusForm.getByRole("button", { name: "Remove: Open" }).click();
  await statusForm.getByRole("button", { name: "Save" }).click();
  await expect(statusForm.getByRole("alert")).toContainText("“Open”");
  await admin.getByRole("button", { name: /^Issue severity/ }).click();
  await admin.getByRole("button", { name: /^Issue status/ }).click();
  await statusForm.getByLabel("Name", { exact: true }).first().fill("Seen");
  await statusForm.getByRole("button", { name: "Save" }).click();
  await expect(statusForm.getByRole("status")).toContainText("Saved");
  expect(servers.sql("select dl__issue_status from app.issue where name = 'Watched issue'")).toBe("Seen");
  await admin.goto(`/project/${id}/issue`);
  await expect(admin.getByRole("grid")).toContainText("Seen");
  // Restore the option: other tests use it.
  await admin.goto("/admin/options");
  await admin.getByRole("button", { name: /^Issue status/ }).click();
  await statusForm.getByLabel("Name", { exact: true }).first().fill("Open");
  await statusForm.getByRole("button", { name: "Save" }).click();
  await expect(statusForm.getByRole("status")).toContainText("Saved");
  expect(admin.problems).toEqual([]);
});

test("an administrator renames a type, changes a setting and sees the activity log", async ({ signInAs, servers }) => {
  const admin = await signInAs("admin");
  await admin.goto("/admin/types");
  await admin.getByRole("navigation", { name: "Types" }).getByRole("button", { name: "Suppliers" }).click();
  const form = admin.getByRole("form", { name: "Type settings: Suppliers" });
  await form.getByLabel("Plural name").fill("Vendors");
  await form.getByLabel("Label of lead_time_days").fill("Delivers within");
  await form.getByRole("button", { name: "Save" }).click();
  await expect(admin.getByRole("navigation", { name: "Types" }).getByRole("button", { name: "Vendors" })).toBeVisible();
  await admin.goto("/supplier");
  await expect(admin.locator("h1")).toHaveText("Vendors");
  await admin.goto("/admin/settings");
  const dateForm = admin.getByRole("form", { name: "Date" });
  await dateForm.getByLabel("First day of week").fill("7");
  await dateForm.getByRole("button", { name: "Save" }).click();
  await expect(dateForm.getByRole("status")).toContainText("Saved");
  expect(servers.sql("select value ->> 'first_day_of_week' from app.setting where key = 'date'")).toBe("7");
  await admin.goto("/admin/activity");
  await expect(admin.locator(".activity li").first()).toBeVisible();
  expect(admin.problems).toEqual([]);
});

test("an administrator resets a password, grants access and revokes it", async ({ signInAs, servers, browser }) => {
  createUser(servers, "Hired");
  const admin = await signInAs("admin");
  await admin.goto("/admin/people");
  await admin.getByRole("grid").getByRole("link", { name: "Hired" }).click();
  await admin.getByRole("button", { name: "Reset password…" }).click();
  await admin.getByRole("button", { name: "Reset password", exact: true }).click();
  const password = await admin.locator(".banner code").textContent();
  expect([(await login("hired@pmo.example", PASSWORD)).status, (await login("hired@pmo.example", password)).status]).toEqual([401, 200]);
  await admin.goto("/admin/grants");
  await expect(admin.getByRole("row", { name: /Administrators.*All projects/ })).toBeVisible();
  const grantForm = admin.getByRole("form", { name: "Grant access" });
  await admin.getByLabel("Type").selectOption("customer");
  await grantForm.getByRole("button", { name: "Choose a person or a role" }).click();
  await admin.keyboard.type("Hired");
  await admin.getByRole("option", { name: "Hired" }).click();
  await grantForm.getByRole("button", { name: "Share" }).click();
  const grantRow = admin.getByRole("row", { name: /Hired.*All customers.*Can view/ });
  await expect(grantRow).toBeVisible();
  await grantRow.getByRole("button", { name: "Revoke access from Hired" }).click();
  await expect(grantRow).toHaveCount(0);
  expect(admin.problems).toEqual([]);
});
