// Before the app is built: takes the typeface and the line icons from their packages into apps/web/generated, with their licences.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const tools = dirname(fileURLToPath(import.meta.url));
const out = join(tools, "..", "apps", "web", "generated");
const packages = join(tools, "node_modules");

// Every icon that a page names, and every one that a migration gives to a type of thing.
const ofPages = `arrow-right arrow-up-down book-open briefcase building-2 calendar chart-gantt check chevron-down chevron-left chevron-right chevron-up circle
  circle-alert circle-check cloud-off cloud-upload columns-3 contrast diamond download ellipsis eye eye-off file-down file-up folder-kanban git-merge handshake
  hard-drive heart history info inbox link list-checks list-filter list-tree lock log-out map-pin menu message-square party-popper moon pencil plus redo-2 refresh-cw search settings
  shield smile-plus star sun table-2 thumbs-up timer trash-2 triangle-alert undo-2 upload user user-plus users x`.split(/\s+/);
const migrations = join(tools, "..", "migrations");
// A registration: code, name, label, icon, prefix.
const registration = /\('[a-z_]+', '[^']+', '[^']+', '([a-z0-9-]+)', '[A-Z]{1,5}'/g;
const ofTypes = readdirSync(migrations).flatMap((name) => [...readFileSync(join(migrations, name), "utf8").matchAll(registration)].map((m) => m[1]))
  .filter((name) => existsSync(join(packages, "lucide-static", "icons", `${name}.svg`)));
const icons = [...new Set([...ofPages, ...ofTypes])].sort();

mkdirSync(join(out, "fonts"), { recursive: true });
const write = (path, text) => {
  // An unchanged file keeps its time, or the watching build would go round for ever.
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text);
};
const encode = (svg) => svg.replace(/<!--[\s\S]*?-->/g, "").replace(/\s*class="[^"]*"/, "").replace(/\s(width|height)="\d+"(?=[^>]*viewBox)/g, "")
  .replace(/currentColor/g, "#000").replace(/\s+/g, " ").replace(/> </g, "><").trim()
  .replace(/"/g, "'").replace(/[<>#%]/g, (c) => encodeURIComponent(c));
const rules = icons.map((name) => `  .i-${name} { --i: url("data:image/svg+xml,${encode(readFileSync(join(packages, "lucide-static", "icons", `${name}.svg`), "utf8"))}"); }`);
write(join(out, "icons.css"), `/* Generated from lucide-static (ISC licence, /fonts/LICENSE-Lucide.txt). */\n@layer base {\n${rules.join("\n")}\n}\n`);

const copy = (from, to) => { if (!existsSync(to)) copyFileSync(from, to); };
copy(join(packages, "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2"), join(out, "fonts", "inter-latin.woff2"));
copy(join(packages, "@fontsource-variable/inter/LICENSE"), join(out, "fonts", "LICENSE-Inter.txt"));
copy(join(packages, "lucide-static/LICENSE"), join(out, "fonts", "LICENSE-Lucide.txt"));
