// What must hold whatever Python says: empty and broken masks, cuts, settings.

import assert from "node:assert/strict";
import test from "node:test";

import { cover } from "../src/compose.js";
import { applied, coefficients, plain } from "../src/guided.js";
import { cropAlpha, resize } from "../src/letterbox.js";
import { stem } from "../src/recorder.js";
import { blurredScene, edgeContrast } from "../src/scenery.js";
import { forComposer, forWorker, load, rgb, stepOf } from "../src/settings.js";
import { Temporal } from "../src/temporal.js";

const [width, height] = [48, 36];
const picture = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 37 + (i >> 5) * 11) % 256);
const even = (value) => new Float32Array(width * height).fill(value);

test("nobody and everybody give numbers, not NaN", () => {
  for (const value of [0, 1]) {
    const line = coefficients(picture, even(value), width, height);
    const alpha = applied(line, picture);
    assert.ok(line.every(Number.isFinite));
    assert.ok(alpha.every((found) => Math.abs(found - value) < 1e-3));
    for (const made of [blurredScene(picture, alpha, width, height), edgeContrast(picture, alpha, width, height)]) {
      assert.equal(made.data.length, 4 * made.width * made.height);
    }
  }
  const scene = blurredScene(new Uint8Array(picture.length).fill(90), even(1), width, height).data;
  assert.ok(scene.every((level, i) => (i % 4 === 3 ? level === 255 : Math.abs(level - 90) <= 1)));
});

test("an even wall stays as it is when blurred", () => {
  const wall = new Uint8Array(width * height * 3).fill(120);
  const person = even(0).map((_, i) => (i % width > 15 && i % width < 30 ? 1 : 0));
  assert.ok(blurredScene(wall, person, width, height).data.every((level, i) => i % 4 === 3 || Math.abs(level - 120) <= 1));
});

test("what is not a number in an answer becomes background", () => {
  const output = Float32Array.from([0.5, NaN, -1, 2, 0.25, 0.75, 1, 0]);
  const alpha = cropAlpha(output, [2, 4], { top: 0, left: 1, width: 2, height: 2 });
  assert.deepEqual([...alpha], [0, 0, 0.75, 1]);
});

test("the memory is emptied by nobody, by a cut, and by another size", () => {
  const memory = new Temporal();
  const still = () => memory.steady(picture, even(0.4), width, height)[0];
  memory.steady(picture, even(1), width, height);
  assert.ok(still() > 0.85); // held
  memory.steady(picture, even(0.1), width, height);
  assert.ok(Math.abs(still() - 0.4) < 1e-6); // nobody was there
  memory.steady(picture, even(1), width, height);
  const turned = memory.steady(picture, even(0.4), height, width);
  assert.ok(Math.abs(turned[0] - 0.4) < 1e-6);
  const scenes = [(x) => x * 4, (x) => 255 - x * 4].map((level) => {
    return Uint8Array.from({ length: 64 * 48 * 4 }, (_, i) => level(Math.floor(i / 4) % 64));
  });
  for (const scene of [scenes[0], scenes[0], scenes[1]]) memory.watch(scene, 64, 48);
  assert.equal(memory.resets, 1);
  assert.equal(memory.alpha, null);
});

test("steadiness 0 holds nothing", () => {
  const memory = new Temporal();
  memory.steady(picture, even(1), width, height, 0);
  assert.deepEqual([...memory.steady(picture, even(0.5), width, height, 0)], [...even(0.5)]);
});

test("without fine edges alpha is what the network gave, stretched", () => {
  assert.ok(applied(plain(even(0.5)), picture).every((alpha) => Math.abs(alpha - 0.5) < 1e-6));
});

test("resizing keeps the mean, and one pixel can be enlarged", () => {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const source = Float32Array.from(picture);
  assert.ok(Math.abs(mean(resize(source, width, height, 17, 13, 3)) - mean(source)) < 0.5);
  assert.deepEqual([...resize(Uint8Array.of(7), 1, 1, 2, 3, 1)], [7, 7, 7, 7, 7, 7]);
});

test("a background covers the canvas without being squashed", () => {
  assert.deepEqual(cover({ width: 640, height: 480 }, { width: 400, height: 300 }), [1, 1]);
  assert.deepEqual(cover({ width: 200, height: 100 }, { width: 100, height: 100 }), [1, 0.5]);
  assert.deepEqual(cover({ width: 100, height: 200 }, { width: 100, height: 100 }), [0.5, 1]);
});

test("settings", () => {
  const settings = load(); // there is no storage in node
  assert.equal(settings.mode, "blur");
  assert.equal(stepOf(settings), null);
  for (const position of [-100, 0, 100]) {
    for (const hardness of [0, 50, 100]) {
      const step = stepOf({ position, hardness });
      if (step) assert.ok(step[0] >= 0 && step[0] < step[1] && step[1] <= 1, `${position} ${hardness}: ${step}`);
    }
  }
  assert.deepEqual(rgb("#ff0080"), [1, 0, 128 / 255]);
  assert.equal(forWorker(settings).blur, 0.03);
  assert.equal(forWorker({ ...settings, mode: "none" }).clean, false);
  assert.equal(forComposer({ ...settings, mask: true }, "camera").mode, "mask");
  assert.equal(forComposer(settings, "camera").mirrored, true);
  assert.equal(forComposer(settings, "picture").mirrored, false);
});

test("names of files say the moment", () => {
  assert.equal(stem(new Date(2026, 4, 1, 9, 8, 7)), "portrait_2026-05-01_09-08-07");
});
