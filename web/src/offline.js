// The page works without a network once it was opened: its files are kept by sw.js.

/** Registers the service worker; without one (no HTTPS, a private window) the page works all the same. */
export async function keepOffline(runtime) {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register("sw.js");
    // The runtime comes in several builds of 9 MB each: only the one that this browser took is kept.
    const files = { keep: [`wasm/${runtime}.js`, `wasm/${runtime}.wasm`] };
    const { active } = await navigator.serviceWorker.ready;
    active.postMessage(files);
    // One that takes over throws away what the one before kept.
    navigator.serviceWorker.addEventListener("controllerchange", () => navigator.serviceWorker.controller?.postMessage(files));
  } catch {
    // not kept
  }
}
