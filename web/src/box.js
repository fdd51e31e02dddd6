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

/** Where the samples from -radius to length + radius are found. */
function places(length, radius, border, pace) {
  return Int32Array.from({ length: length + 2 * radius }, (_, i) => borders[border](i - radius, length) * pace);
}

/** Mean of the (2 radius + 1) squared values around each; float32 [height, width] with `channels` interleaved. */
export function blur(values, width, height, radius, border, channels = 1) {
  const across = places(width, radius, border, channels);
  const down = places(height, radius, border, width * channels);
  const rows = new Float32Array(values.length);
  const length = width * channels;
  for (let start = 0; start < values.length; start += length) {
    if (channels === 4) sumRow4(values, rows, start, across, width, 2 * radius);
    else for (let c = 0; c < channels; c++) sumRow(values, rows, start + c, across, width, 2 * radius, channels);
  }
  return sumColumns(rows, length, height, down, 2 * radius);
}

function sumRow(values, rows, start, across, width, reach, channels) {
  let sum = 0;
  for (let i = 0; i < reach; i++) sum += values[start + across[i]];
  for (let x = 0, at = start; x < width; x++, at += channels) {
    sum += values[start + across[x + reach]];
    rows[at] = sum;
    sum -= values[start + across[x]];
  }
}

/** Four channels at once, which is twice as fast as one after the other. */
function sumRow4(values, rows, start, across, width, reach) {
  let a = 0, b = 0, c = 0, d = 0; // prettier-ignore
  for (let i = 0; i < reach; i++) {
    const from = start + across[i];
    a += values[from];
    b += values[from + 1];
    c += values[from + 2];
    d += values[from + 3];
  }
  for (let x = 0, at = start; x < width; x++, at += 4) {
    const added = start + across[x + reach];
    const gone = start + across[x];
    rows[at] = a += values[added];
    rows[at + 1] = b += values[added + 1];
    rows[at + 2] = c += values[added + 2];
    rows[at + 3] = d += values[added + 3];
    a -= values[gone];
    b -= values[gone + 1];
    c -= values[gone + 2];
    d -= values[gone + 3];
  }
}

function sumColumns(rows, length, height, down, reach) {
  const result = new Float32Array(rows.length);
  const sums = new Float64Array(length);
  const scale = 1 / (reach + 1) ** 2;
  for (let i = 0; i < reach; i++) {
    for (let x = 0, from = down[i]; x < length; x++, from++) sums[x] += rows[from];
  }
  for (let y = 0, at = 0; y < height; y++) {
    let added = down[y + reach];
    let gone = down[y];
    for (let x = 0; x < length; x++, at++, added++, gone++) {
      const sum = sums[x] + rows[added];
      result[at] = sum * scale;
      sums[x] = sum - rows[gone];
    }
  }
  return result;
}
