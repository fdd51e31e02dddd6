// Resizing and letterboxing as utils/images.py does them. Pictures are flat arrays, row by row, channels interleaved.

/** Which source samples, with which weights, make each of `count` averaged ones: OpenCV's INTER_AREA. */
function areaTable(length, count) {
  const scale = length / count;
  const first = new Int32Array(count + 1);
  const index = [];
  const weight = [];
  for (let i = 0; i < count; i++) {
    const from = i * scale;
    const to = from + scale;
    const cell = Math.min(scale, length - from);
    const last = Math.min(Math.floor(to), length - 1);
    const start = Math.min(Math.ceil(from), last);
    if (start - from > 1e-3) index.push(start - 1), weight.push((start - from) / cell);
    for (let at = start; at < last; at++) index.push(at), weight.push(1 / cell);
    if (to - last > 1e-3) index.push(last), weight.push(Math.min(to - last, 1, cell) / cell);
    first[i + 1] = index.length;
  }
  return { first, index: Int32Array.from(index), weight: Float32Array.from(weight) };
}

/** The two neighbours of each of `count` samples and the second one's share: bilinear, OpenCV's INTER_LINEAR. */
function linearTable(length, count) {
  const scale = length / count;
  const index = new Int32Array(2 * count);
  const weight = new Float32Array(2 * count);
  const first = Int32Array.from({ length: count + 1 }, (_, i) => 2 * i);
  for (let i = 0; i < count; i++) {
    const at = Math.min(Math.max((i + 0.5) * scale - 0.5, 0), length - 1);
    const low = Math.min(Math.floor(at), Math.max(0, length - 2));
    index.set([low, Math.min(low + 1, length - 1)], 2 * i);
    weight.set([1 - (at - low), at - low], 2 * i);
  }
  return { first, index, weight };
}

const tables = new Map();

/** Tables are made once for each pair of lengths: a film asks for the same ones at every frame. */
function table(make, length, count) {
  const key = `${make.name} ${length} ${count}`;
  if (tables.size > 64) tables.clear();
  if (!tables.has(key)) tables.set(key, make(length, count));
  return tables.get(key);
}

/**
 * Resize averaging when shrinking, bilinear when enlarging.
 * `stride` is the number of values a source pixel has (4 for RGBA), of which the first `channels` are used.
 * Returns the same kind of array as `source`, rounded where that holds bytes.
 */
export function resize(source, width, height, toWidth, toHeight, channels, stride = channels) {
  const Kind = source instanceof Float32Array ? Float32Array : Uint8Array;
  if (width === toWidth && height === toHeight && stride === channels) return Kind.from(source);
  const result = new Kind(toWidth * toHeight * channels);
  const make = toWidth * toHeight < width * height && toWidth <= width && toHeight <= height ? areaTable : linearTable;
  const across = table(make, width, toWidth);
  const down = table(make, height, toHeight);
  const bytes = Kind === Uint8Array;
  const whole = bytes && channels === 3 && stride === 4 && source.byteOffset % 4 === 0;
  const words = whole ? new Uint32Array(source.buffer, source.byteOffset, width * height) : null;
  const length = toWidth * channels;
  const sum = new Float32Array(length);
  const rows = [new Float32Array(length), new Float32Array(length)];
  const held = [-1, -1]; // source rows that lie reduced in `rows`
  for (let y = 0; y < toHeight; y++) {
    sum.fill(0);
    for (let n = down.first[y]; n < down.first[y + 1]; n++) {
      const from = down.index[n];
      const slot = from & 1;
      if (held[slot] !== from) {
        if (words) reduceWords(words, from * width, across, rows[slot], toWidth);
        else reduceRow(source, from * width * stride, across, rows[slot], toWidth, channels, stride);
        held[slot] = from;
      }
      const row = rows[slot];
      const weight = down.weight[n];
      for (let i = 0; i < length; i++) sum[i] += weight * row[i];
    }
    const start = y * length;
    if (bytes) for (let i = 0; i < length; i++) result[start + i] = sum[i] + 0.5;
    else result.set(sum, start);
  }
  return result;
}

/** reduceRow of RGBA bytes read four at a time, in the order that all processors of browsers have them. */
function reduceWords(words, start, { first, index, weight }, row, width) {
  let n = 0;
  for (let x = 0, to = 0; x < width; x++, to += 3) {
    let red = 0, green = 0, blue = 0; // prettier-ignore
    for (const last = first[x + 1]; n < last; n++) {
      const word = words[start + index[n]];
      const share = weight[n];
      red += share * (word & 255);
      green += share * ((word >> 8) & 255);
      blue += share * ((word >> 16) & 255);
    }
    row[to] = red;
    row[to + 1] = green;
    row[to + 2] = blue;
  }
}

function reduceRow(source, start, { first, index, weight }, row, width, channels, stride) {
  if (channels === 3) {
    for (let x = 0; x < width; x++) {
      let red = 0, green = 0, blue = 0; // prettier-ignore
      for (let n = first[x]; n < first[x + 1]; n++) {
        const at = start + index[n] * stride;
        const share = weight[n];
        red += share * source[at];
        green += share * source[at + 1];
        blue += share * source[at + 2];
      }
      row[3 * x] = red;
      row[3 * x + 1] = green;
      row[3 * x + 2] = blue;
    }
    return;
  }
  row.fill(0);
  for (let x = 0, to = 0; x < width; x++, to += channels) {
    for (let n = first[x]; n < first[x + 1]; n++) {
      const at = start + index[n] * stride;
      const share = weight[n];
      for (let c = 0; c < channels; c++) row[to + c] += share * source[at + c];
    }
  }
}

/** Python's round(): halves go to the even neighbour. */
function roundEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

/** Where a picture lies in a network's canvas: {top, left, width, height}. `size` is [height, width]. */
export function boxOf(width, height, size) {
  const scale = Math.min(size[0] / height, size[1] / width);
  const tall = Math.max(1, roundEven(height * scale));
  const wide = Math.max(1, roundEven(width * scale));
  return { top: (size[0] - tall) >> 1, left: (size[1] - wide) >> 1, width: wide, height: tall };
}

/** Of several network sizes [height, width] the number of the one that shows a picture largest; the smallest of equals. */
export function bestSize(width, height, sizes) {
  const scale = (size) => Math.round(1000 * Math.min(size[0] / height, size[1] / width));
  const pixels = (size) => size[0] * size[1];
  let best = 0;
  sizes.forEach((size, i) => {
    const more = scale(size) - scale(sizes[best]) || pixels(sizes[best]) - pixels(size);
    if (more > 0) best = i;
  });
  return best;
}

/**
 * A frame (RGBA bytes) fitted into a network's input: `picture`, RGB bytes of the box alone, and `input`, float32
 * [size 0, size 1, 3] in 0..255, black around it.
 */
export function letterbox(rgba, width, height, size, input = new Float32Array(size[0] * size[1] * 3)) {
  const box = boxOf(width, height, size);
  const picture = resize(rgba, width, height, box.width, box.height, 3, 4);
  input.fill(0);
  for (let y = 0; y < box.height; y++) {
    const row = picture.subarray(y * box.width * 3, (y + 1) * box.width * 3);
    input.set(row, ((box.top + y) * size[1] + box.left) * 3);
  }
  return { picture, input, box };
}

/** The box's part of a network's answer, float32, brought into 0..1; what is not a number becomes 0. */
export function cropAlpha(output, size, box) {
  const alpha = new Float32Array(box.width * box.height);
  for (let y = 0; y < box.height; y++) {
    const from = (box.top + y) * size[1] + box.left;
    for (let x = 0; x < box.width; x++) {
      const value = output[from + x];
      alpha[y * box.width + x] = value > 0 ? Math.min(value, 1) : 0;
    }
  }
  return alpha;
}
