// Page side of `just bench client`: the workload of the engine and of its peers. Both start from the
// same response texts and end in the same state: rows persisted, rows ready to render.
import start, { Bench } from "./engine.js";
import Dexie from "./node_modules/dexie/dist/modern/dexie.mjs";
import { QueryClient, QueryObserver } from "./node_modules/@tanstack/query-core/build/modern/index.js";

const words = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo sierra tango".split(" ");
const id = (n) => `01990000-0000-7000-0000-${n.toString(16).padStart(12, "0")}`;
const project = "00000000-0000-0000-0000-000000000007";
const descr = Array.from({ length: 84 }, (_, i) => words[(i * 7) % words.length]).join(" ");
/** Returns a row of about 960 bytes. */
const row = (n, version = 1, name = `${words[(n * 13) % 20]} ${words[(n * 7) % 20]} ${n}`) => ({
  id: id(n), code: `T-${n}`, name, descr, project_id: project, priority: n % 5, budget_amt: (n * 7919) % 10_000, dl__task_stage: words[n % 6],
  start_date: `2026-${String(1 + (n % 12)).padStart(2, "0")}-11`, due_date: `2027-${String(1 + (n % 12)).padStart(2, "0")}-21`,
  version, active_flag: true, created_ts: "2026-11-20T10:11:12.131415Z", updated_ts: "2026-11-25T10:11:12.131415Z", permission: 7,
});
const PAGE = 1000;
const encoder = new TextEncoder();
const pages = (rows) => Array.from({ length: rows / PAGE }, (_, p) => {
  const data = Array.from({ length: PAGE }, (_, i) => row(p * PAGE + i));
  return JSON.stringify({ data, next_cursor: (p + 1) * PAGE < rows ? `c${p}` : undefined });
});
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const p95 = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length * 0.95)];
const nextTask = () => new Promise((resolve) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = resolve; port2.postMessage(0); });
const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

let memory;
let retained; // prevents garbage collection before memory is measured
const initialized = start({ module_or_path: "./engine_bg.wasm" }).then((wasm) => { memory = wasm.memory; });
export const wasmBytes = () => memory.buffer.byteLength;

const openFilledBench = async (rows, person) => {
  await initialized;
  const bench = await Bench.open(person);
  bench.observe_list();
  for (const text of pages(rows)) bench.respond_with_page(encoder.encode(text));
  bench.hello();
  await bench.settle();
  bench.requests();
  bench.changed();
  return bench;
};
// Tables and start-up sequence of the design that the engine replaced.
const openDexie = (name) => {
  const db = new Dexie(name);
  db.version(1).stores({ entities: "_id, entityCode, entityId, syncedAt, isDeleted", entityLists: "_id, entityCode, queryHash, syncedAt" });
  return db;
};
const toRecord = (data) => ({ _id: `task:${data.id}`, entityCode: "task", entityId: data.id, data, version: data.version, syncedAt: Date.now(), isDeleted: false });
const queryKey = (n) => ["entity", "task", id(n)];

export const engine = {
  /** Returns the time from the first page of the list to the last row on disk, in milliseconds. */
  async persist(rows, person) {
    await initialized;
    const bench = await Bench.open(person), texts = pages(rows).map((text) => encoder.encode(text));
    bench.observe_list();
    await bench.settle();
    await openFilledBench(2000, person + 1_000_000);
    const startedAt = performance.now();
    let feeding = true;
    // As in the app: storage requests run concurrently with responses, in order.
    const writing = (async () => { while ((await bench.step()) || feeding) await nextTask(); })();
    for (const text of texts) { bench.respond_with_page(text); await nextTask(); }
    feeding = false;
    await writing;
    return performance.now() - startedAt;
  },
  /** Returns the time from opening the store to 50 rows ready to render, and until all are loaded. */
  async hydrate(rows, person) {
    await initialized;
    const startedAt = performance.now();
    const bench = retained = await Bench.open(person);
    bench.observe_list();
    while (bench.first(50)[0] < 50) if (!(await bench.step()) && bench.first(50)[0] < 50) throw new Error("the list was not loaded");
    const first = performance.now() - startedAt;
    bench.hello(); // unobserved rows are loaded in the background once the socket is open
    await bench.settle();
    if (bench.first(50)[2] !== rows) throw new Error(`${bench.first(50)[2]} rows`);
    return { first, all: performance.now() - startedAt };
  },
  async writes(person) {
    const bench = await openFilledBench(1000, person), one = [];
    for (let n = 0; n < 200; n += 1) {
      const startedAt = performance.now();
      bench.update(n, "name", `typed ${n}`);
      await bench.settle();
      one.push(performance.now() - startedAt);
    }
    const startedAt = performance.now();
    for (let n = 200; n < 700; n += 1) bench.update(n, "name", `typed ${n}`);
    await bench.settle();
    return { one: median(one), burst: (performance.now() - startedAt) / 500 };
  },
  /** Returns the p95 time from a keystroke to the task after its frame, with 100 rows rendered. */
  async screen(rows, person) {
    const bench = await openFilledBench(rows, person), cells = [], times = [];
    bench.observe_rows(100);
    for (let n = 0; n < 100; n += 1) { const cell = document.createElement("div"); cell.textContent = bench.name(n); document.body.append(cell); cells.push(cell); }
    for (let k = 0; k < 200; k += 1) {
      await nextFrame();
      const startedAt = performance.now(), n = k % 100;
      bench.update(n, "name", `typed ${k}`);
      if (bench.changed() === 0) throw new Error("no observer was notified");
      cells[n].textContent = bench.name(n);
      await nextTask();
      times.push(performance.now() - startedAt);
      if (cells[n].textContent !== `typed ${k}`) throw new Error("the cell was not updated");
      await bench.settle();
    }
    return p95(times);
  },
  async invalidate(rows, person) {
    const bench = retained = await openFilledBench(rows, person), times = [];
    bench.observe_rows(100);
    await bench.settle();
    bench.respond_with_rows(Array.from({ length: 100 }, (_, n) => JSON.stringify(row(n))).join("\n"));
    await bench.settle();
    for (let k = 0; k < 300; k += 1) {
      const n = k % 100, version = 2 + k;
      const startedAt = performance.now();
      bench.invalidate(n, version);
      times.push(performance.now() - startedAt);
      bench.respond_with_rows(JSON.stringify(row(n, version)));
      await bench.settle();
    }
    bench.requests();
    bench.invalidate_all();
    return { one: median(times), all: bench.requests() };
  },
  async filter(rows, person) {
    const bench = retained = await openFilledBench(rows, person), times = [], changed = [];
    for (let k = 0; k < 30; k += 1) {
      const startedAt = performance.now();
      bench.observe_filtered_list(3000 + k);
      const shown = bench.first(100, 3000 + k);
      times.push(performance.now() - startedAt);
      if (shown[0] !== 100) throw new Error("the filtered list is empty");
    }
    for (let k = 0; k < 100; k += 1) {
      const startedAt = performance.now();
      bench.update(k * 37, "budget_amt", k % 2 ? "1" : "9000");
      if (bench.first(1, 3029)[0] !== 1) throw new Error("the filtered list is empty"); // the other rows stay rendered
      changed.push(performance.now() - startedAt);
      await bench.settle();
    }
    return { first: times[0], next: median(times.slice(1)), changed: median(changed) };
  },
};

export const peer = {
  async persist(rows, person) {
    const db = openDexie(`peer-${person}`), texts = pages(rows);
    await db.table("entities").bulkPut(pages(2000).flatMap((text) => JSON.parse(text).data.map(toRecord)));
    await db.table("entities").clear();
    const startedAt = performance.now();
    await db.table("entities").bulkPut(texts.flatMap((text) => JSON.parse(text).data.map(toRecord)));
    await db.table("entityLists").put({ _id: "tasks", entityCode: "task", queryHash: "", syncedAt: Date.now(), ids: Array.from({ length: rows }, (_, n) => id(n)) });
    return performance.now() - startedAt;
  },
  async hydrate(rows, person) {
    const startedAt = performance.now();
    const db = openDexie(`peer-${person}`), client = retained = new QueryClient();
    for (const cached of await db.table("entities").toArray()) client.setQueryData(["entity", cached.entityCode, cached.entityId], cached);
    for (const list of await db.table("entityLists").toArray()) client.setQueryData(["entity-list", list.entityCode], list.ids);
    const shown = client.getQueryData(["entity-list", "task"]);
    if (shown.length !== rows || shown.slice(0, 50).some((id) => !client.getQueryData(["entity", "task", id]).data.name)) throw new Error("the list was not loaded");
    const all = performance.now() - startedAt;
    return { first: all, all };
  },
  async writes(person) {
    const db = openDexie(`peer-${person}`), one = [];
    await db.table("entities").bulkPut(JSON.parse(pages(1000)[0]).data.map(toRecord));
    for (let n = 0; n < 200; n += 1) {
      const startedAt = performance.now();
      await db.table("entities").put(toRecord(row(n, 2)));
      one.push(performance.now() - startedAt);
    }
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: 500 }, (_, n) => db.table("entities").put(toRecord(row(200 + n, 2)))));
    return { one: median(one), burst: (performance.now() - startedAt) / 500 };
  },
  async screen(rows, person) {
    const client = new QueryClient(), cells = [], times = [], db = openDexie(`peer-${person}`);
    for (let n = 0; n < rows; n += 1) client.setQueryData(queryKey(n), row(n));
    for (let n = 0; n < 100; n += 1) {
      const cell = document.createElement("div");
      document.body.append(cell);
      cells.push(cell);
      new QueryObserver(client, { queryKey: queryKey(n), staleTime: Infinity }).subscribe(({ data }) => { cell.textContent = data.name; });
    }
    for (let k = 0; k < 200; k += 1) {
      await nextFrame();
      const startedAt = performance.now(), n = k % 100, next = row(n, 2 + k, `typed ${k}`);
      client.setQueryData(queryKey(n), next);
      await nextTask();
      while (cells[n].textContent !== `typed ${k}`) await nextTask(); // query-core notifies observers in a later task
      times.push(performance.now() - startedAt);
      await db.table("entities").put(toRecord(next));
    }
    return p95(times);
  },
  async invalidate(rows) {
    const client = retained = new QueryClient(), times = [];
    let requests = 0;
    for (let n = 0; n < rows; n += 1) client.setQueryData(queryKey(n), row(n));
    client.setQueryData(["tasks"], [0]);
    const observe = (queryKey, data) => new QueryObserver(client, { queryKey, staleTime: Infinity, queryFn: async () => { requests += 1; return data; } }).subscribe(() => {});
    for (let n = 0; n < 100; n += 1) observe(queryKey(n), row(n));
    observe(["tasks"], [0]);
    for (let k = 0; k < (rows > 10_000 ? 40 : 300); k += 1) {
      const startedAt = performance.now();
      const refetched = client.invalidateQueries({ queryKey: queryKey(k % 100) });
      times.push(performance.now() - startedAt);
      await refetched;
    }
    requests = 0;
    await client.invalidateQueries();
    return { one: median(times), all: requests };
  },
  async filter(rows) {
    const client = new QueryClient(), times = [], changed = [];
    client.setQueryData(["task"], pages(rows).flatMap((text) => JSON.parse(text).data));
    const filterRows = (budget) => client.getQueryData(["task"]).filter((r) => r.budget_amt >= budget)
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)).slice(0, 100);
    for (let k = 0; k < 30; k += 1) {
      const startedAt = performance.now();
      if (filterRows(3000 + k).length !== 100) throw new Error("the filtered list is empty");
      times.push(performance.now() - startedAt);
    }
    for (let k = 0; k < 100; k += 1) {
      const startedAt = performance.now();
      client.setQueryData(["task"], (all) => all.map((r, n) => (n === k * 37 ? { ...r, budget_amt: k % 2 ? 1 : 9000 } : r)));
      filterRows(3029);
      changed.push(performance.now() - startedAt);
    }
    return { first: times[0], next: median(times.slice(1)), changed: median(changed) };
  },
};

const openDatabase = (person) => new Promise((resolve, reject) => {
  const request = indexedDB.open(`floor-${person}`, 1);
  request.onupgradeneeded = () => request.result.createObjectStore("outbox");
  request.onsuccess = () => resolve(request.result);
  request.onerror = reject;
});

/** Plain IndexedDB with the same number of bytes: the lower bound of every client. */
export const floor = {
  /** Writes the same rows as byte arrays, 500 rows per value, in one transaction. */
  async persist(rows, person) {
    const db = await openDatabase(person), texts = pages(rows).map((text) => encoder.encode(text));
    const startedAt = performance.now();
    await new Promise((resolve, reject) => {
      const transaction = db.transaction("outbox", "readwrite");
      texts.forEach((text, n) => {
        const half = text.length >> 1;
        transaction.objectStore("outbox").put(text.slice(0, half), `chunk:${n}:0`);
        transaction.objectStore("outbox").put(text.slice(half), `chunk:${n}:1`);
      });
      transaction.oncomplete = resolve;
      transaction.onerror = reject;
    });
    return performance.now() - startedAt;
  },
  /** Writes one value per transaction. */
  async writes(person) {
    const db = await openDatabase(person), one = [], text = JSON.stringify({ id: id(1), key: id(2), patch: { name: "typed" }, base: { name: "before" }, base_version: 1, attempts: 0, entity: id(3), state: "waiting" });
    for (let n = 0; n < 200; n += 1) {
      const startedAt = performance.now();
      await new Promise((resolve, reject) => {
        const transaction = db.transaction("outbox", "readwrite");
        transaction.objectStore("outbox").put(text, id(n));
        transaction.oncomplete = resolve;
        transaction.onerror = reject;
      });
      one.push(performance.now() - startedAt);
    }
    return { one: median(one) };
  },
};
