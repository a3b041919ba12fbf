// Puts a WASM file's functions in an order in which alike ones are neighbours: the compressor finds more to repeat, and nothing else changes. A compiler
// leaves them in the order in which it happened to make them. Called by postbuild-web.mjs; the file goes in without names and comes out without them.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TYPES = 1, IMPORTS = 2, FUNCTIONS = 3, CODE = 10;
// Fingerprints of a function: of four bytes at any place, the least of each of so many hashes. Two functions share about as many of them as they share text.
const SHINGLE = 4, HASHES = 64, ALIKE = 6;

function reader(bytes) {
  let at = 0;
  const number = () => { let value = 0, shift = 1, byte; do { byte = bytes[at++]; value += (byte & 127) * shift; shift *= 128; } while (byte & 128); return value; };
  return { number, byte: () => bytes[at++], skip: (count) => { at += count; }, go: (to) => { at = to; }, at: () => at };
}

const encoded = (number) => { const bytes = []; do { const low = number & 127; number >>>= 7; bytes.push(number ? low | 128 : low); } while (number); return Buffer.from(bytes); };

function fingerprint(body) {
  const least = new Uint32Array(HASHES).fill(0xffffffff);
  for (let from = 0; from + SHINGLE <= body.length; from += 1) {
    let hash = 0x811c9dc5;
    for (let k = 0; k < SHINGLE; k += 1) hash = Math.imul(hash ^ body[from + k], 16777619);
    for (let n = 0; n < HASHES; n += 1) {
      let mixed = Math.imul(hash ^ (n * 0x9e3779b9), 0x85ebca6b);
      mixed ^= mixed >>> 13;
      mixed = Math.imul(mixed, 0xc2b2ae35) >>> 0;
      if (mixed < least[n]) least[n] = mixed;
    }
  }
  return least;
}

/** The file in sections, the bodies of its functions, their signatures, and how many functions it imports. */
function parse(wasm) {
  const read = reader(wasm), sections = [];
  read.go(8);
  while (read.at() < wasm.length) {
    const id = read.byte(), length = read.number();
    sections.push({ id, from: read.at(), to: read.at() + length });
    read.skip(length);
  }
  const begin = (id) => { read.go(sections.find((section) => section.id === id).from); return read.number(); };
  const signatures = Array.from({ length: begin(TYPES) }, () => {
    const from = read.at();
    read.byte();
    read.skip(read.number());
    read.skip(read.number());
    return wasm.subarray(from, read.at()).toString("latin1");
  });
  const limits = () => { const flags = read.number(); read.number(); if (flags & 1) read.number(); };
  let imported = 0;
  for (let left = begin(IMPORTS); left > 0; left -= 1) {
    read.skip(read.number());
    read.skip(read.number());
    const kind = read.byte();
    if (kind === 0) { read.number(); imported += 1; }
    else if (kind === 1) { read.byte(); limits(); }
    else if (kind === 2) limits();
    else if (kind === 3) read.skip(2);
    else { read.byte(); read.number(); }
  }
  const types = Array.from({ length: begin(FUNCTIONS) }, () => signatures[read.number()]);
  const bodies = Array.from({ length: begin(CODE) }, () => { const length = read.number(); const from = read.at(); read.skip(length); return wasm.subarray(from, from + length); });
  return { sections, imported, types, bodies };
}

/** The places of functions in the new order: by signature, then each beside the one most like it. */
function arranged({ types, bodies }) {
  const groups = new Map();
  types.forEach((type, place) => groups.set(type, [...(groups.get(type) ?? []), place]));
  const marks = bodies.map(fingerprint);
  const common = (a, b) => { let count = 0; for (let n = 0; n < HASHES; n += 1) if (marks[a][n] === marks[b][n]) count += 1; return count; };
  const order = [];
  for (const type of [...groups.keys()].sort()) {
    const left = groups.get(type).sort((a, b) => Buffer.compare(bodies[a], bodies[b]) || a - b);
    for (let next = 0; left.length > 0;) {
      const [present] = left.splice(next, 1);
      order.push(present);
      next = 0;
      let most = ALIKE;
      left.forEach((other, at) => { const count = common(present, other); if (count > most) [most, next] = [count, at]; });
    }
  }
  return order;
}

/** The same program with its functions in another order; `features` are wasm-opt's. */
export function orderFunctions(wasm, features) {
  const parsed = parse(wasm), folder = mkdtempSync(join(tmpdir(), "order-"));
  try {
    // wasm-opt puts functions in the order of their names, and takes care of whoever calls them. So each gets its place for a name.
    const names = [];
    const name = (place, text) => names.push(encoded(place), encoded(text.length), Buffer.from(text));
    for (let place = 0; place < parsed.imported; place += 1) name(place, `i${place}`);
    const ranks = [];
    arranged(parsed).forEach((place, rank) => { ranks[place] = rank; });
    ranks.forEach((rank, place) => name(parsed.imported + place, `z${String(rank).padStart(6, "0")}`));
    const section = (id, body) => Buffer.concat([Buffer.from([id]), encoded(body.length), body]);
    const map = Buffer.concat([encoded(parsed.imported + ranks.length), ...names]);
    const named = Buffer.concat([encoded(4), Buffer.from("name"), section(1, map)]);
    const [input, output] = ["in.wasm", "out.wasm"].map((file) => join(folder, file));
    writeFileSync(input, Buffer.concat([wasm, section(0, named)]));
    execFileSync("wasm-opt", [...features, "--reorder-functions-by-name", "-o", output, input], { stdio: "inherit" });
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
