// node run.mjs FOLDER: runs the TensorFlow.js graph model in FOLDER for utils/tfjs.py.
//
// First a line of JSON on standard output, {"shape": [1, H, W, C], "backend": "wasm"} or {"error": "..."}; then, for
// each picture of float32 that comes in whole on standard input, its answer: how many numbers (uint32) and these (float32).
import { readFileSync, readSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);
console.log = console.info = console.warn = () => {}; // standard output carries numbers alone
const tf = require("@tensorflow/tfjs");
const wasm = require("@tensorflow/tfjs-backend-wasm");

function say(facts) {
  write(Buffer.from(`${JSON.stringify(facts)}\n`));
}

function write(bytes) {
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}

function read(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const got = readSync(0, bytes, at, bytes.length - at, null);
    if (got === 0) return false;
    at += got;
  }
  return true;
}

async function open(folder) {
  wasm.setWasmPaths(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm"))}/`);
  await tf.setBackend("wasm");
  const { modelTopology, weightsManifest, signature } = JSON.parse(readFileSync(join(folder, "model.json")));
  const shards = weightsManifest.flatMap((group) => group.paths.map((path) => readFileSync(join(folder, path))));
  const data = Buffer.concat(shards);
  const weightData = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  return tf.loadGraphModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData, signature }));
}

let model;
try {
  model = await open(process.argv[2]);
} catch (error) {
  say({ error: String(error.message ?? error).split("\n")[0] });
  process.exit(2);
}
const shape = model.inputs[0].shape;
say({ shape, backend: tf.getBackend() });
const bytes = Buffer.alloc(4 * shape.reduce((a, b) => a * b, 1));
const pixels = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
try {
  while (read(bytes)) {
    const answer = Float32Array.from(tf.tidy(() => model.predict(tf.tensor(pixels, shape)).dataSync()));
    write(Buffer.from(Uint32Array.of(answer.length).buffer));
    write(Buffer.from(answer.buffer));
  }
} catch (error) {
  process.stderr.write(`TensorFlow.js: ${String(error.message ?? error).split("\n")[0]}\n`);
  process.exit(2);
}
