// Administration: what is changed for everybody, by those who may, in the browser.
import { expect, importPlan, newcomer, PASSWORD, samplePlan, test } from "./fixtures.mjs";
import { origin } from "./servers.mjs";

const signIn = (email, password) => fetch(`${origin}/api/v1/auth/login`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ email, password }) });

test("only administrators get there", async ({ as }) => {
  const editor = await as("editor");
  await expect(editor.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Administration" })).toHaveCount(0);
  await editor.goto("/admin/people");
  await expect(editor.getByTestId("nothing-here")).toBeVisible();
});

test("an option set is put in another order, coloured, called otherwise; rows follow, and transitions hold", async ({ as, service }) => {
  const { id } = await importPlan("admin", samplePlan, "With options");
  service.sql(`insert into app.issue (name, project_id) values ('Watched issue', '${id}')`);
  const admin = await as("admin");
  await admin.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Administration" }).click();
  await admin.getByRole("navigation", { name: "Parts of administration" }).getByRole("link", { name: "Options" }).click();
  await admin.getByRole("button", { name: /^Issue severity/ }).click();
  const form = admin.getByRole("form", { name: "Options of Issue severity" });
  const names = () => form.getByLabel("Name", { exact: true }).evaluateAll((all) => all.map((e) => e.value));
  await expect.poll(names).toEqual(["Low", "Medium", "High", "Critical"]);
  await form.getByRole("button", { name: "Up, place of Critical" }).click();
  await form.getByLabel("Colour of Critical").selectOption("purple");
  await form.getByRole("button", { name: "Add option" }).click();
  await form.getByLabel("Name", { exact: true }).last().fill("Unbearable");
  await form.getByRole("button", { name: "Save" }).click();
  await expect(form.getByRole("status")).toContainText("Saved");
  expect(service.sql("select string_agg(option_name || ' ' || coalesce(color_code, ''), ', ' order by display_order) from app.datalabel where name = 'issue_severity'")).toContain("Critical purple, High");
  // Who opened it before is told, and changes nothing.
  const other = await as("admin");
  await other.goto("/admin/options");
  await other.getByRole("button", { name: /^Issue severity/ }).click();
  const theirs = other.getByRole("form", { name: "Options of Issue severity" });
  await theirs.getByLabel("Name", { exact: true }).first().fill("Slight");
  await form.getByRole("button", { name: "Up, place of High" }).click();
  await form.getByRole("button", { name: "Save" }).click();
  await expect(form.getByRole("status")).toContainText("Saved");
  await theirs.getByRole("button", { name: "Save" }).click();
  await expect(theirs.getByRole("alert")).toContainText("Somebody else has changed this set");
  expect(service.sql("select count(*) from app.datalabel where option_name = 'Slight'")).toBe("0");
  // What a row holds can't go: the refusal is said where one looks, and nothing is lost.
  await admin.getByRole("button", { name: /^Issue status/ }).click();
  const status = admin.getByRole("form", { name: "Options of Issue status" });
  await status.getByRole("button", { name: "Take away, option of Open" }).click();
  await status.getByRole("button", { name: "Save" }).click();
  await expect(status.getByRole("alert")).toContainText("“Open”");
  await admin.getByRole("button", { name: /^Issue severity/ }).click();
  await admin.getByRole("button", { name: /^Issue status/ }).click();
  await status.getByLabel("Name", { exact: true }).first().fill("Seen");
  await status.getByRole("button", { name: "Save" }).click();
  await expect(status.getByRole("status")).toContainText("Saved");
  expect(service.sql("select dl__issue_status from app.issue where name = 'Watched issue'")).toBe("Seen");
  await admin.goto(`/project/${id}/issue`);
  await expect(admin.getByRole("grid")).toContainText("Seen");
  // As it was: other tests work with these.
  await admin.goto("/admin/options");
  await admin.getByRole("button", { name: /^Issue status/ }).click();
  await status.getByLabel("Name", { exact: true }).first().fill("Open");
  await status.getByRole("button", { name: "Save" }).click();
  await expect(status.getByRole("status")).toContainText("Saved");
  expect(admin.problems).toEqual([]);
});

test("types are called otherwise, settings change, and what happened is told", async ({ as, service }) => {
  const admin = await as("admin");
  await admin.goto("/admin/types");
  await admin.getByRole("navigation", { name: "Types" }).getByRole("button", { name: "Suppliers" }).click();
  const form = admin.getByRole("form", { name: "How Suppliers are called" });
  await form.getByLabel("Several of them").fill("Vendors");
  await form.getByLabel("Label of lead_time_days").fill("Delivers within");
  await form.getByRole("button", { name: "Save" }).click();
  await expect(admin.getByRole("navigation", { name: "Types" }).getByRole("button", { name: "Vendors" })).toBeVisible();
  await admin.goto("/supplier");
  await expect(admin.locator("h1")).toHaveText("Vendors");
  await admin.goto("/admin/settings");
  const date = admin.getByRole("form", { name: "Date" });
  await date.getByLabel("First day of week").fill("7");
  await date.getByRole("button", { name: "Save" }).click();
  await expect(date.getByRole("status")).toContainText("Saved");
  expect(service.sql("select value ->> 'first_day_of_week' from app.setting where key = 'date'")).toBe("7");
  await admin.goto("/admin/activity");
  await expect(admin.locator(".activity li").first()).toBeVisible();
  expect(admin.problems).toEqual([]);
});

test("a person is given a password and a right, and both are taken back", async ({ as, service, browser }) => {
  newcomer(service, "Hired");
  const admin = await as("admin");
  await admin.goto("/admin/people");
  await admin.getByRole("grid").getByRole("link", { name: "Hired" }).click();
  await admin.getByRole("button", { name: "New password" }).click();
  await admin.getByRole("button", { name: "Give a new one" }).click();
  const password = await admin.locator(".banner code").textContent();
  expect([(await signIn("hired@pmo.example", PASSWORD)).status, (await signIn("hired@pmo.example", password)).status]).toEqual([401, 200]);
  await admin.goto("/admin/grants");
  await expect(admin.getByRole("row", { name: /Administrators.*All projects/ })).toBeVisible();
  const give = admin.getByRole("form", { name: "Give access" });
  await admin.getByLabel("Type").selectOption("customer");
  await give.getByRole("button", { name: "Choose a person or a role" }).click();
  await admin.keyboard.type("Hired");
  await admin.getByRole("option", { name: "Hired" }).click();
  await give.getByRole("button", { name: "Share" }).click();
  const line = admin.getByRole("row", { name: /Hired.*All customers.*May look/ });
  await expect(line).toBeVisible();
  await line.getByRole("button", { name: "Take back from Hired" }).click();
  await expect(line).toHaveCount(0);
  expect(admin.problems).toEqual([]);
});
