// Runs api and pubsub of the release build on separate ports with a separate database. Tests can
// stop and restart them.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const PORTS = { api: 4100, pubsub: 4101 };
export const origin = `http://localhost:${PORTS.api}`;
const baseUrl = (process.env.DATABASE_URL ?? "postgresql://app:app@localhost:5434/app").replace(/\/[^/]*$/, "");

export class Servers {
  constructor(name = "pmo_e2e") {
    this.database = `${baseUrl}/${name}`;
    this.name = name;
    this.running = {};
    this.env = {
      ...process.env, DATABASE_URL: this.database, JWT_SECRET: "secret-of-the-end-to-end-tests-only", API_PORT: `${PORTS.api}`,
      PUBSUB_PORT: `${PORTS.pubsub}`, PUBSUB_URL: `ws://localhost:${PORTS.pubsub}/ws`, WEB_DIST: join(root, "dist"), FILES_DIR: join(root, "target", "e2e-files"), LOGIN_RATE_PER_MINUTE: "1000", RUST_LOG: "warn,sqlx=error",
    };
  }

  sql(statement, database = this.database) {
    return execFileSync("psql", ["-XAtq", database, "-c", statement], { encoding: "utf8" }).trim();
  }

  program(name) { return join(root, "target", "release", name); }

  prepare(scale = "small") {
    this.sql(`drop database if exists ${this.name} with (force)`, `${baseUrl}/postgres`);
    this.sql(`create database ${this.name}`, `${baseUrl}/postgres`);
    execFileSync(this.program("pmo-api"), ["seed", "--scale", scale], { env: this.env });
  }

  async start() {
    for (const name of ["api", "pubsub"]) {
      if (this.running[name]) continue;
      const child = spawn(this.program(`pmo-${name}`), [], { env: this.env, stdio: ["ignore", "inherit", "inherit"] });
      this.running[name] = child;
      const deadline = Date.now() + 20_000;
      for (;;) {
        if (child.exitCode !== null) throw new Error(`pmo-${name} ended with ${child.exitCode}`);
        const healthy = await fetch(`http://localhost:${PORTS[name]}/health`).then((r) => r.ok, () => false);
        if (healthy) break;
        if (Date.now() > deadline) throw new Error(`pmo-${name} did not start`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async stop() {
    for (const [name, child] of Object.entries(this.running)) {
      delete this.running[name];
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      // Open connections can delay a graceful shutdown; the tests do not wait for it.
      const killTimer = setTimeout(() => child.kill("SIGKILL"), 1500);
      await exited;
      clearTimeout(killTimer);
    }
  }
}
