// After the app is built: makes it smaller, writes down what the build made (build.json, for the api's shell), makes the service worker with the list of
// files that it keeps, compresses, and holds the first load to its budget.
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import esbuild from "esbuild";
import { orderFunctions } from "./wasm-reorder-functions.mjs";

const BUDGET = 450_000; // bytes as brotli of what the first page needs: wasm, JavaScript and styles
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = process.env.TRUNK_STAGING_DIR ?? join(root, "dist");
// Served while it is worked on, even optimised, it is one file: see tools/split.
const release = process.env.TRUNK_PROFILE === "release" && process.env.PMO_SPLIT_DIR;

// Files are made smaller below, and no browser has ever used what trunk says of them for a preload.
let html = readFileSync(join(dist, "index.html"), "utf8").replaceAll(/ integrity="[^"]*"/g, "");
const named = (name, bytes, kind) => `${name}-${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}${kind}`;
if (release) {
  const rust = readFileSync(join(root, "apps/web/index.html"), "utf8").match(/data-wasm-opt-params="([^"]*)"/)[1].split(" ");
  const features = rust.filter((flag) => flag.startsWith("--enable-"));
  const work = mkdtempSync(join(tmpdir(), "finish-"));
  // What is fetched later: made smaller as trunk makes the rest, and told to the loader by its new name.
  const parts = release;
  let loader = readFileSync(join(parts, "__wasm_split.js"), "utf8");
  for (const file of readdirSync(parts).filter((file) => file !== "pmo-web.wasm" && file.endsWith(".wasm"))) {
    const small = join(work, file);
    execFileSync("wasm-opt", ["-O2", ...rust, "-o", small, join(parts, file)], { stdio: "inherit" });
    const bytes = orderFunctions(readFileSync(small), features);
    const renamed = named(file.replace(".wasm", "").replace("split_", "part-"), bytes, ".wasm");
    writeFileSync(join(dist, renamed), bytes);
    loader = loader.replaceAll(file, renamed);
  }
  writeFileSync(join(work, "__wasm_split.js"), loader);
  // The program and the loader of its parts know each other: they become one script.
  const script = (bytes) => {
    const entry = join(work, "pmo-web.js");
    writeFileSync(entry, bytes);
    return Buffer.from(esbuild.buildSync({ entryPoints: [entry], bundle: true, minify: true, format: "esm", target: "esnext", write: false }).outputFiles[0].contents);
  };
  const css = (bytes) => Buffer.from(esbuild.transformSync(bytes.toString(), { minify: true, loader: "css", target: "esnext" }).code);
  const shrink = { wasm: (bytes) => orderFunctions(bytes, features), js: script, css };
  for (const file of readdirSync(dist)) {
    const [, name, , rest, kind] = file.match(/^(.+)-([0-9a-f]+)(_bg)?\.(wasm|js|css)$/) ?? [];
    if (!name || name.startsWith("part-")) continue;
    const smaller = shrink[kind](readFileSync(join(dist, file)));
    // Browsers keep a file for a year by its name: the name follows from what is in it now.
    const renamed = named(name, smaller, `${rest ?? ""}.${kind}`);
    writeFileSync(join(dist, file), smaller);
    renameSync(join(dist, file), join(dist, renamed));
    html = html.replaceAll(file, renamed);
  }
  rmSync(work, { recursive: true });
}
// What is shipped in parts fetches the later part's styles with it (apps/web/src/parts.rs).
let later;
if (release) {
  html = html.replace(/<link rel="stylesheet" href="(\/later-[^"]+)"[^>]*>/, (_, href) => { later = href; return `<meta name="pmo-later-styles" content="${href}">`; });
  if (!later) throw new Error("index.html has no later styles");
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
const wasm = kept.find((f) => f.endsWith("_bg.wasm"));
const styles = [...html.matchAll(/<link rel="stylesheet" href="([^"]+)"/g)].map((m) => m[1]);
writeFileSync(join(dist, "build.json"), JSON.stringify({
  id, later_styles: later ?? "", script: `/${script}`, wasm: `/${wasm}`, styles, start, start_hash: hash(start), theme, theme_hash: hash(theme), font: "/fonts/inter-latin.woff2",
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
  const row = (name, bytes, packed) => console.log(`${name.padEnd(40)} ${String(bytes).padStart(9)} ${String(packed).padStart(9)}`);
  row("first load", "bytes", "brotli");
  const css = kept.filter((f) => f.endsWith(".css") && `/${f}` !== later), sum = (of, files) => files.reduce((n, f) => n + of(f), 0), size = (f) => statSync(join(dist, f)).size;
  for (const file of [wasm, script]) row(file, size(file), sizes[file]);
  row("styles", sum(size, css), sum((f) => sizes[f], css));
  const total = sum((f) => sizes[f], [wasm, script, ...css]);
  row("in all", `of ${BUDGET}`, total);
  for (const file of kept.filter((f) => f.startsWith("part-") || `/${f}` === later)) row(`later: ${file}`, size(file), sizes[file]);
  if (total > BUDGET) { console.error(`error: the first load is ${total} bytes as brotli, over its budget of ${BUDGET}`); process.exit(1); }
}
