// Checks the structure of the sources; run by the test script, and by hand: `node tools/check-structure.mjs [--list]`.
//
// 1. No import circle between the files of a crate.
// 2. No import against the layer order of a crate (LAYERS).
// 3. No retired word in an identifier, a CSS class or a test id (docs/GLOSSARY.md has the words that replace them).
// 4. No Rust comment wider than COMMENT_WIDTH columns. A stable rustfmt does not wrap comments.
// 5. No file longer than FILE_LINES lines.
//
// Circles, upward imports and long files that exist today are listed in tools/structure-exceptions.txt. A new one fails the check, and so
// does a listed one that is gone: the list can only become shorter.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const EXCEPTIONS = "tools/structure-exceptions.txt";
const RETIRED = /^(told|tells?|sights?|reach(es)?|keepsakes?|vitals|mailbox(es)?|things?|hangs?|ties?|swept|rung|anew)$/;
// Further names that CSS classes and test ids must not have.
const RETIRED_CLASSES = new Set(
  "as-is at attach door first-run follows give happened here-now keep kept left-behind left-out looks naming nothing-here opens picked plate said settled stone talk twist typed who".split(" "),
);
const COMMENT_WIDTH = 100;
const FILE_LINES = 600;
// A file may import files of its own layer and of the layers to its left.
const LAYERS = { "apps/web": ["client", "hooks", "ui", "table", "pages", "lazy", "app"] };

const list = (...patterns) =>
  execFileSync("git", ["ls-files", "-co", "--exclude-standard", "--", ...patterns], { cwd: root, encoding: "utf8" })
    .split("\n")
    .filter((file) => file && existsSync(join(root, file)));
const read = (file) => readFileSync(join(root, file), "utf8");

/** Replaces comments and literals by spaces, so that only code is left; keeps line breaks. */
function codeOnly(text, kind) {
  const patterns = {
    rs: /\/\/[^\n]*|\/\*[\s\S]*?\*\/|b?r(#*)"[\s\S]*?"\1|b?"(?:\\[\s\S]|[^"\\])*"|b?'(?:\\[^\n']+|[^\\'\n])'/g,
    sql: /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:''|[^'])*'/g,
    mjs: /\/\/[^\n]*|\/\*[\s\S]*?\*\/|`(?:\\[\s\S]|[^`\\])*`|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(?<=[(,=:[!&|?{};]\s*)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^\/\\\n])+\/[a-z]*/g,
    sh: /(?<=^|\s)#[^\n]*|"(?:\\[\s\S]|[^"\\])*"|'[^']*'/g,
  };
  return text.replace(patterns[kind], (found) => found.replaceAll(/[^\n]/g, " "));
}

// --- Modules -----------------------------------------------------------------------------------------------------

/** Maps the files of a crate to their module paths; test modules are left out. */
function modulesOf(crate) {
  const modules = new Map();
  const visit = (file, path) => {
    const code = codeOnly(read(file), "rs");
    const module = { file, path, code, children: new Map(), reexports: [] };
    modules.set(path.join("::"), module);
    const folder = /(lib|main|mod)\.rs$/.test(file) ? dirname(file) : file.replace(/\.rs$/, "");
    for (const [, attributes, name] of code.matchAll(/((?:#\[[^\]]*\]\s*)*)(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;/g)) {
      if (/cfg\(test\)/.test(attributes)) continue;
      const child = [`${folder}/${name}.rs`, `${folder}/${name}/mod.rs`].find((candidate) => existsSync(join(root, candidate)));
      if (!child) continue;
      module.children.set(name, [...path, name].join("::"));
      visit(child, [...path, name]);
    }
  };
  const entry = [`${crate}/src/lib.rs`, `${crate}/src/main.rs`].find((file) => existsSync(join(root, file)));
  if (entry) visit(entry, []);
  return modules;
}

/** Splits `a::{b, c::{d, e as f}}` into its paths. */
function expand(tree) {
  const open = tree.indexOf("{");
  if (open < 0) return [tree.replace(/\s+as\s+\w+$/, "").trim()];
  const prefix = tree.slice(0, open);
  const inside = tree.slice(open + 1, tree.lastIndexOf("}"));
  const parts = [];
  let depth = 0;
  let part = "";
  for (const c of inside) {
    if (c === "{") depth++;
    if (c === "}") depth--;
    if (c === "," && depth === 0) {
      parts.push(part);
      part = "";
    } else part += c;
  }
  parts.push(part);
  return parts.filter((p) => p.trim()).flatMap((p) => expand(prefix + p.trim()));
}

/** Code without inline test modules. */
function withoutTests(code) {
  const at = code.search(/#\[cfg\(test\)\]\s*(pub\s+)?mod\s+\w+\s*\{/);
  return at < 0 ? code : code.slice(0, at);
}

/** The files that each file imports: `use` declarations and paths in code. */
function importsOf(modules, crateName) {
  const absolute = (path, from) => {
    const parts = path.split("::").map((p) => p.trim());
    let base;
    if (parts[0] === "crate" || parts[0] === crateName) base = [];
    else if (parts[0] === "self") base = from.path;
    else if (parts[0] === "super") base = from.path.slice(0, -1);
    else if (from.children.has(parts[0])) return [...from.path, ...parts];
    else return null;
    let rest = parts.slice(1);
    while (rest[0] === "super") {
      base = base.slice(0, -1);
      rest = rest.slice(1);
    }
    return [...base, ...rest];
  };
  for (const module of modules.values()) {
    for (const [, tree] of withoutTests(module.code).matchAll(/\bpub(?:\([^)]*\))?\s+use\s+([^;]+);/g)) {
      for (const path of expand(tree)) {
        const parts = absolute(path, module);
        if (parts) module.reexports.push(parts);
      }
    }
  }
  // The module that defines what `parts` names, through re-exports.
  const resolve = (parts, depth = 0) => {
    let module = modules.get("");
    let at = 0;
    while (at < parts.length && module.children.has(parts[at])) module = modules.get(module.children.get(parts[at++]));
    const item = parts[at];
    if (item && depth < 8) {
      const found = module.reexports.find((r) => r.at(-1) === item && r.slice(0, -1).join("::") !== module.path.join("::"));
      if (found) return resolve(found, depth + 1);
    }
    return module;
  };
  const graph = new Map();
  for (const module of modules.values()) {
    const targets = new Set();
    const code = withoutTests(module.code);
    const add = (path) => {
      const parts = absolute(path, module);
      if (!parts) return;
      const target = resolve(parts);
      if (target.file !== module.file) targets.add(target.file);
    };
    const uses = /\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);/g;
    for (const [, isPublic, tree] of code.matchAll(uses)) if (!isPublic) expand(tree).forEach(add);
    for (const [path] of code.replaceAll(uses, "").matchAll(/\b(?:crate|super|self)(?:::\w+)+/g)) add(path);
    const names = [...module.children.keys()];
    if (names.length) for (const [path] of code.replaceAll(uses, "").matchAll(new RegExp(`(?<![:\\w.])(?:${names.join("|")})(?:::\\w+)+`, "g"))) add(path);
    graph.set(module.file, targets);
  }
  return graph;
}

/** Strongly connected components with more than one file (Tarjan). */
function circles(graph) {
  const [index, low, stack, on, found] = [new Map(), new Map(), [], new Set(), []];
  const visit = (node) => {
    index.set(node, index.size);
    low.set(node, index.get(node));
    stack.push(node);
    on.add(node);
    for (const next of graph.get(node) ?? []) {
      if (!index.has(next)) {
        visit(next);
        low.set(node, Math.min(low.get(node), low.get(next)));
      } else if (on.has(next)) low.set(node, Math.min(low.get(node), index.get(next)));
    }
    if (low.get(node) === index.get(node)) {
      const component = [];
      let member;
      do {
        member = stack.pop();
        on.delete(member);
        component.push(member);
      } while (member !== node);
      if (component.length > 1) found.push(component.sort());
    }
  };
  for (const node of graph.keys()) if (!index.has(node)) visit(node);
  return found;
}

// --- The checks --------------------------------------------------------------------------------------------------

const problems = [];
const structure = [];
for (const manifest of list("crates/*/Cargo.toml", "apps/*/Cargo.toml")) {
  const crate = dirname(manifest);
  const name = read(manifest).match(/^name = "([^"]+)"/m)[1].replaceAll("-", "_");
  const graph = importsOf(modulesOf(crate), name);
  const short = (file) => relative(`${crate}/src`, file);
  // Each pair of files inside a circle that imports the other way round, so that an entry names something that can be mended.
  for (const circle of circles(graph)) {
    const members = new Set(circle);
    for (const file of circle) for (const target of graph.get(file)) if (members.has(target)) structure.push(`circle ${crate}: ${short(file)} -> ${short(target)}`);
  }
  const layers = LAYERS[crate];
  if (!layers) continue;
  const layer = (file) => layers.indexOf(short(file).split("/")[0].replace(/\.rs$/, ""));
  for (const [file, targets] of graph) for (const target of targets) if (layer(file) >= 0 && layer(target) > layer(file)) structure.push(`upward ${crate}: ${short(file)} -> ${short(target)}`);
}

const words = (identifier) => identifier.split(/_|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/).map((word) => word.toLowerCase());
const kinds = { rs: ["*.rs"], sql: ["migrations/*.sql", "db/*.sql"], mjs: ["*.mjs", "apps/web/*.js"], sh: ["tools/*.sh", ".ci/run"] };
for (const [kind, patterns] of Object.entries(kinds)) {
  for (const file of list(...patterns)) {
    if (file === "tools/check-structure.mjs") continue;
    const code = codeOnly(read(file), kind);
    code.split("\n").forEach((line, number) => {
      for (const [identifier] of line.matchAll(/[A-Za-z_]\w*/g)) {
        const word = words(identifier).find((w) => RETIRED.test(w));
        if (word) problems.push(`${file}:${number + 1}: retired word '${word}' in '${identifier}'`);
      }
    });
  }
}

const stylesheets = list("apps/web/styles/*.css").map((file) => [file, /\.([a-z][\w-]*)(?=[^{};]*\{)/g]);
const views = list("apps/web/src/*.rs").flatMap((file) => [[file, /\bclass="([^"]*)"/g], [file, /\bclass:([\w-]+)=/g], [file, /\bdata-testid="([^"]*)"/g]]);
for (const [file, pattern] of [...stylesheets, ...views]) {
  const text = read(file).replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, " "));
  for (const { 1: names, index } of text.matchAll(pattern)) {
    const name = names.split(" ").find((name) => RETIRED_CLASSES.has(name) || name.split("-").some((word) => RETIRED.test(word)));
    if (name) problems.push(`${file}:${text.slice(0, index).split("\n").length}: retired class or test id '${name}'`);
  }
}
for (const file of list("*.rs")) {
  read(file).split("\n").forEach((line, number) => {
    if (/^\s*\/\//.test(line) && [...line].length > COMMENT_WIDTH) problems.push(`${file}:${number + 1}: the comment has more than ${COMMENT_WIDTH} columns`);
  });
}
for (const file of list("*.rs", "*.sql", "*.css", "*.mjs", "*.sh", "apps/web/*.js")) {
  const lines = read(file).split("\n").length - 1;
  if (lines > FILE_LINES) structure.push(`long ${file}`);
}

if (process.argv.includes("--list")) {
  console.log([...new Set(structure)].sort().join("\n"));
  process.exit(0);
}
const exceptions = new Set(existsSync(join(root, EXCEPTIONS)) ? read(EXCEPTIONS).split("\n").filter((line) => line && !line.startsWith("#")) : []);
for (const entry of new Set(structure)) if (!exceptions.has(entry)) problems.push(`new ${entry}`);
for (const entry of exceptions) if (!structure.includes(entry)) problems.push(`${EXCEPTIONS}: '${entry}' is gone; remove the line`);
for (const problem of problems) console.error(problem);
if (problems.length) {
  console.error(`${problems.length} problem(s)`);
  process.exit(1);
}
console.log(`structure: ok (${exceptions.size} known exceptions)`);
