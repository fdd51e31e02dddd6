// What is smooth and therefore found on small pictures: the scene out of focus, and the colour that the old background
// leaves in a soft edge. Both follow utils/blending.py.

import { blur } from "./box.js";
import { resize } from "./letterbox.js";

const SMALL = 160; // longer side on which the scene is blurred
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
  const across = alpha.map((_, i) => {
    const x = i % width;
    let most = 0;
    for (let at = Math.max(0, x - reach); at <= Math.min(width - 1, x + reach); at++) most = Math.max(most, alpha[i - x + at]);
    return most;
  });
  return across.map((_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    let most = 0;
    for (let at = Math.max(0, y - reach); at <= Math.min(height - 1, y + reach); at++) most = Math.max(most, across[at * width + x]);
    return most;
  });
}

/** Both reduced so that the longer side is at most `longest`. */
function reduced(picture, alpha, width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  const [wide, tall] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const colours = Float32Array.from(resize(picture, width, height, wide, tall, 3));
  return { colours, mask: resize(alpha, width, height, wide, tall, 1), wide, tall };
}

/**
 * The scene out of focus without a glow around the person: {data: RGBA bytes, width, height}, small.
 * The person is filled in from the surroundings first: a blur of the background alone, divided by how much background
 * went into it. `strength` is the blur's sigma as a share of the longer side.
 */
export function blurredScene(picture, alpha, width, height, strength = 0.03) {
  const { colours, mask, wide, tall } = reduced(picture, alpha, width, height, SMALL);
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
  for (let i = 0; i < count; i++) {
    // Wider blurs reach into the middle of the person.
    const total = (c) => blurs[0][4 * i + c] + 1e-3 * (blurs[1][4 * i + c] + blurs[2][4 * i + c]);
    const amount = total(3) + 1e-6;
    for (let c = 0; c < 3; c++) data[4 * i + c] = (total(c) + 1e-6 * mean[c]) / amount;
    data[4 * i + 3] = 255;
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
  const person = meanNear(colours, mask.map((a) => a ** 3), wide, tall, radius);
  const behind = meanNear(colours, mask.map((a) => (1 - a) ** 3), wide, tall, radius);
  const data = new Uint8ClampedArray(4 * wide * tall).fill(255);
  for (let i = 0; i < wide * tall; i++) {
    for (let c = 0; c < 3; c++) data[4 * i + c] = 128 + (person[3 * i + c] - behind[3 * i + c]) / 2;
  }
  return { data, width: wide, height: tall };
}

/** Weighted mean of the colours around each pixel. */
function meanNear(colours, weight, width, height, radius) {
  const both = new Float32Array(4 * weight.length);
  for (let i = 0; i < weight.length; i++) {
    for (let c = 0; c < 3; c++) both[4 * i + c] = weight[i] * colours[3 * i + c];
    both[4 * i + 3] = weight[i];
  }
  const total = blur(both, width, height, radius, "replicate", 4);
  return Float32Array.from({ length: colours.length }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return total[4 * pixel + (i % 3)] / (total[4 * pixel + 3] + 1e-5);
  });
}
