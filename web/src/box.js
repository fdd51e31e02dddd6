// Box filters by running sums, the building stone of everything smooth.

const borders = {
  // What lies beyond the edge of `n` samples, as OpenCV names it.
  replicate: (i, n) => Math.min(Math.max(i, 0), n - 1),
  reflect: (i, n) => fold(i, 2 * n, (at) => (at < n ? at : 2 * n - 1 - at)),
  reflect101: (i, n) => (n === 1 ? 0 : fold(i, 2 * n - 2, (at) => (at < n ? at : 2 * n - 2 - at))),
};

function fold(i, period, inside) {
  return inside(((i % period) + period) % period);
}

/** Mean of the (2 radius + 1) squared values around each; float32 [height, width] with `channels` interleaved. */
export function blur(values, width, height, radius, border, channels = 1) {
  const side = 2 * radius + 1;
  const beyond = borders[border];
  const across = Int32Array.from({ length: width + 2 * radius }, (_, i) => beyond(i - radius, width) * channels);
  const down = Int32Array.from({ length: height + 2 * radius }, (_, i) => beyond(i - radius, height));
  const length = width * channels;
  const rows = new Float32Array(length * height);
  for (let y = 0; y < height; y++) {
    for (let c = 0; c < channels; c++) {
      const start = y * length + c;
      let sum = 0;
      for (let i = 0; i < side - 1; i++) sum += values[start + across[i]];
      for (let x = 0, at = start; x < width; x++, at += channels) {
        sum += values[start + across[x + side - 1]];
        rows[at] = sum;
        sum -= values[start + across[x]];
      }
    }
  }
  const result = new Float32Array(length * height);
  const sums = new Float64Array(length);
  const scale = 1 / (side * side);
  for (let i = 0; i < side - 1; i++) {
    const from = down[i] * length;
    for (let x = 0; x < length; x++) sums[x] += rows[from + x];
  }
  for (let y = 0; y < height; y++) {
    const added = down[y + side - 1] * length;
    const gone = down[y] * length;
    for (let x = 0, at = y * length; x < length; x++, at++) {
      const sum = sums[x] + rows[added + x];
      result[at] = sum * scale;
      sums[x] = sum - rows[gone + x];
    }
  }
  return result;
}
