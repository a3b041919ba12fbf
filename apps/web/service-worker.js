// Keeps the app itself on the device: the files of this build and of the one before it. It never touches data: /api is not its business.
const BUILD = "__BUILD__";
const FILES = [/*FILES*/];
const CACHE = `pmo-shell-${BUILD}`;

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll(FILES);
    const shell = await fetch("/", { cache: "no-store" });
    if (!shell.ok) throw new Error("no shell");
    await cache.put("/", shell);
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith("pmo-shell-") && name !== CACHE);
    // A tab of the build before may still ask for its files.
    await Promise.all(old.slice(0, -1).map((name) => caches.delete(name)));
    await self.clients.claim();
  })());
});

self.addEventListener("message", (event) => {
  if (event.data === "take-over") self.skipWaiting();
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin || url.pathname.startsWith("/api/") || url.pathname === "/health") return;
  if (event.request.mode === "navigate") {
    // The newest shell where there is a network, the kept one where there is none, or none that answers soon.
    event.respondWith((async () => {
      const kept = await (await caches.open(CACHE)).match("/");
      try {
        const fresh = await fetch("/", { signal: AbortSignal.timeout(kept ? 3000 : 30000) });
        if (fresh.ok || !kept) return fresh;
      } catch (error) {
        if (!kept) throw error;
      }
      return kept;
    })());
    return;
  }
  event.respondWith((async () => (await caches.match(event.request)) ?? fetch(event.request))());
});
