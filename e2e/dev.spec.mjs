// `just dev` as a newcomer runs it: one command, the app in the browser, and Ctrl-C stops all of it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { PASSWORD, expect, test } from "./fixtures.mjs";
import { Service, root } from "./servers.mjs";

const ports = { API_PORT: "4200", PUBSUB_PORT: "4201", WEB_PORT: "5273" };

const listens = (port) => new Promise((done) => {
  const socket = createConnection({ port: Number(port), host: "127.0.0.1" });
  socket.on("connect", () => { socket.destroy(); done(true); });
  socket.on("error", () => done(false));
});

test("one command starts everything, and an interrupt stops it", async ({ browser }) => {
  test.setTimeout(240_000);
  const database = new Service("pmo_dev_smoke");
  database.prepare("small");
  // As in a fresh clone: what the build makes for the app is not there yet.
  rmSync(join(root, "apps/web/generated"), { recursive: true, force: true });
  const child = spawn(join(root, "tools/start-all.sh"), [], {
    cwd: root, detached: true, stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...ports, DATABASE_URL: database.database, PMO_PROFILE: "release", SEED_SCALE: "small", JWT_SECRET: "" },
  });
  let said = "";
  const up = new Promise((done, failed) => {
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => { said += text; if (said.includes("PMO is up")) done(); });
    child.on("exit", (code) => failed(new Error(`start-all.sh ended with ${code}:\n${said.slice(-3000)}`)));
  });
  try {
    await up;
    const page = await browser.newPage();
    await page.goto(`http://localhost:${ports.WEB_PORT}/`);
    await page.getByLabel("Email").fill("viewer@pmo.example");
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await expect(page.locator("tbody tr[data-id]").first()).toBeVisible();
    await expect(page.getByTestId("sync")).toHaveText("Synced");
    await page.close();
    for (const account of ["admin", "editor", "viewer", "outsider"]) expect(said).toContain(`${account}@pmo.example`);
  } finally {
    child.removeAllListeners("exit");
    const ended = once(child, "exit");
    process.kill(child.pid, "SIGINT");
    await ended;
  }
  for (const port of Object.values(ports)) expect(await listens(port), `port ${port} after Ctrl-C`).toBe(false);
});
