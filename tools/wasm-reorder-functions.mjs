// Reorders the functions of a WASM file so that similar functions are adjacent, which makes the
// compressed file smaller. The behavior of the program does not change. Used by postbuild-web.mjs.
// The input has no name section, and neither has the output.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TYPE_SECTION = 1, IMPORT_SECTION = 2, FUNCTION_SECTION = 3, CODE_SECTION = 10;
// MinHash fingerprints: for each hash function, the minimum over all substrings of SHINGLE_BYTES
// bytes. The number of equal entries estimates the similarity of two functions.
const SHINGLE_BYTES = 4, HASH_COUNT = 64, MIN_EQUAL_HASHES = 6;

function createReader(bytes) {
  let offset = 0;
  const leb128 = () => { let value = 0, scale = 1, byte; do { byte = bytes[offset++]; value += (byte & 127) * scale; scale *= 128; } while (byte & 128); return value; };
  return { leb128, byte: () => bytes[offset++], skip: (count) => { offset += count; }, seek: (position) => { offset = position; }, offset: () => offset };
}

const encodeLeb128 = (number) => { const bytes = []; do { const low = number & 127; number >>>= 7; bytes.push(number ? low | 128 : low); } while (number); return Buffer.from(bytes); };

function fingerprint(body) {
  const minimums = new Uint32Array(HASH_COUNT).fill(0xffffffff);
  for (let from = 0; from + SHINGLE_BYTES <= body.length; from += 1) {
    let hash = 0x811c9dc5;
    for (let k = 0; k < SHINGLE_BYTES; k += 1) hash = Math.imul(hash ^ body[from + k], 16777619);
    for (let n = 0; n < HASH_COUNT; n += 1) {
      let mixed = Math.imul(hash ^ (n * 0x9e3779b9), 0x85ebca6b);
      mixed ^= mixed >>> 13;
      mixed = Math.imul(mixed, 0xc2b2ae35) >>> 0;
      if (mixed < minimums[n]) minimums[n] = mixed;
    }
  }
  return minimums;
}

/** Returns the number of imported functions, and the signature and the body of each own function. */
function parse(wasm) {
  const reader = createReader(wasm), sections = [];
  reader.seek(8);
  while (reader.offset() < wasm.length) {
    const id = reader.byte(), length = reader.leb128();
    sections.push({ id, from: reader.offset() });
    reader.skip(length);
  }
  // Moves to the first item of a section; returns the number of items.
  const enterSection = (id) => { reader.seek(sections.find((section) => section.id === id).from); return reader.leb128(); };
  const signatures = Array.from({ length: enterSection(TYPE_SECTION) }, () => {
    const from = reader.offset();
    reader.byte();
    reader.skip(reader.leb128());
    reader.skip(reader.leb128());
    return wasm.subarray(from, reader.offset()).toString("latin1");
  });
  const skipLimits = () => { const flags = reader.leb128(); reader.leb128(); if (flags & 1) reader.leb128(); };
  let importCount = 0;
  for (let left = enterSection(IMPORT_SECTION); left > 0; left -= 1) {
    reader.skip(reader.leb128());
    reader.skip(reader.leb128());
    const kind = reader.byte();
    if (kind === 0) { reader.leb128(); importCount += 1; } // function
    else if (kind === 1) { reader.byte(); skipLimits(); } // table
    else if (kind === 2) skipLimits(); // memory
    else if (kind === 3) reader.skip(2); // global
    else { reader.byte(); reader.leb128(); } // tag
  }
  const types = Array.from({ length: enterSection(FUNCTION_SECTION) }, () => signatures[reader.leb128()]);
  const bodies = Array.from({ length: enterSection(CODE_SECTION) }, () => { const length = reader.leb128(); const from = reader.offset(); reader.skip(length); return wasm.subarray(from, from + length); });
  return { importCount, types, bodies };
}

/** Returns function indexes in the new order: by signature, then greedily by similarity. */
function sortBySimilarity({ types, bodies }) {
  const groups = new Map();
  types.forEach((type, index) => groups.set(type, [...(groups.get(type) ?? []), index]));
  const fingerprints = bodies.map(fingerprint);
  const equalHashes = (a, b) => { let count = 0; for (let n = 0; n < HASH_COUNT; n += 1) if (fingerprints[a][n] === fingerprints[b][n]) count += 1; return count; };
  const order = [];
  for (const type of [...groups.keys()].sort()) {
    const remaining = groups.get(type).sort((a, b) => Buffer.compare(bodies[a], bodies[b]) || a - b);
    for (let next = 0; remaining.length > 0;) {
      const [current] = remaining.splice(next, 1);
      order.push(current);
      next = 0;
      let most = MIN_EQUAL_HASHES;
      remaining.forEach((other, position) => { const count = equalHashes(current, other); if (count > most) [most, next] = [count, position]; });
    }
  }
  return order;
}

/** Returns the program with its functions reordered; `features` are the feature flags of wasm-opt. */
export function reorderFunctions(wasm, features) {
  const parsed = parse(wasm), workDir = mkdtempSync(join(tmpdir(), "reorder-"));
  try {
    // wasm-opt can sort functions by name and updates all references, so each function gets its new
    // position as its name.
    const names = [];
    const addName = (index, text) => names.push(encodeLeb128(index), encodeLeb128(text.length), Buffer.from(text));
    for (let index = 0; index < parsed.importCount; index += 1) addName(index, `i${index}`);
    const positions = [];
    sortBySimilarity(parsed).forEach((index, position) => { positions[index] = position; });
    positions.forEach((position, index) => addName(parsed.importCount + index, `z${String(position).padStart(6, "0")}`));
    const section = (id, body) => Buffer.concat([Buffer.from([id]), encodeLeb128(body.length), body]);
    const functionNames = Buffer.concat([encodeLeb128(parsed.importCount + positions.length), ...names]);
    const nameSection = Buffer.concat([encodeLeb128(4), Buffer.from("name"), section(1, functionNames)]);
    const [input, output] = ["in.wasm", "out.wasm"].map((file) => join(workDir, file));
    writeFileSync(input, Buffer.concat([wasm, section(0, nameSection)]));
    execFileSync("wasm-opt", [...features, "--reorder-functions-by-name", "-o", output, input], { stdio: "inherit" });
    return readFileSync(output);
  } finally {
    rmSync(workDir, { recursive: true });
  }
}
