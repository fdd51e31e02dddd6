// After vite: puts networks, runtime, backgrounds, icons and the service worker into dist/.

import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { png, svg } from "./icons.js";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const root = join(web, "..");
const dist = join(web, "dist");
const RUNTIME = ["", "_threaded", "_compat"].flatMap((kind) => ["js", "wasm"].map((end) => `litert_wasm${kind}_internal.${end}`));

function copy(from, folder, names) {
  mkdirSync(join(dist, folder), { recursive: true });
  for (const name of names) {
    if (!existsSync(join(from, name))) throw new Error(`${relative(root, join(from, name))} is missing`);
    copyFileSync(join(from, name), join(dist, folder, name));
  }
}

function write(name, data) {
  mkdirSync(dirname(join(dist, name)), { recursive: true });
  writeFileSync(join(dist, name), data);
}

/** The int8 network in its shapes for WebAssembly, the float32 one for WebGPU. The first shape is the square one. */
function networks() {
  const names = readdirSync(join(root, "checkpoints"));
  const shapes = names.map((name) => /^live_int8_(\d+)x(\d+)\.tflite$/.exec(name)).filter(Boolean);
  const square = (file) => ({ file, size: [256, 256] });
  const wasm = [square("live_int8.tflite"), ...shapes.map(([file, h, w]) => ({ file, size: [Number(h), Number(w)] }))];
  const webgpu = [square("live_float32.tflite")];
  copy(join(root, "checkpoints"), "models", [...wasm, ...webgpu].map(({ file }) => file));
  write("models/networks.json", JSON.stringify({ wasm, webgpu }));
}

function backgrounds() {
  const folder = join(root, "data/samples/backgrounds");
  const files = readdirSync(folder).filter((name) => /\.(jpg|png|webp)$/.test(name)).sort();
  copy(folder, "backgrounds", files);
  const name = (file) => file.replace(/\.\w+$/, "").replace(/^./, (letter) => letter.toUpperCase());
  write("backgrounds/backgrounds.json", JSON.stringify(files.map((file) => ({ name: name(file), file }))));
}

function icons() {
  write("icons/icon.svg", svg());
  for (const size of [180, 192, 512]) write(`icons/icon-${size}.png`, png(size));
}

function listed(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? listed(path) : [relative(dist, path).replaceAll("\\", "/")];
  });
}

/** All files but the runtime's builds, of which the page keeps the one it uses. */
function serviceWorker() {
  const files = listed(dist).filter((name) => !name.startsWith("wasm/") && name !== "sw.js").sort();
  const hash = createHash("sha256");
  for (const name of listed(dist).sort()) if (name !== "sw.js") hash.update(name).update(readFileSync(join(dist, name)));
  const code = readFileSync(join(web, "scripts/sw.js"), "utf8")
    .replace("__VERSION__", hash.digest("hex").slice(0, 12))
    .replace("__FILES__", JSON.stringify(["./", ...files]));
  write("sw.js", code);
}

try {
  networks();
  copy(join(web, "node_modules/@litertjs/core/wasm"), "wasm", RUNTIME);
  backgrounds();
  icons();
  serviceWorker();
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exit(2);
}
