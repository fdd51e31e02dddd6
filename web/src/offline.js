// The page works without a network once it was opened: its files are kept by sw.js.

/** Registers the service worker; without one (no HTTPS, a private window) the page works all the same. */
export async function keepOffline(threads) {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register("sw.js");
    const { active } = await navigator.serviceWorker.ready;
    // The runtime comes in several builds of 9 MB each: only the one that this browser takes is kept.
    const build = threads > 1 ? "litert_wasm_threaded_internal" : "litert_wasm_internal";
    active.postMessage({ keep: [`wasm/${build}.js`, `wasm/${build}.wasm`] });
  } catch {
    // not kept
  }
}
