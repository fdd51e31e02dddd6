// What the person chose, kept in this browser.

const KEY = "portrait-settings";
const FIRST = {
  mode: "blur", // none, picture, blur, colour, transparent
  picture: "", // name of a bundled background, or "own"
  colour: "#2f6f5e",
  blur: 3, // percent of the longer side
  feather: 0, // pixels
  position: 0, // percent that the edge lies further in (below 0: further out)
  hardness: 0, // percent
  hold: 85, // percent of the old alpha kept where nothing moves
  edges: true,
  clean: true,
  mask: false,
  size: "640x480",
  camera: "",
  sound: false,
  mirrored: { camera: true, video: false, picture: false },
};

/** The settings as they were left, or the first ones. */
export function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
    const known = Object.entries(kept).filter(([name, value]) => typeof value === typeof FIRST[name]);
    return { ...structuredClone(FIRST), ...Object.fromEntries(known) };
  } catch {
    return structuredClone(FIRST);
  }
}

/** Keeps them; a browser that keeps nothing is no error. */
export function save(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // a private window
  }
}

/** The first value of a setting. */
export const first = (name) => structuredClone(FIRST[name]);

/** Where alpha becomes 0 and 1, or null when it stays as it is: position and hardness are percents. */
export function stepOf({ position, hardness }) {
  if (!position && !hardness) return null;
  const middle = 0.5 + position / 250;
  const half = Math.max(0.01, (1 - hardness / 100) / 2);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/** "#rrggbb" as three numbers of 0..1. */
export function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
}

/** What the worker needs to know. */
export function forWorker(settings) {
  const plain = settings.mode === "none" && !settings.mask;
  return {
    hold: settings.hold / 100,
    edges: settings.edges,
    clean: settings.clean && !plain,
    blur: settings.mode === "blur" ? settings.blur / 100 : 0,
  };
}

/** What the composer needs to know. */
export function forComposer(settings, kind) {
  return {
    mode: settings.mask ? "mask" : settings.mode,
    colour: rgb(settings.colour),
    feather: settings.feather,
    step: stepOf(settings),
    mirrored: settings.mirrored[kind] ?? false,
  };
}
