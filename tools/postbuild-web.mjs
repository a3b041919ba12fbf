// Post-build step of the app: minifies and renames the files of a release build, writes build.json
// for the HTML shell of the api, writes the service worker with the list of files to cache,
// compresses, and fails if the first load exceeds its size budget.
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import { reorderFunctions } from "./wasm-reorder-functions.mjs";

const BUDGET = 454_000; // brotli bytes of the first load: WASM, JavaScript and styles
const GANTT_BUDGET = 110_000; // brotli bytes of the Gantt chart with the scheduling engine
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = process.env.TRUNK_STAGING_DIR ?? join(root, "dist");
// Set by tools/build-web.sh for production builds only. A build that is served by trunk, even an
// optimized one, is not split.
const splitDir = process.env.TRUNK_PROFILE === "release" ? process.env.PMO_SPLIT_DIR : undefined;

// Brotli settings that are tried for each file: block size, and the codes of short distances. Which
// one is smallest depends on the file; none is best for all.
const BROTLI_TRIALS = [[0, 0, 0], [21, 1, 20], [21, 0, 15], [0, 2, 60], [0, 1, 30]].map(([LGBLOCK, NPOSTFIX, NDIRECT]) =>
  ({ [constants.BROTLI_PARAM_LGBLOCK]: LGBLOCK, [constants.BROTLI_PARAM_NPOSTFIX]: NPOSTFIX, [constants.BROTLI_PARAM_NDIRECT]: NDIRECT }));
/** Returns the smallest Brotli form of `bytes`. */
function compress(bytes) {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  const results = BROTLI_TRIALS.map((trial) => brotliCompressSync(bytes, { params: { ...params, ...trial } }));
  return results.reduce((smallest, result) => (result.length < smallest.length ? result : smallest));
}

let html = readFileSync(join(dist, "index.html"), "utf8");
const hashedName = (name, bytes, extension) => `${name}-${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}${extension}`;
if (splitDir) {
  // Development installs do not have esbuild.
  const { default: esbuild } = await import("esbuild");
  const optimizerFlags = readFileSync(join(root, "apps/web/index.html"), "utf8").match(/data-wasm-opt-params="([^"]*)"/)[1].split(" ");
  const features = optimizerFlags.filter((flag) => flag.startsWith("--enable-"));
  const workDir = mkdtempSync(join(tmpdir(), "postbuild-"));
  // Code-split parts: optimize them with trunk's flags and write their hashed names into the loader.
  let loader = readFileSync(join(splitDir, "__wasm_split.js"), "utf8");
  for (const file of readdirSync(splitDir).filter((file) => file !== "pmo-web.wasm" && file.endsWith(".wasm"))) {
    const optimized = join(workDir, file);
    execFileSync("wasm-opt", ["-O2", ...optimizerFlags, "-o", optimized, join(splitDir, file)], { stdio: "inherit" });
    const bytes = reorderFunctions(readFileSync(optimized), features);
    // Chunks contain code that several parts share.
    const newName = hashedName(file.replace(".wasm", "").replace(/^split_/, "part-").replace(/^chunk_/, "part-chunk-"), bytes, ".wasm");
    writeFileSync(join(dist, newName), bytes);
    loader = loader.replaceAll(file, newName);
  }
  writeFileSync(join(workDir, "__wasm_split.js"), loader);
  // The main script and the loader import each other, so they are bundled into one script.
  const bundleScript = (bytes) => {
    const entry = join(workDir, "pmo-web.js");
    writeFileSync(entry, bytes);
    return Buffer.from(esbuild.buildSync({ entryPoints: [entry], bundle: true, minify: true, format: "esm", target: "esnext", write: false }).outputFiles[0].contents);
  };
  const minifyCss = (bytes) => Buffer.from(esbuild.transformSync(bytes.toString(), { minify: true, loader: "css", target: "esnext" }).code);
  const minifiers = { wasm: (bytes) => reorderFunctions(bytes, features), js: bundleScript, css: minifyCss };
  for (const file of readdirSync(dist)) {
    const [, name, , suffix, extension] = file.match(/^(.+)-([0-9a-f]+)(_bg)?\.(wasm|js|css)$/) ?? [];
    if (!name || name.startsWith("part-")) continue;
    const minified = minifiers[extension](readFileSync(join(dist, file)));
    // Browsers cache a file for a year by its name, so the hash must follow from the final content.
    const newName = hashedName(name, minified, `${suffix ?? ""}.${extension}`);
    writeFileSync(join(dist, file), minified);
    renameSync(join(dist, file), join(dist, newName));
    html = html.replaceAll(file, newName);
  }
  // One sheet compresses better than several, and one request is faster.
  const links = [...html.matchAll(/<link rel="stylesheet" href="\/((?!later-)[^"]+)"[^>]*>/g)];
  const joined = minifyCss(Buffer.concat(links.map(([, file]) => readFileSync(join(dist, file)))));
  const joinedName = hashedName("styles", joined, ".css");
  writeFileSync(join(dist, joinedName), joined);
  links.forEach(([link, file], index) => {
    rmSync(join(dist, file));
    html = html.replace(link, index === 0 ? `<link rel="stylesheet" href="/${joinedName}">` : "");
  });
  rmSync(workDir, { recursive: true });
}
// A split build loads the later styles together with the later part (apps/web/src/lazy.rs).
let laterStyles;
if (splitDir) {
  html = html.replace(/<link rel="stylesheet" href="(\/later-[^"]+)"[^>]*>/, (_, href) => { laterStyles = href; return `<meta name="pmo-later-styles" content="${href}">`; });
  if (!laterStyles) throw new Error("index.html has no later styles");
}
// In development the WebSocket port can be changed; in production the HTML shell of the api sets it.
writeFileSync(join(dist, "index.html"), html.replace('name="pmo-socket" content=""', `name="pmo-socket" content="${process.env.PMO_DEV_SOCKET ?? ""}"`));
const extract = (pattern, description) => html.match(pattern)?.[1] ?? (() => { throw new Error(`index.html has no ${description}`); })();
const start = extract(/<script type="module"[^>]*>([\s\S]*?)<\/script>/, "start script");
const theme = extract(/<script id="theme"[^>]*>([\s\S]*?)<\/script>/, "theme script");
const cspHash = (text) => `sha256-${createHash("sha256").update(text).digest("base64")}`;
const files = [];
const collectFiles = (folder) => readdirSync(folder).forEach((name) => {
  const path = join(folder, name);
  statSync(path).isDirectory() ? collectFiles(path) : files.push(relative(dist, path).replaceAll("\\", "/"));
});
collectFiles(dist);
const cachedFiles = files.filter((f) => /\.(js|wasm|css|woff2|svg|webmanifest)$/.test(f) && f !== "sw.js").sort();
const id = createHash("sha256").update(cachedFiles.map((f) => f + createHash("sha256").update(readFileSync(join(dist, f))).digest("hex")).join()).digest("hex").slice(0, 12);
const script = cachedFiles.find((f) => f.startsWith("pmo-web-") && f.endsWith(".js"));
const wasm = cachedFiles.find((f) => f.endsWith("_bg.wasm"));
const styles = [...html.matchAll(/<link rel="stylesheet" href="([^"]+)"/g)].map((m) => m[1]);
writeFileSync(join(dist, "build.json"), JSON.stringify({
  id, lazy_styles: laterStyles ?? "", script: `/${script}`, wasm: `/${wasm}`, styles, start, start_hash: cspHash(start), theme, theme_hash: cspHash(theme), font: "/fonts/inter-latin.woff2",
}, null, 1));
const worker = readFileSync(join(root, "apps/web/service-worker.js"), "utf8")
  .replace("__BUILD__", id).replace("[/*FILES*/]", JSON.stringify(cachedFiles.map((f) => `/${f}`)));
writeFileSync(join(dist, "sw.js"), worker);

if (splitDir) {
  const compressedSizes = {};
  for (const file of [...cachedFiles, "sw.js"].filter((f) => !f.endsWith("woff2"))) {
    const compressed = compress(readFileSync(join(dist, file)));
    writeFileSync(join(dist, `${file}.br`), compressed);
    compressedSizes[file] = compressed.length;
  }
  const printRow = (name, bytes, compressed) => console.log(`${name.padEnd(40)} ${String(bytes).padStart(9)} ${String(compressed).padStart(9)}`);
  const sum = (sizeOf, files) => files.reduce((total, f) => total + sizeOf(f), 0);
  const size = (f) => statSync(join(dist, f)).size;
  const firstStyles = cachedFiles.filter((f) => f.endsWith(".css") && `/${f}` !== laterStyles);
  printRow("first load", "bytes", "brotli");
  for (const file of [wasm, script]) printRow(file, size(file), compressedSizes[file]);
  printRow("styles", sum(size, firstStyles), sum((f) => compressedSizes[f], firstStyles));
  const total = sum((f) => compressedSizes[f], [wasm, script, ...firstStyles]);
  printRow("total", `of ${BUDGET}`, total);
  for (const file of cachedFiles.filter((f) => f.startsWith("part-") || `/${f}` === laterStyles)) printRow(`later: ${file}`, size(file), compressedSizes[file]);
  const gantt = sum((f) => compressedSizes[f], cachedFiles.filter((f) => f.startsWith("part-gantt-")));
  if (gantt > GANTT_BUDGET) { console.error(`error: the Gantt chart has ${gantt} brotli bytes, more than its budget of ${GANTT_BUDGET}`); process.exit(1); }
  if (total > BUDGET) { console.error(`error: the first load has ${total} brotli bytes, more than its budget of ${BUDGET}`); process.exit(1); }
}
