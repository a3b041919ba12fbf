// What `just bench client` does in the page: the engine's side and the peers' side of each measurement. Both begin with the same texts, as they would
// come from the server, and end with the same thing: rows on the device, rows that can be drawn.
import start, { Bench } from "./engine.js";
import Dexie from "./node_modules/dexie/dist/modern/dexie.mjs";
import { QueryClient, QueryObserver } from "./node_modules/@tanstack/query-core/build/modern/index.js";

const words = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo sierra tango".split(" ");
const id = (n) => `01990000-0000-7000-0000-${n.toString(16).padStart(12, "0")}`;
const project = "00000000-0000-0000-0000-000000000007";
const descr = Array.from({ length: 84 }, (_, i) => words[(i * 7) % words.length]).join(" ");
/** A row of about 960 bytes. */
const row = (n, version = 1, name = `${words[(n * 13) % 20]} ${words[(n * 7) % 20]} ${n}`) => ({
  id: id(n), code: `T-${n}`, name, descr, project_id: project, priority: n % 5, budget_amt: (n * 7919) % 10_000, dl__task_stage: words[n % 6],
  start_date: `2026-${String(1 + (n % 12)).padStart(2, "0")}-11`, due_date: `2027-${String(1 + (n % 12)).padStart(2, "0")}-21`,
  version, active_flag: true, created_ts: "2026-11-20T10:11:12.131415Z", updated_ts: "2026-11-25T10:11:12.131415Z", permission: 7,
});
const PAGE = 1000;
const bytes = new TextEncoder();
const pages = (rows) => Array.from({ length: rows / PAGE }, (_, p) => {
  const data = Array.from({ length: PAGE }, (_, i) => row(p * PAGE + i));
  return JSON.stringify({ data, next_cursor: (p + 1) * PAGE < rows ? `c${p}` : undefined });
});
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const p95 = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length * 0.95)];
const turn = () => new Promise((done) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = done; port2.postMessage(0); });
const frame = () => new Promise((done) => requestAnimationFrame(done));

let memory;
let kept; // what a side holds on to, so that nobody collects it
const ready = start({ module_or_path: "./engine_bg.wasm" }).then((wasm) => { memory = wasm.memory; });
export const wasmBytes = () => memory.buffer.byteLength;

const filled = async (rows, person) => {
  await ready;
  const bench = await Bench.open(person);
  bench.look();
  for (const text of pages(rows)) bench.answer(bytes.encode(text));
  bench.hello();
  await bench.settle();
  bench.requests();
  bench.changed();
  return bench;
};
// The tables and the start of the architecture that the engine takes the place of.
const dexie = (name) => {
  const db = new Dexie(name);
  db.version(1).stores({ entities: "_id, entityCode, entityId, syncedAt, isDeleted", entityLists: "_id, entityCode, queryHash, syncedAt" });
  return db;
};
const entity = (data) => ({ _id: `task:${data.id}`, entityCode: "task", entityId: data.id, data, version: data.version, syncedAt: Date.now(), isDeleted: false });
const key = (n) => ["entity", "task", id(n)];

export const engine = {
  /** From the first page of the list to the last row on disk, in milliseconds. */
  async persist(rows, person) {
    await ready;
    const bench = await Bench.open(person), texts = pages(rows).map((text) => bytes.encode(text));
    bench.look();
    await bench.settle();
    await filled(2000, person + 1_000_000);
    const began = performance.now();
    let more = true;
    // As in the app: what is asked of the device is done beside, in order.
    const writing = (async () => { while ((await bench.step()) || more) await turn(); })();
    for (const text of texts) { bench.answer(text); await turn(); }
    more = false;
    await writing;
    return performance.now() - began;
  },
  /** On a new page, from opening the device to 50 rows that can be drawn, and until all are there. */
  async hydrate(rows, person) {
    await ready;
    const began = performance.now();
    const bench = kept = await Bench.open(person);
    bench.look();
    while (bench.first(50)[0] < 50) if (!(await bench.step()) && bench.first(50)[0] < 50) throw new Error("the list never came");
    const first = performance.now() - began;
    bench.hello(); // what nobody looks at is read in the background, once the socket is open
    await bench.settle();
    if (bench.first(50)[2] !== rows) throw new Error(`${bench.first(50)[2]} rows`);
    return { first, all: performance.now() - began };
  },
  async writes(person) {
    const bench = await filled(1000, person), one = [];
    for (let n = 0; n < 200; n += 1) {
      const began = performance.now();
      bench.update(n, "name", `typed ${n}`);
      await bench.settle();
      one.push(performance.now() - began);
    }
    const began = performance.now();
    for (let n = 200; n < 700; n += 1) bench.update(n, "name", `typed ${n}`);
    await bench.settle();
    return { one: median(one), burst: (performance.now() - began) / 500 };
  },
  /** From the keystroke to after the frame that shows it, with 100 rows drawn; keystrokes come with the frame. */
  async screen(rows, person) {
    const bench = await filled(rows, person), cells = [], took = [];
    bench.look_at_rows(100);
    for (let n = 0; n < 100; n += 1) { const cell = document.createElement("div"); cell.textContent = bench.name(n); document.body.append(cell); cells.push(cell); }
    for (let k = 0; k < 200; k += 1) {
      await frame();
      const began = performance.now(), n = k % 100;
      bench.update(n, "name", `typed ${k}`);
      if (bench.changed() === 0) throw new Error("nobody was told");
      cells[n].textContent = bench.name(n);
      await turn();
      took.push(performance.now() - began);
      if (cells[n].textContent !== `typed ${k}`) throw new Error("not on the screen");
      await bench.settle();
    }
    return p95(took);
  },
  async invalidate(rows, person) {
    const bench = kept = await filled(rows, person), took = [];
    bench.look_at_rows(100);
    await bench.settle();
    bench.answer_rows(Array.from({ length: 100 }, (_, n) => JSON.stringify(row(n))).join("\n"));
    await bench.settle();
    for (let k = 0; k < 300; k += 1) {
      const n = k % 100, version = 2 + k;
      const began = performance.now();
      bench.invalidate(n, version);
      took.push(performance.now() - began);
      bench.answer_rows(JSON.stringify(row(n, version)));
      await bench.settle();
    }
    bench.requests();
    bench.invalidate_all();
    return { one: median(took), all: bench.requests() };
  },
  async part(rows, person) {
    const bench = kept = await filled(rows, person), took = [], changed = [];
    for (let k = 0; k < 30; k += 1) {
      const began = performance.now();
      bench.look_at_part(3000 + k);
      const shown = bench.first(100, 3000 + k);
      took.push(performance.now() - began);
      if (shown[0] !== 100) throw new Error("the part is empty");
    }
    for (let k = 0; k < 100; k += 1) {
      const began = performance.now();
      bench.update(k * 37, "budget_amt", k % 2 ? "1" : "9000");
      if (bench.first(1, 3029)[0] !== 1) throw new Error("the part is empty"); // the others stay as they are drawn
      changed.push(performance.now() - began);
      await bench.settle();
    }
    return { first: took[0], next: median(took.slice(1)), changed: median(changed) };
  },
};

export const peer = {
  async persist(rows, person) {
    const db = dexie(`peer-${person}`), texts = pages(rows);
    await db.table("entities").bulkPut(pages(2000).flatMap((text) => JSON.parse(text).data.map(entity)));
    await db.table("entities").clear();
    const began = performance.now();
    await db.table("entities").bulkPut(texts.flatMap((text) => JSON.parse(text).data.map(entity)));
    await db.table("entityLists").put({ _id: "tasks", entityCode: "task", queryHash: "", syncedAt: Date.now(), ids: Array.from({ length: rows }, (_, n) => id(n)) });
    return performance.now() - began;
  },
  async hydrate(rows, person) {
    const began = performance.now();
    const db = dexie(`peer-${person}`), client = kept = new QueryClient();
    for (const cached of await db.table("entities").toArray()) client.setQueryData(["entity", cached.entityCode, cached.entityId], cached);
    for (const list of await db.table("entityLists").toArray()) client.setQueryData(["entity-list", list.entityCode], list.ids);
    const shown = client.getQueryData(["entity-list", "task"]);
    if (shown.length !== rows || shown.slice(0, 50).some((id) => !client.getQueryData(["entity", "task", id]).data.name)) throw new Error("the list never came");
    const all = performance.now() - began;
    return { first: all, all };
  },
  async writes(person) {
    const db = dexie(`peer-${person}`), one = [];
    await db.table("entities").bulkPut(JSON.parse(pages(1000)[0]).data.map(entity));
    for (let n = 0; n < 200; n += 1) {
      const began = performance.now();
      await db.table("entities").put(entity(row(n, 2)));
      one.push(performance.now() - began);
    }
    const began = performance.now();
    await Promise.all(Array.from({ length: 500 }, (_, n) => db.table("entities").put(entity(row(200 + n, 2)))));
    return { one: median(one), burst: (performance.now() - began) / 500 };
  },
  async screen(rows, person) {
    const client = new QueryClient(), cells = [], took = [], db = dexie(`peer-${person}`);
    for (let n = 0; n < rows; n += 1) client.setQueryData(key(n), row(n));
    for (let n = 0; n < 100; n += 1) {
      const cell = document.createElement("div");
      document.body.append(cell);
      cells.push(cell);
      new QueryObserver(client, { queryKey: key(n), staleTime: Infinity }).subscribe(({ data }) => { cell.textContent = data.name; });
    }
    for (let k = 0; k < 200; k += 1) {
      await frame();
      const began = performance.now(), n = k % 100, next = row(n, 2 + k, `typed ${k}`);
      client.setQueryData(key(n), next);
      await turn();
      while (cells[n].textContent !== `typed ${k}`) await turn(); // it tells its observers in a later turn
      took.push(performance.now() - began);
      await db.table("entities").put(entity(next));
    }
    return p95(took);
  },
  async invalidate(rows) {
    const client = kept = new QueryClient(), took = [];
    let asked = 0;
    for (let n = 0; n < rows; n += 1) client.setQueryData(key(n), row(n));
    client.setQueryData(["tasks"], [0]);
    const look = (queryKey, data) => new QueryObserver(client, { queryKey, staleTime: Infinity, queryFn: async () => { asked += 1; return data; } }).subscribe(() => {});
    for (let n = 0; n < 100; n += 1) look(key(n), row(n));
    look(["tasks"], [0]);
    for (let k = 0; k < (rows > 10_000 ? 40 : 300); k += 1) {
      const began = performance.now();
      const done = client.invalidateQueries({ queryKey: key(k % 100) });
      took.push(performance.now() - began);
      await done;
    }
    asked = 0;
    await client.invalidateQueries();
    return { one: median(took), all: asked };
  },
  async part(rows) {
    const client = new QueryClient(), took = [], changed = [];
    client.setQueryData(["task"], pages(rows).flatMap((text) => JSON.parse(text).data));
    const part = (budget) => client.getQueryData(["task"]).filter((r) => r.budget_amt >= budget)
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)).slice(0, 100);
    for (let k = 0; k < 30; k += 1) {
      const began = performance.now();
      if (part(3000 + k).length !== 100) throw new Error("the part is empty");
      took.push(performance.now() - began);
    }
    for (let k = 0; k < 100; k += 1) {
      const began = performance.now();
      client.setQueryData(["task"], (all) => all.map((r, n) => (n === k * 37 ? { ...r, budget_amt: k % 2 ? 1 : 9000 } : r)));
      part(3029);
      changed.push(performance.now() - began);
    }
    return { first: took[0], next: median(took.slice(1)), changed: median(changed) };
  },
};

const bare = (person) => new Promise((done, failed) => {
  const open = indexedDB.open(`floor-${person}`, 1);
  open.onupgradeneeded = () => open.result.createObjectStore("outbox");
  open.onsuccess = () => done(open.result);
  open.onerror = failed;
});

/** What the browser's database takes by itself for as many bytes: what nobody can go below. */
export const floor = {
  /** The same rows as bytes, 500 at a time, in one transaction. */
  async persist(rows, person) {
    const db = await bare(person), texts = pages(rows).map((text) => bytes.encode(text));
    const began = performance.now();
    await new Promise((done, failed) => {
      const transaction = db.transaction("outbox", "readwrite");
      texts.forEach((text, n) => {
        const half = text.length >> 1;
        transaction.objectStore("outbox").put(text.slice(0, half), `chunk:${n}:0`);
        transaction.objectStore("outbox").put(text.slice(half), `chunk:${n}:1`);
      });
      transaction.oncomplete = done;
      transaction.onerror = failed;
    });
    return performance.now() - began;
  },
  /** A value under a name in a transaction of its own. */
  async writes(person) {
    const db = await bare(person), one = [], text = JSON.stringify({ id: id(1), key: id(2), patch: { name: "typed" }, base: { name: "before" }, base_version: 1, attempts: 0, entity: id(3), state: "waiting" });
    for (let n = 0; n < 200; n += 1) {
      const began = performance.now();
      await new Promise((done, failed) => {
        const transaction = db.transaction("outbox", "readwrite");
        transaction.objectStore("outbox").put(text, id(n));
        transaction.oncomplete = done;
        transaction.onerror = failed;
      });
      one.push(performance.now() - began);
    }
    return { one: median(one) };
  },
};
