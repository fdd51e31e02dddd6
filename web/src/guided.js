// Edges drawn to those of the frame: the guided filter of utils/refine.py.
// Source: He and Sun, "Fast Guided Filter", 2015. Alpha is a line over the frame's grey around each pixel; slope and
// offset of that line are found here at the network's size, and applied to the full frame by the graphics card.

import { blur } from "./box.js";
import { grey } from "./temporal.js";

export const LEVELS = [0.05, 0.95]; // of alpha, that become 0 and 1
const RADIUS = 4;
const EPSILON = 1e-3;

/** [slope, offset] interleaved, float32 [height, width, 2], of a picture (RGB bytes) and its alpha. */
export function coefficients(picture, alpha, width, height) {
  const count = width * height;
  const guide = Float32Array.from(grey(picture), (value) => value / 255);
  const both = new Float32Array(4 * count);
  for (let i = 0; i < count; i++) {
    both[4 * i] = guide[i];
    both[4 * i + 1] = alpha[i];
    both[4 * i + 2] = guide[i] * alpha[i];
    both[4 * i + 3] = guide[i] * guide[i];
  }
  const means = blur(both, width, height, RADIUS, "reflect", 4);
  const line = new Float32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const [g, a, ga, gg] = [means[4 * i], means[4 * i + 1], means[4 * i + 2], means[4 * i + 3]];
    const slope = (ga - g * a) / (gg - g * g + EPSILON);
    line[2 * i] = slope;
    line[2 * i + 1] = a - slope * g;
  }
  return blur(line, width, height, RADIUS, "reflect", 2);
}

/** The line that leaves alpha as it is: slope 0. */
export function plain(alpha) {
  const line = new Float32Array(2 * alpha.length);
  alpha.forEach((value, i) => (line[2 * i + 1] = value));
  return line;
}

/** Alpha at the network's own size, as the graphics card makes it of the full frame. */
export function applied(line, picture, levels = LEVELS) {
  const guide = grey(picture);
  return Float32Array.from(guide, (value, i) => {
    const alpha = (line[2 * i] * value) / 255 + line[2 * i + 1];
    return Math.min(Math.max((alpha - levels[0]) / (levels[1] - levels[0]), 0), 1);
  });
}
