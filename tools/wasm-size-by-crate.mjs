// Who takes how much of a WASM file, by the crate in each function's name: `node tools/wasm-size-by-crate.mjs FILE [CRATE]` lists crates, or the functions of one.
// The file must still have its names; what the linker merged counts for whoever's name stayed. The last column is the code alone as brotli: of a file that
// wasm-opt has been over (`wasm-opt -Oz -g`) what the crate adds to the download.
import { readFileSync } from "node:fs";
import { brotliCompressSync } from "node:zlib";

const bytes = readFileSync(process.argv[2]), only = process.argv[3];
let at = 8;
const number = () => { let n = 0, shift = 0, byte; do { byte = bytes[at++]; n += (byte & 127) * 2 ** shift; shift += 7; } while (byte & 128); return n; };
const text = () => { const length = number(); at += length; return bytes.toString("utf8", at - length, at); };
const sizes = [], bodies = [], names = new Map();
let imported = 0;
while (at < bytes.length) {
  const kind = bytes[at++], end = number() + at;
  if (kind === 2) {
    for (let n = number(); n > 0; n -= 1) {
      text(); text();
      const what = bytes[at++];
      if (what === 0) { number(); imported += 1; } else if (what === 3) { at += 2; } else if (what === 1) { at += 1; const limits = bytes[at++]; number(); if (limits & 1) number(); } else if (what === 2) { const limits = bytes[at++]; number(); if (limits & 1) number(); } else { at += 1; number(); }
    }
  } else if (kind === 10) {
    for (let n = number(); n > 0; n -= 1) { const size = number(); sizes.push(size); bodies.push(bytes.subarray(at, at + size)); at += size; }
  } else if (kind === 0 && text() === "name") {
    while (at < end) {
      const part = bytes[at++], stop = number() + at;
      if (part === 1) for (let n = number(); n > 0; n -= 1) { const index = number(); names.set(index, text()); }
      at = stop;
    }
  }
  at = end;
}
const signs = { LT: "<", GT: ">", RF: "&", BP: "*", LP: "(", RP: ")", C: ",", "u20": " ", "u7b": "{", "u7d": "}", "u5b": "[", "u5d": "]", "u27": "'", "u3d": "=", "u3b": ";", "u2b": "+", "u22": '"' };
/** A mangled name as people write it. */
const plain = (name) => {
  if (!name.startsWith("_ZN")) return name;
  const parts = [];
  for (let i = 3; /\d/.test(name[i] ?? "");) {
    const digits = name.slice(i).match(/^\d+/)[0];
    parts.push(name.substr(i + digits.length, Number(digits)));
    i += digits.length + Number(digits);
  }
  return parts.filter((part) => !/^h[0-9a-f]{16}$/.test(part)).map((part) => part.replace(/^_(?=\$)/, "").replace(/\$(\w+)\$/g, (_, sign) => signs[sign] ?? "?").replace(/\.\./g, "::")).join("::");
};
// `<T as a::Trait>::f` and `<a::T>::f` belong to the crate of the type, generics to the crate that is named first.
const crate = (name) => plain(name).replace(/^[<&*([{ ]+(mut |dyn |impl )*/, "").match(/^[A-Za-z_][A-Za-z0-9_]*/)?.[0] ?? "other";
const groups = new Map(), code = new Map();
sizes.forEach((size, index) => {
  const name = names.get(index + imported) ?? "without a name";
  const key = only ? plain(name) : crate(name);
  if (!only || name.includes(only)) { groups.set(key, (groups.get(key) ?? 0) + size); (code.get(key) ?? code.set(key, []).get(key)).push(bodies[index]); }
});
const total = sizes.reduce((a, b) => a + b, 0);
const rows = [...groups].sort((a, b) => b[1] - a[1]);
const shown = rows.reduce((sum, row) => sum + row[1], 0);
console.log(`${total} bytes of code${only ? `, ${shown} of them with '${only}' in their names` : ""}`);
for (const [key, size] of rows.slice(0, only ? 60 : 40)) {
  const alone = only ? "" : `${String(brotliCompressSync(Buffer.concat(code.get(key))).length).padStart(8)}  `;
  console.log(`${String(size).padStart(9)} ${(100 * size / total).toFixed(1).padStart(5)} %  ${alone}${key.slice(0, 160)}`);
}
