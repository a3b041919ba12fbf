// Reports the code size of a WASM file by crate: `node tools/wasm-size-by-crate.mjs FILE [CRATE]`
// lists all crates, or the functions of one crate.
// The file needs its name section. Functions merged by the linker count for the remaining name.
// The brotli column compresses the code of each crate alone; for a file processed by wasm-opt
// (`wasm-opt -Oz -g`) it approximates the share of the crate in the download.
import { readFileSync } from "node:fs";
import { brotliCompressSync } from "node:zlib";

const bytes = readFileSync(process.argv[2]), filter = process.argv[3];
let offset = 8;
const readLeb128 = () => { let value = 0, shift = 0, byte; do { byte = bytes[offset++]; value += (byte & 127) * 2 ** shift; shift += 7; } while (byte & 128); return value; };
const readString = () => { const length = readLeb128(); offset += length; return bytes.toString("utf8", offset - length, offset); };
const skipLimits = () => { const flags = bytes[offset++]; readLeb128(); if (flags & 1) readLeb128(); };
const sizes = [], bodies = [], names = new Map();
let importCount = 0;
while (offset < bytes.length) {
  const section = bytes[offset++], end = readLeb128() + offset;
  if (section === 2) { // imports
    for (let n = readLeb128(); n > 0; n -= 1) {
      readString(); readString();
      const kind = bytes[offset++];
      if (kind === 0) { readLeb128(); importCount += 1; } // function
      else if (kind === 3) offset += 2; // global
      else if (kind === 1) { offset += 1; skipLimits(); } // table
      else if (kind === 2) skipLimits(); // memory
      else { offset += 1; readLeb128(); } // tag
    }
  } else if (section === 10) { // code
    for (let n = readLeb128(); n > 0; n -= 1) { const size = readLeb128(); sizes.push(size); bodies.push(bytes.subarray(offset, offset + size)); offset += size; }
  } else if (section === 0 && readString() === "name") {
    while (offset < end) {
      const subsection = bytes[offset++], subsectionEnd = readLeb128() + offset;
      if (subsection === 1) for (let n = readLeb128(); n > 0; n -= 1) { const index = readLeb128(); names.set(index, readString()); }
      offset = subsectionEnd;
    }
  }
  offset = end;
}
const ESCAPES = { LT: "<", GT: ">", RF: "&", BP: "*", LP: "(", RP: ")", C: ",", "u20": " ", "u7b": "{", "u7d": "}", "u5b": "[", "u5d": "]", "u27": "'", "u3d": "=", "u3b": ";", "u2b": "+", "u22": '"' };
/** Demangles a function name (legacy mangling). */
const demangle = (name) => {
  if (!name.startsWith("_ZN")) return name;
  const parts = [];
  for (let i = 3; /\d/.test(name[i] ?? "");) {
    const digits = name.slice(i).match(/^\d+/)[0];
    parts.push(name.substr(i + digits.length, Number(digits)));
    i += digits.length + Number(digits);
  }
  return parts.filter((part) => !/^h[0-9a-f]{16}$/.test(part)).map((part) => part.replace(/^_(?=\$)/, "").replace(/\$(\w+)\$/g, (_, escape) => ESCAPES[escape] ?? "?").replace(/\.\./g, "::")).join("::");
};
// `<T as a::Trait>::f` and `<a::T>::f` count for the crate of the type, generics for the first crate
// in the name.
const crateOf = (name) => demangle(name).replace(/^[<&*([{ ]+(mut |dyn |impl )*/, "").match(/^[A-Za-z_][A-Za-z0-9_]*/)?.[0] ?? "other";
const groups = new Map(), code = new Map();
sizes.forEach((size, index) => {
  const name = names.get(index + importCount) ?? "unnamed";
  const key = filter ? demangle(name) : crateOf(name);
  if (!filter || name.includes(filter)) { groups.set(key, (groups.get(key) ?? 0) + size); (code.get(key) ?? code.set(key, []).get(key)).push(bodies[index]); }
});
const total = sizes.reduce((a, b) => a + b, 0);
const rows = [...groups].sort((a, b) => b[1] - a[1]);
const matching = rows.reduce((sum, row) => sum + row[1], 0);
console.log(`${total} bytes of code${filter ? `, ${matching} of them in functions with '${filter}' in the name` : ""}`);
for (const [key, size] of rows.slice(0, filter ? 60 : 40)) {
  const brotli = filter ? "" : `${String(brotliCompressSync(Buffer.concat(code.get(key))).length).padStart(8)}  `;
  console.log(`${String(size).padStart(9)} ${(100 * size / total).toFixed(1).padStart(5)} %  ${brotli}${key.slice(0, 160)}`);
}
