// Before the app is built: takes the typeface and the line icons from their packages into apps/web/generated, with their licences.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const tools = dirname(fileURLToPath(import.meta.url));
const out = join(tools, "..", "apps", "web", "generated");
const packages = join(tools, "node_modules");

// Every icon that a page names: those of what shows first, those of the parts that come later, and every one that a migration gives to a type of thing.
const first = `check chevron-down chevron-right chevron-up circle-alert circle-check cloud-off file-up hard-drive inbox info list-filter log-out menu moon plus refresh-cw search
  settings x`.split(/\s+/);
const later = `arrow-right calendar chevron-left circle columns-3 copy download ellipsis eye eye-off file-down folder-kanban git-merge heart history link list-tree lock message-square
  paperclip party-popper pencil redo-2 smile-plus thumbs-up trash-2 triangle-alert undo-2 upload user users`.split(/\s+/);
const migrations = join(tools, "..", "migrations");
// A registration: code, name, label, icon, prefix.
const registration = /\('[a-z_]+', '[^']+', '[^']+', '([a-z0-9-]+)', '[A-Z]{1,5}'/g;
const ofTypes = readdirSync(migrations).flatMap((name) => [...readFileSync(join(migrations, name), "utf8").matchAll(registration)].map((m) => m[1]))
  .filter((name) => existsSync(join(packages, "lucide-static", "icons", `${name}.svg`)));
const ofFirst = [...new Set([...first, ...ofTypes])].sort();
const ofLater = later.filter((name) => !ofFirst.includes(name));

mkdirSync(join(out, "fonts"), { recursive: true });
const write = (path, text) => {
  // An unchanged file keeps its time, or the watching build would go round for ever.
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text);
};
const encode = (svg) => svg.replace(/<!--[\s\S]*?-->/g, "").replace(/\s*class="[^"]*"/, "").replace(/\s(width|height)="\d+"(?=[^>]*viewBox)/g, "")
  .replace(/currentColor/g, "#000").replace(/\s+/g, " ").replace(/> </g, "><").trim()
  .replace(/"/g, "'").replace(/[<>#%]/g, (c) => encodeURIComponent(c));
const rules = (icons) => icons.map((name) => `  .i-${name} { --i: url("data:image/svg+xml,${encode(readFileSync(join(packages, "lucide-static", "icons", `${name}.svg`), "utf8"))}"); }`);
write(join(out, "icons.css"), `/* Generated from lucide-static (ISC licence, /fonts/LICENSE-Lucide.txt). */\n@layer base {\n${rules(ofFirst).join("\n")}\n}\n`);
// What comes later has its icons with its own rules.
write(join(out, "later.css"), `/* Icons from lucide-static (ISC licence, /fonts/LICENSE-Lucide.txt). */\n@layer base {\n${rules(ofLater).join("\n")}\n}\n${readFileSync(join(out, "..", "styles", "later.css"), "utf8")}`);

const copy = (from, to) => { if (!existsSync(to)) copyFileSync(from, to); };
copy(join(packages, "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2"), join(out, "fonts", "inter-latin.woff2"));
copy(join(packages, "@fontsource-variable/inter/LICENSE"), join(out, "fonts", "LICENSE-Inter.txt"));
copy(join(packages, "lucide-static/LICENSE"), join(out, "fonts", "LICENSE-Lucide.txt"));
