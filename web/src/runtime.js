// LiteRT.js: the network on WebGPU where that is faster, else on WebAssembly with as many threads as help.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

import { bestSize } from "./letterbox.js";

const MOST_THREADS = 4; // more only stand in each other's way
const TRIALS = 5;

/** A network that cannot be had; `message` is for the person at the page. */
export class NetworkError extends Error {}

/**
 * The network in its shapes. `files`: {base, wasm: [{file, size}], webgpu: [{file, size}]} of models/networks.json.
 * Compiles the first shape; the others when a frame first wants them.
 */
export class Network {
  constructor(root, files) {
    Object.assign(this, { root, files, device: "wasm", note: "", compiled: new Map() });
  }

  /** Loads the runtime and the first network. `wanted`: {device: auto|wasm|webgpu, threads: 0 for all that help}. */
  async open(wanted) {
    const cores = navigator.hardwareConcurrency || 1;
    const most = self.crossOriginIsolated ? Math.min(wanted.threads || MOST_THREADS, cores) : 1;
    this.threads = await this.load(most);
    this.sizes = this.files.wasm.map(({ size }) => size);
    await this.compile(0);
    if (wanted.device !== "wasm") await this.tryWebGpu(wanted.device === "webgpu");
  }

  async load(threads) {
    const base = new URL("wasm/", this.root).href;
    const start = (many) => {
      const name = many ? "litert_wasm_threaded_internal.js" : "litert_wasm_internal.js";
      // The threads' own workers load the same script; without this they would load ours.
      const locateFile = (file) => {
        if (file.endsWith(".wasm")) this.runtime = file.slice(0, -5); // the build it chose for this browser
        return base + file;
      };
      this.runtime = name.slice(0, -3);
      self.Module = { mainScriptUrlOrBlob: base + name, locateFile };
      return loadLiteRt(base, { threads: many });
    };
    // A browser without relaxed SIMD has no threaded build.
    for (const many of threads > 1 ? [true, false] : [false]) {
      try {
        this.litert = await start(many);
        return many ? threads : 1;
      } catch (error) {
        if (!many) throw new NetworkError(`The network's runtime cannot be loaded (${error.message}).`);
      }
    }
  }

  /** Compiles shape number `n` once. Raises NetworkError. */
  async compile(n, accelerator = this.device) {
    const key = `${accelerator} ${n}`;
    if (!this.compiled.has(key)) {
      const { file, size } = this.files[accelerator][n];
      const cpuOptions = { numThreads: this.threads };
      let model;
      const bytes = await fetched(new URL(`models/${file}`, this.root), file);
      try {
        model = await loadAndCompile(bytes, { accelerator, cpuOptions });
      } catch {
        throw new NetworkError(`The network ${file} is damaged: build the page again.`);
      }
      const shape = [...model.getInputDetails()[0].shape].join();
      if (shape !== [1, ...size, 3].join()) throw new NetworkError(`The network ${file} takes ${shape}, not a picture.`);
      this.compiled.set(key, { model, size, accelerator });
    }
    return this.compiled.get(key);
  }

  /** The compiled network that shows a frame of this size largest. */
  async suited(width, height) {
    return this.compile(bestSize(width, height, this.sizes));
  }

  /** Input float32 [h, w, 3] -> output float32 [h, w]. */
  async run({ model, size, accelerator }, input) {
    let tensor = new Tensor(input, [1, ...size, 3]);
    let output;
    try {
      if (accelerator === "webgpu") tensor = await tensor.moveTo("webgpu");
      [output] = await model.run([tensor]);
      return Float32Array.from(await output.data());
    } finally {
      tensor.delete();
      output?.delete();
    }
  }

  /** After a failure: whether it was on WebGPU (a reset driver, a computer that slept), which is not used any more. */
  leaveWebGpu() {
    if (this.device !== "webgpu") return false;
    [this.device, this.note] = ["wasm", "WebGPU stopped"];
    this.sizes = this.files.wasm.map(({ size }) => size);
    return true;
  }

  /** Takes WebGPU if it is there, gives the same answer, and is faster (or was asked for). */
  async tryWebGpu(asked) {
    const failed = (why) => (this.note = why);
    try {
      const adapter = await navigator.gpu?.requestAdapter();
      if (!adapter) return failed("this browser has no WebGPU");
      const software = adapter.isFallbackAdapter || adapter.info?.isFallbackAdapter || /swiftshader|llvmpipe/i.test(adapter.info?.architecture);
      if (software && !asked) return failed("WebGPU here is software only");
      this.litert.setWebGpuDevice(await adapter.requestDevice());
      const gpu = await this.compile(0, "webgpu");
      const cpu = await this.compile(0, "wasm");
      if (!gpu.model.isFullyAccelerated) return failed("WebGPU cannot run all of this network");
      const time = { gpu: await this.trial(gpu), cpu: asked ? Infinity : await this.trial(cpu) };
      if (!time.gpu.finite && !asked) return failed("WebGPU gives no numbers here");
      if (!asked && time.gpu.milliseconds > time.cpu.milliseconds) return failed("WebGPU is slower here");
      this.device = "webgpu";
      this.sizes = this.files.webgpu.map(({ size }) => size);
    } catch (error) {
      failed(`WebGPU failed: ${error.message}`);
    }
  }

  async trial(network) {
    const input = new Float32Array(network.size[0] * network.size[1] * 3).map((_, i) => (i * 31) % 255);
    let [milliseconds, finite] = [Infinity, true];
    for (let i = 0; i < TRIALS; i++) {
      const start = performance.now();
      const answer = await this.run(network, input);
      if (i) milliseconds = Math.min(milliseconds, performance.now() - start); // the first one sets up
      finite &&= answer.every((value) => value >= -0.01 && value <= 1.01);
    }
    return { milliseconds, finite };
  }
}

async function fetched(url, name) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new NetworkError(`The network ${name} is missing from the server: build the page again.`);
  return new Uint8Array(await response.arrayBuffer());
}
