// What is smooth and therefore found on small pictures: the scene out of focus, and the colour that the old background
// leaves in a soft edge. Both follow utils/blending.py.

import { blur } from "./box.js";
import { resize } from "./letterbox.js";

const BLURRED = [64, 160]; // least and most of the longer side on which the scene is blurred
const FINE = 3; // pixels of sigma there: enough to be enlarged smoothly
const LIVE = 128; // longer side on which the colours at the edge are found

/** A Gaussian of `sigma` by three box filters; wide ones on a reduced picture, where they cost no more. */
function wideBlur(values, width, height, sigma, channels) {
  const step = Math.max(1, Math.floor(sigma / 4));
  const wide = Math.max(1, Math.round(width / step));
  const tall = Math.max(1, Math.round(height / step));
  let small = resize(values, width, height, wide, tall, channels);
  const radius = Math.max(1, Math.round((Math.sqrt(4 * (sigma / step) ** 2 + 1) - 1) / 2));
  for (let pass = 0; pass < 3; pass++) small = blur(small, wide, tall, radius, "reflect101", channels);
  return resize(small, wide, tall, width, height, channels);
}

/** The largest value within `reach` pixels of each. */
function dilate(alpha, width, height, reach) {
  return highest(highest(alpha, width, height, reach, 1), width, height, reach, width);
}

/** The largest along one direction: `pace` 1 for across, the width for down. */
function highest(values, width, height, reach, pace) {
  const result = new Float32Array(values.length);
  const length = pace === 1 ? width : height;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const at = pace === 1 ? x : y;
      const last = i + Math.min(length - 1 - at, reach) * pace;
      let most = 0;
      for (let n = i - Math.min(at, reach) * pace; n <= last; n += pace) if (values[n] > most) most = values[n];
      result[i] = most;
    }
  }
  return result;
}

/** Both reduced so that the longer side is at most `longest`. */
function reduced(picture, alpha, width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  const [wide, tall] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const colours = new Float32Array(resize(picture, width, height, wide, tall, 3));
  return { colours, mask: resize(alpha, width, height, wide, tall, 1), wide, tall };
}

/**
 * The scene out of focus without a glow around the person: {data: RGBA bytes, width, height}, small.
 * The person is filled in from the surroundings first: a blur of the background alone, divided by how much background
 * went into it. `strength` is the blur's sigma as a share of the longer side.
 */
export function blurredScene(picture, alpha, width, height, strength = 0.03) {
  const longest = Math.min(BLURRED[1], Math.max(BLURRED[0], Math.ceil(FINE / strength)));
  const { colours, mask, wide, tall } = reduced(picture, alpha, width, height, longest);
  const sigma = Math.max(0.5, strength * Math.max(wide, tall));
  const grown = dilate(mask, wide, tall, Math.max(1, Math.round(sigma / 3)));
  const count = wide * tall;
  const scene = new Float32Array(4 * count); // red, green and blue of the background, and how much of it there is
  const mean = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const weight = 1 - grown[i];
    scene[4 * i + 3] = weight;
    for (let c = 0; c < 3; c++) {
      scene[4 * i + c] = weight * colours[3 * i + c];
      mean[c] += colours[3 * i + c] / count;
    }
  }
  const blurs = [1, 4, 16].map((times) => wideBlur(scene, wide, tall, times * sigma, 4));
  const data = new Uint8ClampedArray(4 * count);
  const [near, wider, widest] = blurs;
  const total = (at) => near[at] + 1e-3 * (wider[at] + widest[at]); // wider blurs reach into the middle of the person
  for (let at = 0; at < 4 * count; at += 4) {
    const amount = total(at + 3) + 1e-6;
    for (let c = 0; c < 3; c++) data[at + c] = (total(at + c) + 1e-6 * mean[c]) / amount;
    data[at + 3] = 255;
  }
  return { data, width: wide, height: tall };
}

/**
 * Nearby person's colour less nearby background's, halved about 128: {data: RGBA bytes, width, height}.
 * A soft pixel I = a F + (1 - a) B mixes the two, so a F is a I + a (1 - a) (F - B): with this the composite carries no
 * fringe of the old scene.
 */
export function edgeContrast(picture, alpha, width, height) {
  const { colours, mask, wide, tall } = reduced(picture, alpha, width, height, LIVE);
  const radius = Math.max(5, Math.floor(Math.max(wide, tall) / 20));
  const person = sumNear(colours, mask, 0, wide, tall, radius);
  const behind = sumNear(colours, mask, 1, wide, tall, radius);
  const data = new Uint8ClampedArray(4 * wide * tall).fill(255);
  for (let at = 0; at < data.length; at += 4) {
    const own = 0.5 / (person[at + 3] + 1e-5);
    const other = 0.5 / (behind[at + 3] + 1e-5);
    for (let c = 0; c < 3; c++) data[at + c] = 128 + person[at + c] * own - behind[at + c] * other;
  }
  return { data, width: wide, height: tall };
}

/** Sums of colours and of weights around each pixel; a pixel's weight is |alpha - from| cubed. */
function sumNear(colours, alpha, from, width, height, radius) {
  const both = new Float32Array(4 * alpha.length);
  for (let i = 0, at = 0; i < alpha.length; i++, at += 4) {
    const share = Math.abs(alpha[i] - from);
    const weight = share * share * share;
    both[at] = weight * colours[3 * i];
    both[at + 1] = weight * colours[3 * i + 1];
    both[at + 2] = weight * colours[3 * i + 2];
    both[at + 3] = weight;
  }
  return blur(both, width, height, radius, "replicate", 4);
}
