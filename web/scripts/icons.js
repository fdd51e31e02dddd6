// The app's icon, drawn: a head and shoulders cut out of the scene, whose other half is the chequers of transparency.

import { deflateSync } from "node:zlib";

const GROUND = [24, 62, 54];
const CHEQUER = [37, 80, 70];
const PERSON = [246, 239, 226];
const SAMPLES = 4; // across and down within a pixel, so that edges are smooth

// In shares of the icon's side; everything lies within the middle 80 %, which phones do not cut off.
const HEAD = { x: 0.5, y: 0.39, rx: 0.135, ry: 0.16 };
const BODY = { x: 0.5, y: 0.86, rx: 0.28, ry: 0.27 };
const FLOOR = 0.82;
const SQUARE = 0.125;

const within = ({ x, y, rx, ry }, px, py) => ((px - x) / rx) ** 2 + ((py - y) / ry) ** 2 < 1;

function colour(x, y) {
  if (within(HEAD, x, y) || (within(BODY, x, y) && y < FLOOR)) return PERSON;
  const odd = (Math.floor(x / SQUARE) + Math.floor(y / SQUARE)) % 2;
  return x >= 0.5 && odd ? CHEQUER : GROUND;
}

/** The icon as an SVG. */
export function svg() {
  const hex = (parts) => `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
  const squares = [];
  for (let row = 0; row < 8; row++) {
    for (let column = 4; column < 8; column++) if ((row + column) % 2) squares.push(`M${column} ${row}h1v1h-1z`);
  }
  const ellipse = ({ x, y, rx, ry }) => `<ellipse cx="${x * 8}" cy="${y * 8}" rx="${rx * 8}" ry="${ry * 8}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" fill="${hex(GROUND)}"/>
<path fill="${hex(CHEQUER)}" d="${squares.join("")}"/><clipPath id="c"><path d="M0 0h8v${FLOOR * 8}h-8z"/></clipPath>
<g fill="${hex(PERSON)}">${ellipse(HEAD)}/>${ellipse(BODY)} clip-path="url(#c)"/></g></svg>\n`;
}

function pixels(size) {
  const rows = Buffer.alloc(size * (3 * size + 1)); // each row begins with its filter, 0
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const sum = [0, 0, 0];
      for (let n = 0; n < SAMPLES ** 2; n++) {
        const [dx, dy] = [(n % SAMPLES) + 0.5, Math.floor(n / SAMPLES) + 0.5];
        colour((x + dx / SAMPLES) / size, (y + dy / SAMPLES) / size).forEach((part, i) => (sum[i] += part));
      }
      sum.forEach((part, i) => (rows[y * (3 * size + 1) + 1 + 3 * x + i] = Math.round(part / SAMPLES ** 2)));
    }
  }
  return rows;
}

function crc(bytes) {
  let value = ~0;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
}

function chunk(kind, data) {
  const body = Buffer.concat([Buffer.from(kind), data]);
  const result = Buffer.alloc(body.length + 8);
  result.writeUInt32BE(data.length, 0);
  body.copy(result, 4);
  result.writeUInt32BE(crc(body), body.length + 4);
  return result;
}

/** The icon as a PNG of so many pixels a side. */
export function png(size) {
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]); // 8 bits, RGB
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(pixels(size))), chunk("IEND", Buffer.alloc(0))]);
}
