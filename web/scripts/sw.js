// Service worker: keeps the page's files so that it starts without a network. Written by scripts/assets.js, which puts
// in the list of files and a name that changes with any of them.

const NAME = "portrait-__VERSION__";
const FILES = __FILES__;
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(tidy().then(() => self.clients.claim()));
});

async function tidy() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith("portrait-") && name !== NAME).map((name) => caches.delete(name)));
}

// The page says which of the runtime's builds it uses.
self.addEventListener("message", (event) => {
  event.waitUntil(keep(event.data.keep));
});

async function keep(files) {
  const cache = await caches.open(NAME);
  for (const file of files) if (!(await cache.match(file))) await cache.add(file);
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== self.location.origin) return;
  event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(NAME);
  const kept = await cache.match(request, { ignoreSearch: request.mode === "navigate" });
  return isolated(kept ?? (await fetch(request)));
}

/** Threads need these two headers; a plain file server does not send them. */
function isolated(response) {
  if (!response.ok || response.headers.has("Cross-Origin-Opener-Policy")) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
