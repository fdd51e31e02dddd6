// Pre- and post-processing against numbers from Python: tests/test_web.py writes them and runs this file.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { applied, coefficients } from "../src/guided.js";
import { bestSize, boxOf, letterbox, resize } from "../src/letterbox.js";
import { blurredScene, edgeContrast } from "../src/scenery.js";
import { grey, held, isCut, thumbnail } from "../src/temporal.js";

const { cases, boxes, best, cuts } = JSON.parse(readFileSync(process.env.PORTRAIT_NUMBERS, "utf8"));

function difference(found, wanted) {
  assert.equal(found.length, wanted.length);
  let [sum, most] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    const off = Math.abs(found[i] - wanted[i]);
    sum += off;
    if (!(off <= most)) most = off; // NaN stays
  }
  return { mean: sum / wanted.length, most };
}

const bytes = (values) => Uint8Array.from(values);
const floats = (values) => Float32Array.from(values);

function rgba(rgb) {
  const result = new Uint8Array((rgb.length / 3) * 4).fill(255);
  for (let i = 0; i < rgb.length; i++) result[Math.floor(i / 3) * 4 + (i % 3)] = rgb[i];
  return result;
}

for (const one of cases) {
  const { width, height, size, rgb } = one;
  const { picture, input, box } = letterbox(rgba(rgb), width, height, size);
  const name = `${width}x${height} to ${size.join("x")}`;

  test(`${name}: letterbox`, () => {
    const { mean, most } = difference(input, one.letterboxed);
    assert.ok(most <= 1 && mean < 0.2, `mean ${mean}, most ${most}`);
    assert.deepEqual([box.top, box.left, box.height, box.width], one.box);
  });

  test(`${name}: grey, within a level`, () => assert.ok(difference(grey(bytes(one.picture)), one.grey).most <= 1));

  test(`${name}: held`, () => {
    const found = held(bytes(one.before), bytes(one.grey), floats(one.old), floats(one.alpha), box.width, box.height);
    const { mean, most } = difference(found, one.held);
    assert.ok(mean < 0.002 && most < 0.08, `mean ${mean}, most ${most}`);
  });

  test(`${name}: edges`, () => {
    const line = coefficients(bytes(one.picture), floats(one.alpha), box.width, box.height);
    const { mean, most } = difference(applied(line, bytes(one.picture)), one.guided);
    assert.ok(mean < 1e-3 && most < 0.02, `mean ${mean}, most ${most}`);
  });

  // On a smaller picture than networks see the blur is narrower than a pixel, and each way of it its own.
  if (Math.max(...size) > 150) test(`${name}: scene out of focus`, () => {
    const scene = blurredScene(bytes(one.picture), floats(one.alpha), box.width, box.height);
    const colours = floats([...scene.data].filter((_, i) => i % 4 < 3));
    const large = resize(colours, scene.width, scene.height, box.width, box.height, 3);
    const { mean } = difference(large, one.blurred);
    assert.ok(mean < 4, `mean ${mean}`);
  });

  test(`${name}: colour of the edge`, () => {
    const contrast = edgeContrast(bytes(one.picture), floats(one.alpha), box.width, box.height);
    const colours = [...contrast.data].filter((_, i) => i % 4 < 3).map((value) => (value - 128) * 2);
    const large = resize(floats(colours), contrast.width, contrast.height, box.width, box.height, 3);
    let [sum, weight] = [0, 0];
    one.alpha.forEach((alpha, i) => {
      for (let c = 0; c < 3; c++) sum += alpha * (1 - alpha) * Math.abs(large[3 * i + c] - one.contrast[3 * i + c]);
      weight += 3 * alpha * (1 - alpha);
    });
    assert.ok(sum / weight < 4, `mean ${sum / weight} levels where it counts`);
  });
}

test("boxes", () => {
  for (const { width, height, size, box } of boxes) {
    const found = boxOf(width, height, size);
    assert.deepEqual([found.top, found.left, found.height, found.width], box, `${width}x${height}`);
  }
});

test("the shape that shows a frame largest", () => {
  for (const { width, height, sizes, number } of best) assert.equal(bestSize(width, height, sizes), number, `${width}x${height}`);
});

test("cuts", () => {
  for (const { width, height, before, now, thumbnail: wanted, cut } of cuts) {
    const found = thumbnail(rgba(now), width, height);
    assert.ok(difference(found, wanted).most < 1);
    assert.equal(isCut(thumbnail(rgba(before), width, height), found), cut);
  }
});
