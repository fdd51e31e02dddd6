// The page: puts sources, network, drawing, recording and controls together.

import * as backgrounds from "./backgrounds.js";
import { Composer } from "./compose.js";
import { Matting } from "./network.js";
import { keepOffline } from "./offline.js";
import { Player } from "./player.js";
import { Recorder, download, snapshot, stem } from "./recorder.js";
import * as settingsOf from "./settings.js";
import { cameras, openCamera, openFile } from "./sources.js";
import * as ui from "./ui.js";

const { element } = ui;
const settings = settingsOf.load();
const asked = new URLSearchParams(location.search); // ?device=wasm|webgpu and ?threads=N, for measuring
const canvas = element("canvas");
let player = null;
let recorder = null;
let starts = 0; // grows with every start and stop, so that a source that opens late is closed
let pictures = []; // the bundled backgrounds
let own = null; // the person's background
let runs = null; // what the network runs on
let closes = null; // a bundled background's bitmap, let go when another takes its place

const STEPS = ["feather", "position", "hardness", "hold", "edges", "clean", "mask"];

async function main() {
  ui.showControls(settings);
  ui.bindControls(settings, changed);
  bind();
  ui.showCameras(await cameras().catch(() => []), settings.camera);
  pictures = await backgrounds.bundled();
  showTiles();
  try {
    const composer = new Composer(canvas);
    const matting = new Matting({ device: asked.get("device") ?? "auto", threads: Number(asked.get("threads")) || 0 });
    player = new Player(matting, composer, settings, broken);
    await choosePicture();
    const opened = (runs = await matting.opened);
    ui.showDevice(opened);
    element("loading").hidden = true;
    element("begin").hidden = element("start").disabled = false;
    setInterval(refresh, 500);
    keepOffline(opened.runtime);
    expose(opened);
  } catch (error) {
    element("loading").hidden = true;
    ui.complain(error.message);
  }
}

function bind() {
  const toggle = () => (player?.running ? stop() : startCamera());
  element("start").onclick = toggle;
  element("begin-camera").onclick = startCamera;
  element("snapshot").onclick = save;
  element("record").onclick = record;
  element("mirror").onclick = mirror;
  element("help").onclick = () => element("keys").showModal();
  element("open").onclick = element("begin-file").onclick = () => element("file").click();
  element("file").onchange = ({ target }) => pick(target, startFile);
  element("own").onchange = ({ target }) => pick(target, takeOwn);
  element("message").querySelector("button").onclick = () => ui.complain("");
  element("reset").onclick = () => {
    for (const name of STEPS) settings[name] = settingsOf.first(name);
    changed();
  };
  ui.bindDrop(startFile);
  ui.bindKeys({ " ": toggle, s: save, r: record, m: mirror, b: nextBackground, "?": element("help").onclick });
}

/** The file that an input was given; the same one can be chosen again later. */
function pick(input, call) {
  const [file] = input.files;
  input.value = "";
  if (file) call(file);
}

function changed(name) {
  ui.showControls(settings);
  settingsOf.save(settings);
  if (name === "colour") showTiles();
  if (["size", "camera"].includes(name) && player?.source?.kind === "camera") startCamera();
  else player?.changed();
}

// Sources

function startCamera() {
  const size = settings.size.split("x").map(Number);
  const ended = () => broken(new Error("The camera went away. Connect it, then start again."));
  return start(() => openCamera({ id: settings.camera, size, ended }));
}

function startFile(file) {
  return start(() => openFile(file));
}

async function start(open) {
  if (!player || element("start").disabled) return;
  const number = ++starts;
  ui.complain("");
  try {
    const before = player.source;
    player.stop(); // a camera can be opened once only
    if (before) ui.showRunning(false);
    const source = await open();
    if (number !== starts) return source.close();
    player.start(source);
    ui.showRunning(true, player.source.kind);
    showMirror();
    ui.say(`${player.source.kind} started`);
    if (player.source.kind === "camera") ui.showCameras(await cameras(), settings.camera);
  } catch (error) {
    if (number === starts) ui.complain(error.message);
  }
}

function stop() {
  starts++;
  player.stop();
  ui.showRunning(false);
  ui.say("stopped");
  if (recorder) record();
}

function broken(error) {
  if (player?.running) player.stop();
  ui.showRunning(false);
  ui.complain(error.message);
}

/** Twice a second: the status line, and the picture's shape. */
function refresh() {
  if (recorder) {
    ui.showRecording(recorder.seconds);
    if (!player.running || player.source.still) player.redraw(); // a canvas is recorded when it is drawn
  }
  if (!player.last || !player.running) return;
  ui.showShape(canvas);
  const { device, note } = player.last.result;
  if (device !== runs.device) ui.showDevice(Object.assign(runs, { device, note }));
  const { rate, times, source } = player;
  ui.showRate({ rate, times, width: canvas.width, height: canvas.height, still: source.still });
}

// What is kept

async function save() {
  if (!player?.last) return;
  try {
    player.redraw();
    download(await snapshot(canvas), `${stem()}.png`);
    ui.say("snapshot saved");
  } catch (error) {
    ui.complain(error.message);
  }
}

let startsRecording = false; // while the browser asks for the microphone

async function record() {
  if (!player?.last || startsRecording) return;
  try {
    if (recorder) {
      const finished = recorder;
      recorder = null;
      ui.showRecording(null);
      download(await finished.stop(), `${stem()}.${finished.extension}`);
      return ui.say("recording saved");
    }
    startsRecording = true;
    recorder = await Recorder.start(canvas, settings.sound, recordingBroke);
    player.redraw();
    ui.showRecording(0);
    ui.say("recording");
  } catch (error) {
    recorder = null;
    ui.showRecording(null);
    ui.complain(error.message);
  } finally {
    startsRecording = false;
  }
}

/** What there is of it is saved. */
function recordingBroke(error) {
  ui.complain(error.message);
  if (recorder) record();
}

function mirror() {
  const kind = player?.kind ?? "camera";
  settings.mirrored[kind] = !settings.mirrored[kind];
  showMirror();
  changed();
}

function showMirror() {
  const kind = player?.source?.kind ?? player?.kind ?? "camera";
  element("mirror").setAttribute("aria-pressed", settings.mirrored[kind]);
}

// Backgrounds

function tiles() {
  return [
    { key: "none", name: "None", look: "none" },
    { key: "blur", name: "Blur", look: "blur" },
    { key: "colour", name: "Colour", colour: settings.colour },
    { key: "transparent", name: "Cut-out", look: "transparent" },
    ...pictures.map(({ name, file }) => ({ key: `picture:${name}`, name, image: `backgrounds/${file}` })),
    { key: "own", name: own ? "Your own" : "Add yours", look: own ? "own filled" : "own", image: own?.address },
  ];
}

const currentKey = () => (settings.mode !== "picture" ? settings.mode : settings.picture === "own" ? "own" : `picture:${settings.picture}`);

function showTiles() {
  ui.showTiles(tiles(), currentKey(), (key) => {
    if (key === "own" && (!own || currentKey() === "own")) element("own").click();
    else choose(key);
  });
}

async function choose(key) {
  const [mode, name] = key === "own" ? ["picture", "own"] : key.split(":");
  settings.mode = mode;
  if (name) settings.picture = name;
  ui.markTile(currentKey());
  await choosePicture();
  changed();
}

/** Gives the composer the picture that is chosen; one that is no longer there gives way to the first. */
async function choosePicture() {
  if (settings.mode !== "picture") return;
  const chosen = settings.picture;
  const bundled = pictures.find(({ name }) => name === chosen);
  const outdated = () => settings.mode !== "picture" || settings.picture !== chosen;
  try {
    if (chosen === "own" && own) return showBehind(own.bitmap);
    if (bundled) {
      const bitmap = await backgrounds.bitmapOf(bundled);
      if (outdated()) return bitmap.close();
      showBehind(bitmap);
      return (closes = bitmap);
    }
  } catch (error) {
    if (outdated()) return;
    ui.complain(error.message);
  }
  settings.mode = settingsOf.first("mode");
  ui.markTile(currentKey());
  ui.showControls(settings);
}

function showBehind(bitmap) {
  player?.composer.background(bitmap);
  closes?.close();
  closes = null;
}

async function takeOwn(file) {
  try {
    const before = own;
    own = await backgrounds.own(file);
    showTiles();
    await choose("own");
    before?.bitmap.close();
    if (before) URL.revokeObjectURL(before.address);
  } catch (error) {
    ui.complain(error.message);
  }
}

function nextBackground() {
  const keys = tiles().map(({ key }) => key).filter((key) => key !== "own" || own);
  const next = keys[(keys.indexOf(currentKey()) + 1) % keys.length];
  ui.say(`background: ${next.replace("picture:", "")}`);
  return choose(next);
}

/**
 * For tests and measurements: `window.portrait`.
 *   alpha()  {width, height, data: bytes} of the frame that is shown, before feathering and stepping
 *   pixels() {width, height, data: RGBA bytes} of that frame
 *   stats()  frames shown, frames/s, milliseconds by stage, the network's size and device
 */
function expose(opened) {
  const frame = () => {
    const { bitmap } = player.last;
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return { width: bitmap.width, height: bitmap.height, data: context.getImageData(0, 0, bitmap.width, bitmap.height).data };
  };
  const stats = () => ({
    ...opened, shown: player.shown, rate: player.rate, times: player.times,
    size: player.last?.result.size, resets: player.last?.result.resets, kind: player.kind,
  }); // prettier-ignore
  window.portrait = { alpha: () => player.composer.alpha(), pixels: frame, stats };
}

main();
