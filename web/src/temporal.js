// Steadying alpha from frame to frame, as "smooth" of utils/temporal.py: pixels are held where the picture stands still.

import { blur } from "./box.js";
import { resize } from "./letterbox.js";

export const HOLD = 0.85; // share of the old alpha kept where nothing moves
const NOISE = 3; // grey levels that a camera's noise changes even so
const NOISIEST = 3; // median change that can still be noise
const CUT = 0.5; // correlation of two frames' thumbnails below which they show different scenes
const GONE = 0.3; // highest alpha below which nobody is there

/** Grey bytes of a picture whose pixels have `stride` values, red, green and blue first: OpenCV's weights. */
export function grey(pixels, stride = 3) {
  const result = new Uint8Array(pixels.length / stride);
  for (let i = 0, at = 0; i < result.length; i++, at += stride) {
    result[i] = (9798 * pixels[at] + 19235 * pixels[at + 1] + 3735 * pixels[at + 2] + 16384) >> 15;
  }
  return result;
}

/** An RGBA frame in 24x16 grey values. */
export function thumbnail(rgba, width, height) {
  const down = Math.max(1, Math.floor(height / 64));
  const across = Math.max(1, Math.floor(width / 96));
  const wide = Math.ceil(width / across);
  const tall = Math.ceil(height / down);
  const few = new Uint8Array(wide * tall * 4);
  for (let y = 0, to = 0; y < tall; y++) {
    for (let x = 0; x < wide; x++, to += 4) {
      const from = (y * down * width + x * across) * 4;
      for (let c = 0; c < 3; c++) few[to + c] = rgba[from + c];
    }
  }
  return resize(Float32Array.from(grey(few, 4)), wide, tall, 24, 16, 1);
}

/** Whether two thumbnails show different scenes; a change of light alone is none. */
export function isCut(before, now) {
  const count = before.length;
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / count;
  const [a, b] = [mean(before), mean(now)];
  let both = 0, own = 0, other = 0; // prettier-ignore
  for (let i = 0; i < count; i++) {
    both += (before[i] - a) * (now[i] - b);
    own += (before[i] - a) ** 2;
    other += (now[i] - b) ** 2;
  }
  const power = Math.sqrt(own * other);
  const flat = power < (100 * count) / 384; // two nearly even pictures correlate by chance
  return !flat && both / power < CUT;
}

function median(bytes) {
  const counts = new Uint32Array(256);
  for (let i = 0; i < bytes.length; i++) counts[bytes[i]]++;
  const at = (rank) => {
    let seen = 0;
    for (let value = 0; value < 256; value++) {
      seen += counts[value];
      if (seen > rank) return value;
    }
    return 255;
  };
  const half = bytes.length >> 1;
  return bytes.length % 2 ? at(half) : (at(half - 1) + at(half)) / 2;
}

/** `alpha` with the `old` one held where nothing moved between two grey frames; all [height, width]. */
export function held(before, now, old, alpha, width, height, hold = HOLD) {
  const change = new Float32Array(now.length);
  for (let i = 0; i < change.length; i++) change[i] = Math.abs(before[i] - now[i]);
  const around = blur(change, width, height, 2, "reflect101");
  const rounded = new Uint8Array(now.length);
  for (let i = 0; i < rounded.length; i++) rounded[i] = around[i] + 0.5;
  const allowed = NOISE + 2 * Math.min(median(rounded), NOISIEST);
  const weights = Float32Array.from({ length: 256 }, (_, level) => hold * Math.exp(-((level / allowed) ** 2)));
  const result = new Float32Array(alpha.length);
  for (let i = 0; i < result.length; i++) {
    const weight = weights[rounded[i]];
    result[i] = old[i] * weight + alpha[i] * (1 - weight);
  }
  return result;
}

function anybody(alpha) {
  for (let i = 0; i < alpha.length; i++) if (alpha[i] >= GONE) return true;
  return false;
}

/** The memory of one stream; a cut, another size, or nobody left empties it. */
export class Temporal {
  constructor() {
    this.resets = 0;
    this.thumbnail = null;
    this.reset();
  }

  /** Forget what was. */
  reset() {
    this.grey = null;
    this.alpha = null;
  }

  /** Looks for a cut in an RGBA frame of any size. */
  watch(rgba, width, height) {
    const before = this.thumbnail;
    this.thumbnail = thumbnail(rgba, width, height);
    if (before && this.alpha && isCut(before, this.thumbnail)) {
      this.reset();
      this.resets++;
    }
  }

  /** The steadied alpha of a picture (RGB bytes), both at the network's size. `hold` 0 leaves it as it is. */
  steady(picture, alpha, width, height, hold = HOLD) {
    const now = grey(picture);
    if (!anybody(alpha)) {
      this.reset();
      return alpha;
    }
    if (hold > 0 && this.grey?.length === now.length && this.width === width) {
      alpha = held(this.grey, now, this.alpha, alpha, width, height, hold);
    }
    [this.grey, this.alpha, this.width] = [now, alpha, width];
    return alpha;
  }
}
