// Smoke test of tools/start-all.sh: it starts all services, and an interrupt stops them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { PASSWORD, expect, test } from "./fixtures.mjs";
import { Servers, root } from "./servers.mjs";

const ports = { API_PORT: "4200", PUBSUB_PORT: "4201", WEB_PORT: "5273" };

const isListening = (port) => new Promise((resolve) => {
  const socket = createConnection({ port: Number(port), host: "127.0.0.1" });
  socket.on("connect", () => { socket.destroy(); resolve(true); });
  socket.on("error", () => resolve(false));
});

test("start-all.sh starts all services and stops them on SIGINT", async ({ browser }) => {
  test.setTimeout(240_000);
  const servers = new Servers("pmo_dev_smoke");
  servers.prepare("small");
  // As in a fresh clone: the generated assets do not exist yet.
  rmSync(join(root, "apps/web/generated"), { recursive: true, force: true });
  const child = spawn(join(root, "tools/start-all.sh"), [], {
    cwd: root, detached: true, stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...ports, DATABASE_URL: servers.database, PMO_PROFILE: "release", SEED_SCALE: "small", JWT_SECRET: "" },
  });
  let output = "";
  const started = new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => { output += text; if (output.includes("PMO is running")) resolve(); });
    child.on("exit", (code) => reject(new Error(`start-all.sh ended with ${code}:\n${output.slice(-3000)}`)));
  });
  try {
    await started;
    const page = await browser.newPage();
    await page.goto(`http://localhost:${ports.WEB_PORT}/`);
    await page.getByLabel("Email").fill("viewer@pmo.example");
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await expect(page.locator("tbody tr[data-id]").first()).toBeVisible();
    await expect(page.getByTestId("sync")).toHaveText("Synced");
    await page.close();
    for (const account of ["admin", "editor", "viewer", "outsider"]) expect(output).toContain(`${account}@pmo.example`);
  } finally {
    child.removeAllListeners("exit");
    const exited = once(child, "exit");
    process.kill(child.pid, "SIGINT");
    await exited;
  }
  for (const port of Object.values(ports)) expect(await isListening(port), `port ${port} after Ctrl-C`).toBe(false);
});
