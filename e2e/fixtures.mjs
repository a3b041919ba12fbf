// Playwright fixtures and helpers: servers, sign-in, plan import, grants.
import { expect, test as base } from "@playwright/test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Servers, origin, root } from "./servers.mjs";

export const PASSWORD = "pmo-demo-2026";
export const samplePlan = join(root, "db/samples/website-relaunch.mspdi.xml");

export const test = base.extend({
  servers: [async ({}, use) => {
    const servers = new Servers();
    servers.prepare();
    await servers.start();
    await use(servers);
    await servers.stop();
  }, { scope: "worker" }],
  // Signs in with a demo account in a separate browser context: users share only the servers.
  signInAs: async ({ browser, servers }, use) => {
    const contexts = [];
    await servers.start();
    await use(async (account, options = {}) => {
      const context = await browser.newContext({ baseURL: origin, viewport: { width: 1440, height: 900 }, ...options });
      contexts.push(context);
      const page = await context.newPage();
      page.problems = [];
      page.on("pageerror", (error) => page.problems.push(error.message));
      await page.goto("/");
      await page.getByLabel("Email").fill(`${account}@pmo.example`);
      await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
      await page.getByRole("button", { name: "Sign in", exact: true }).click();
      await expect(page.getByTestId("sync")).toHaveText("Synced");
      return page;
    });
    for (const context of contexts) await context.close();
  },
});
export { expect };

/** Imports a plan through the API; returns the project id, the access token and the report. */
export async function importPlan(account, file, name) {
  const login = await fetch(`${origin}/api/v1/auth/login`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ email: `${account}@pmo.example`, password: PASSWORD }) });
  const { token } = await login.json();
  const response = await fetch(`${origin}/api/v1/project/import?name=${encodeURIComponent(name)}`, { method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": "application/xml" }, body: readFileSync(file) });
  const body = await response.json();
  if (response.status !== 201) throw new Error(JSON.stringify(body));
  return { id: body.project.id, token, report: body.report };
}

/** Creates a user with the password of the demo accounts, isolated from the data of other tests. */
export function createUser(servers, name) {
  const email = `${name.toLowerCase()}@pmo.example`;
  servers.sql(`with new_person as (insert into app.person (name, email, first_name) values ('${name}', '${email}', '${name}') returning id)
    insert into app.person_credential (person_id, password_hash) select new_person.id, c.password_hash from new_person, app.person p join app.person_credential c on c.person_id = p.id where p.email = 'outsider@pmo.example'`);
}

/** Grants a demo account access to a project; returns the id of the grant. */
export async function grantAccess(servers, token, account, project, permission) {
  const person = servers.sql(`select id from app.person where email = '${account}@pmo.example'`);
  const response = await fetch(`${origin}/api/v1/entity_rbac`, { method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": "application/json" }, body: JSON.stringify({ person_id: person, entity_code: "project", entity_instance_id: project, permission }) });
  const body = await response.json();
  if (response.status !== 201) throw new Error(JSON.stringify(body));
  return body.id;
}

/** Locates the row of a task in an open plan. */
export const row = (page, name) => page.locator("table.wbs tbody tr", { has: page.getByRole("link", { name, exact: true }) });

/** Opens a plan and waits until it is loaded and synchronized. */
export async function openProject(page, project) {
  await page.goto(`/project/${project}`);
  await expect(page.locator("table.wbs tbody tr[data-id]").first()).toBeVisible();
  await expect(page.getByTestId("sync")).toHaveText("Synced");
}
