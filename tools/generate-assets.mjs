// Pre-build step of the app: writes into apps/web/generated the font and the icons of their npm
// packages, with their licenses, and the style sheets that are joined from several files.
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const tools = dirname(fileURLToPath(import.meta.url));
const outDir = join(tools, "..", "apps", "web", "generated");
const packages = join(tools, "node_modules");

// Icons of the first load; the icons of entity types are added from the migrations.
const baseIcons = `check chevron-down chevron-right chevron-up circle-alert circle-check cloud-off file-up hard-drive inbox info list-filter log-out menu moon plus refresh-cw search
  settings x`.split(/\s+/);
// Icons of the code-split parts.
const lazyIcons = `arrow-right calendar chart-gantt chevron-left circle columns-3 copy download ellipsis eye eye-off file-down folder-kanban git-fork git-merge heart history link list-tree lock message-square
  paperclip party-popper pencil redo-2 printer smile-plus thumbs-up trash-2 triangle-alert undo-2 upload user users zoom-in zoom-out`.split(/\s+/);
const migrations = join(tools, "..", "migrations");
const iconFile = (name) => join(packages, "lucide-static", "icons", `${name}.svg`);
// Values of a type registration: code, name, label, icon, prefix.
const registration = /\('[a-z_]+', '[^']+', '[^']+', '([a-z0-9-]+)', '[A-Z]{1,5}'/g;
const typeIcons = readdirSync(migrations).flatMap((name) => [...readFileSync(join(migrations, name), "utf8").matchAll(registration)].map((m) => m[1]))
  .filter((name) => existsSync(iconFile(name)));
const firstLoadIcons = [...new Set([...baseIcons, ...typeIcons])].sort();
const laterIcons = lazyIcons.filter((name) => !firstLoadIcons.includes(name));

mkdirSync(join(outDir, "fonts"), { recursive: true });
const write = (path, text) => {
  // Unchanged files keep their modification time; otherwise the watcher would rebuild forever.
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text);
};
const encodeSvg = (svg) => svg.replace(/<!--[\s\S]*?-->/g, "").replace(/\s*class="[^"]*"/, "").replace(/\s(width|height)="\d+"(?=[^>]*viewBox)/g, "")
  .replace(/currentColor/g, "#000").replace(/\s+/g, " ").replace(/> </g, "><").trim()
  .replace(/"/g, "'").replace(/[<>#%]/g, (c) => encodeURIComponent(c));
const iconRules = (icons) => icons.map((name) => `  .i-${name} { --i: url("data:image/svg+xml,${encodeSvg(readFileSync(iconFile(name), "utf8"))}"); }`);
write(join(outDir, "icons.css"), `/* Generated from lucide-static (ISC license, /fonts/LICENSE-Lucide.txt). */\n@layer base {\n${iconRules(firstLoadIcons).join("\n")}\n}\n`);
/** Joins the sheets that `styles/NAME.css` imports, in its order, into one block per cascade layer. */
const joinStyles = (name) => {
  const styles = join(outDir, "..", "styles");
  const blocks = new Map();
  for (const [, path] of readFileSync(join(styles, `${name}.css`), "utf8").matchAll(/^@import "([^"]+)";$/gm)) {
    const sheet = readFileSync(join(styles, path), "utf8");
    const rest = sheet.replace(/^@layer ([\w-]+) \{\n([\s\S]*?)^\}$/gm, (_, layer, rules) => {
      blocks.set(layer, (blocks.get(layer) ?? "") + rules);
      return "";
    });
    if (rest.replace(/\/\*[\s\S]*?\*\//g, "").trim()) throw new Error(`${path}: rules outside of a cascade layer`);
  }
  return [...blocks].map(([layer, rules]) => `@layer ${layer} {\n${rules}}\n`).join("");
};
write(join(outDir, "components.css"), joinStyles("components"));
// The styles of the code-split parts contain their icons.
write(join(outDir, "later.css"), `/* Icons from lucide-static (ISC license, /fonts/LICENSE-Lucide.txt). */\n@layer base {\n${iconRules(laterIcons).join("\n")}\n}\n${joinStyles("later")}`);

const copyOnce = (from, to) => { if (!existsSync(to)) copyFileSync(from, to); };
copyOnce(join(packages, "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2"), join(outDir, "fonts", "inter-latin.woff2"));
copyOnce(join(packages, "@fontsource-variable/inter/LICENSE"), join(outDir, "fonts", "LICENSE-Inter.txt"));
copyOnce(join(packages, "lucide-static/LICENSE"), join(outDir, "fonts", "LICENSE-Lucide.txt"));
