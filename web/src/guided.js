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
  const guide = grey(picture);
  const both = new Float32Array(4 * count);
  for (let i = 0, at = 0; i < count; i++, at += 4) {
    const value = guide[i] / 255;
    both[at] = value;
    both[at + 1] = alpha[i];
    both[at + 2] = value * alpha[i];
    both[at + 3] = value * value;
  }
  const means = blur(both, width, height, RADIUS, "reflect", 4);
  const line = new Float32Array(2 * count);
  for (let i = 0, at = 0; i < count; i++, at += 4) {
    const g = means[at];
    const a = means[at + 1];
    const slope = (means[at + 2] - g * a) / (means[at + 3] - g * g + EPSILON);
    line[2 * i] = slope;
    line[2 * i + 1] = a - slope * g;
  }
  return blur(line, width, height, RADIUS, "reflect", 2);
}

/** The line that leaves alpha as it is: slope 0. */
export function plain(alpha) {
  const line = new Float32Array(2 * alpha.length);
  for (let i = 0; i < alpha.length; i++) line[2 * i + 1] = alpha[i];
  return line;
}

/** Alpha at the network's own size, as the graphics card makes it of the full frame. */
export function applied(line, picture, levels = LEVELS) {
  const guide = grey(picture);
  const result = new Float32Array(guide.length);
  const stretch = 1 / (levels[1] - levels[0]);
  for (let i = 0; i < guide.length; i++) {
    const alpha = ((line[2 * i] * guide[i]) / 255 + line[2 * i + 1] - levels[0]) * stretch;
    result[i] = alpha > 0 ? Math.min(alpha, 1) : 0;
  }
  return result;
}
