// The worker in which the network runs, so that the page stays responsive: frames in, mattes out.

import { applied, coefficients, plain } from "./guided.js";
import { cropAlpha, letterbox } from "./letterbox.js";
import { Network, NetworkError } from "./runtime.js";
import { blurredScene, edgeContrast } from "./scenery.js";
import { Temporal } from "./temporal.js";

let network;
let canvas;
const temporal = new Temporal();
const inputs = new Map();

/** The bytes of a bitmap, through a canvas that stays in main memory. */
function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  if (canvas?.canvas.width !== width || canvas.canvas.height !== height) {
    canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true, alpha: false });
  }
  canvas.drawImage(bitmap, 0, 0);
  return canvas.getImageData(0, 0, width, height).data;
}

/** What a frame needs of us: the line from its grey to its alpha, and small pictures for the background and the edge. */
async function matte({ bitmap, fresh, settings }) {
  const clock = stopwatch();
  const { width, height } = bitmap;
  const rgba = pixelsOf(bitmap);
  clock("read");
  if (fresh) temporal.reset();
  temporal.watch(rgba, width, height);
  const suited = await network.suited(width, height);
  const size = suited.size.join();
  if (!inputs.has(size)) inputs.set(size, new Float32Array(suited.size[0] * suited.size[1] * 3));
  const { picture, input, box } = letterbox(rgba, width, height, suited.size, inputs.get(size));
  clock("resize");
  const output = await network.run(suited, input);
  clock("network");
  const steady = temporal.steady(picture, cropAlpha(output, suited.size, box), box.width, box.height, settings.hold);
  clock("steady");
  const line = settings.edges ? coefficients(picture, steady, box.width, box.height) : plain(steady);
  clock("edges");
  const small = applied(line, picture);
  const contrast = settings.clean ? edgeContrast(picture, small, box.width, box.height) : null;
  const scene = settings.blur ? blurredScene(picture, small, box.width, box.height, settings.blur) : null;
  clock("background");
  const { device, note } = network;
  return { device, note, line, lineWidth: box.width, lineHeight: box.height, contrast, scene, times: clock.times, size, resets: temporal.resets };
}

function stopwatch() {
  let last = performance.now();
  const clock = (name) => {
    const now = performance.now();
    clock.times[name] = now - last;
    last = now;
  };
  clock.times = {};
  return clock;
}

async function open({ root, device, threads }) {
  const response = await fetch(new URL("models/networks.json", root)).catch(() => null);
  if (!response?.ok) throw new NetworkError("The list of networks is missing from the server: build the page again.");
  network = new Network(root, await response.json());
  await network.open({ device, threads });
  return { device: network.device, threads: network.threads, runtime: network.runtime, note: network.note, model: network.files[network.device][0].file };
}

self.onmessage = async ({ data }) => {
  try {
    if (data.open) return self.postMessage({ opened: await open(data.open) });
    const result = await matte(data).catch((error) => {
      if (!network.leaveWebGpu()) throw error;
      return matte(data);
    });
    const buffers = [result.line, result.contrast?.data, result.scene?.data].filter(Boolean).map(({ buffer }) => buffer);
    self.postMessage({ result, bitmap: data.bitmap, number: data.number }, [data.bitmap, ...buffers]);
  } catch (error) {
    const message = error instanceof NetworkError ? error.message : `The network stopped: ${error?.message ?? error}`;
    self.postMessage({ error: message, number: data.number });
  }
};
