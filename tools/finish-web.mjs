// After the app is built: makes it smaller, writes down what the build made (build.json, for the api's shell), makes the service worker with the list of
// files that it keeps, compresses, and holds the first load to its budget.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import esbuild from "esbuild";
import { orderFunctions } from "./order-functions.mjs";

const BUDGET = 500_000; // bytes of wasm and JavaScript as brotli
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = process.env.TRUNK_STAGING_DIR ?? join(root, "dist");
const release = process.env.TRUNK_PROFILE === "release";

// Files are made smaller below, and no browser has ever used what trunk says of them for a preload.
let html = readFileSync(join(dist, "index.html"), "utf8").replaceAll(/ integrity="[^"]*"/g, "");
if (release) {
  const features = readFileSync(join(root, "apps/web/index.html"), "utf8").match(/--enable-[a-z-]+/g);
  const minified = (loader) => (bytes) => Buffer.from(esbuild.transformSync(bytes.toString(), { minify: true, loader, format: loader === "js" ? "esm" : undefined, target: "esnext" }).code);
  const shrink = { wasm: (bytes) => orderFunctions(bytes, features), js: minified("js"), css: minified("css") };
  for (const file of readdirSync(dist)) {
    const [, name, , rest, kind] = file.match(/^(.+)-([0-9a-f]+)(_bg)?\.(wasm|js|css)$/) ?? [];
    if (!name) continue;
    const smaller = shrink[kind](readFileSync(join(dist, file)));
    // Browsers keep a file for a year by its name: the name follows from what is in it now.
    const renamed = `${name}-${createHash("sha256").update(smaller).digest("hex").slice(0, 16)}${rest ?? ""}.${kind}`;
    writeFileSync(join(dist, file), smaller);
    renameSync(join(dist, file), join(dist, renamed));
    html = html.replaceAll(file, renamed);
  }
}
// In development the socket may be elsewhere than its usual port; in production the api's shell says where it is.
writeFileSync(join(dist, "index.html"), html.replace('name="pmo-socket" content=""', `name="pmo-socket" content="${process.env.PMO_DEV_SOCKET ?? ""}"`));
const one = (pattern, what) => html.match(pattern)?.[1] ?? (() => { throw new Error(`index.html has no ${what}`); })();
const start = one(/<script type="module"[^>]*>([\s\S]*?)<\/script>/, "start script");
const theme = one(/<script id="theme"[^>]*>([\s\S]*?)<\/script>/, "theme script");
const hash = (text) => `sha256-${createHash("sha256").update(text).digest("base64")}`;
const files = [];
const walk = (folder) => readdirSync(folder).forEach((name) => {
  const path = join(folder, name);
  statSync(path).isDirectory() ? walk(path) : files.push(relative(dist, path).replaceAll("\\", "/"));
});
walk(dist);
const kept = files.filter((f) => /\.(js|wasm|css|woff2|svg|webmanifest)$/.test(f) && f !== "sw.js").sort();
const id = createHash("sha256").update(kept.map((f) => f + createHash("sha256").update(readFileSync(join(dist, f))).digest("hex")).join()).digest("hex").slice(0, 12);
const script = kept.find((f) => f.startsWith("pmo-web-") && f.endsWith(".js"));
const wasm = kept.find((f) => f.endsWith(".wasm"));
const styles = [...html.matchAll(/<link rel="stylesheet" href="([^"]+)"/g)].map((m) => m[1]);
writeFileSync(join(dist, "build.json"), JSON.stringify({
  id, script: `/${script}`, wasm: `/${wasm}`, styles, start, start_hash: hash(start), theme, theme_hash: hash(theme), font: "/fonts/inter-latin.woff2",
}, null, 1));
const worker = readFileSync(join(root, "apps/web/service-worker.js"), "utf8")
  .replace("__BUILD__", id).replace("[/*FILES*/]", JSON.stringify(kept.map((f) => `/${f}`)));
writeFileSync(join(dist, "sw.js"), worker);

if (release) {
  const sizes = {};
  for (const file of [...kept, "sw.js"].filter((f) => !f.endsWith("woff2"))) {
    const packed = brotliCompressSync(readFileSync(join(dist, file)), { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: statSync(join(dist, file)).size } });
    writeFileSync(join(dist, `${file}.br`), packed);
    sizes[file] = packed.length;
  }
  const row = (name, bytes, packed) => console.log(`${name.padEnd(28)} ${String(bytes).padStart(9)} ${String(packed).padStart(9)}`);
  row("first load", "bytes", "brotli");
  let total = 0;
  for (const file of [wasm, script]) { row(file, statSync(join(dist, file)).size, sizes[file]); total += sizes[file]; }
  const css = kept.filter((f) => f.endsWith(".css"));
  row("styles", css.reduce((n, f) => n + statSync(join(dist, f)).size, 0), css.reduce((n, f) => n + sizes[f], 0));
  row("wasm and JavaScript", `of ${BUDGET}`, total);
  if (total > BUDGET) { console.error(`error: the first load is ${total} bytes as brotli, over its budget of ${BUDGET}`); process.exit(1); }
}
