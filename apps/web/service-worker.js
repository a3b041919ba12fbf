// Service worker: caches the files of the app, of this build and of the previous one.
// Must not: cache or answer requests to /api, /docs or /health.
const BUILD = "__BUILD__";
const FILES = [/*FILES*/];
const CACHE = `pmo-shell-${BUILD}`;

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll(FILES);
    const shell = await fetch("/", { cache: "no-store" });
    if (!shell.ok) throw new Error("cannot load the app shell");
    await cache.put("/", shell);
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    const oldCaches = (await caches.keys()).filter((name) => name.startsWith("pmo-shell-") && name !== CACHE);
    // An open tab of the previous build may still request its files.
    await Promise.all(oldCaches.slice(0, -1).map((name) => caches.delete(name)));
    await self.clients.claim();
  })());
});

self.addEventListener("message", (event) => {
  if (event.data === "take-over") self.skipWaiting();
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin || /^\/(api|docs)(\/|$)/.test(url.pathname) || url.pathname === "/health") return;
  if (event.request.mode === "navigate") {
    // Network first, with a timeout; the cached shell if the network fails.
    event.respondWith((async () => {
      const cached = await (await caches.open(CACHE)).match("/");
      try {
        const response = await fetch("/", { signal: AbortSignal.timeout(cached ? 3000 : 30000) });
        if (response.ok || !cached) return response;
      } catch (error) {
        if (!cached) throw error;
      }
      return cached;
    })());
    return;
  }
  event.respondWith((async () => (await caches.match(event.request)) ?? fetch(event.request))());
});
