// The page's controls: what they show, and what is called when they are used. Nothing here knows of networks.

export const element = (id) => document.getElementById(id);

const NUMBERS = {
  blur: (value) => `${value} %`,
  feather: (value) => (value ? `${value} px` : "off"),
  position: (value) => (value ? `${Math.abs(value)} % ${value > 0 ? "inwards" : "outwards"}` : "as found"),
  hardness: (value) => (value ? `${value} %` : "soft"),
  hold: (value) => (value ? `${value} %` : "off"),
};
const CHECKS = ["edges", "clean", "mask", "sound"];
const TEXTS = ["colour", "size", "camera"];
const STAGES = {
  read: "Read the frame",
  resize: "Resize",
  network: "Network",
  steady: "Steady",
  edges: "Edges",
  background: "Blur and edge colour",
  draw: "Hand to the graphics card",
};

/** Binds sliders, boxes and lists to `settings`; `changed(name)` is called after each change. */
export function bindControls(settings, changed) {
  const names = [...Object.keys(NUMBERS), ...CHECKS, ...TEXTS];
  for (const name of names) {
    element(name).addEventListener("input", ({ target }) => {
      settings[name] = name in NUMBERS ? Number(target.value) : CHECKS.includes(name) ? target.checked : target.value;
      showControls(settings);
      changed(name);
    });
  }
  element("panel").addEventListener("submit", (event) => event.preventDefault());
}

/** Makes the controls show the settings. */
export function showControls(settings) {
  for (const [name, words] of Object.entries(NUMBERS)) {
    const input = element(name);
    input.value = settings[name];
    input.parentElement.querySelector("output").textContent = words(settings[name]);
    input.setAttribute("aria-valuetext", words(settings[name]));
  }
  for (const name of CHECKS) element(name).checked = settings[name];
  for (const name of TEXTS) element(name).value = settings[name];
  element("for-colour").hidden = settings.mode !== "colour";
  element("for-blur").hidden = settings.mode !== "blur";
  document.body.classList.toggle("transparent", settings.mode === "transparent" && !settings.mask);
}

/** The tiles of backgrounds: [{key, name, look, image}]. `chosen(key)` is called for the one taken. */
export function showTiles(tiles, key, chosen) {
  const buttons = tiles.map((tile) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: `tile ${tile.look ?? ""}`, title: tile.name });
    button.setAttribute("role", "radio");
    button.dataset.key = tile.key;
    button.append(document.createElement("i"), document.createElement("span"));
    button.lastChild.textContent = tile.name;
    if (tile.image) button.firstChild.style.backgroundImage = `url("${tile.image}")`;
    if (tile.colour) button.firstChild.style.background = tile.colour;
    button.addEventListener("click", () => chosen(tile.key));
    return button;
  });
  element("tiles").replaceChildren(...buttons);
  markTile(key);
  element("tiles").onkeydown = (event) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const at = buttons.indexOf(document.activeElement);
    const next = buttons[(at + move + buttons.length) % buttons.length];
    next.focus();
    if (next.dataset.key !== "own") next.click(); // that would open a window of files
  };
}

/** Marks the background that is taken; it is the one that Tab reaches. */
export function markTile(key) {
  for (const button of element("tiles").children) {
    button.setAttribute("aria-checked", button.dataset.key === key);
    button.tabIndex = button.dataset.key === key ? 0 : -1;
  }
}

/** Keys that work anywhere but in text and lists: {key: call}. */
export function bindKeys(calls) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector("dialog[open]")) return;
    if (event.target.closest("select")) return; // letters choose in it
    // Space presses what has the focus; only elsewhere does it start and stop.
    if (event.key === " " && event.target.closest("button, input, summary")) return;
    const call = calls[event.key];
    if (!call) return;
    event.preventDefault();
    call();
  });
}

/** Files dropped on the page. */
export function bindDrop(opened) {
  const over = (on) => element("frame").classList.toggle("dropping", on);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? over(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    const [file] = event.dataTransfer.files;
    if (file) opened(file);
  });
}

/** An error in words, until it is closed or the next start. */
export function complain(text) {
  element("message").hidden = !text;
  element("message").firstElementChild.textContent = text;
}

/** Something done, for the eyes in the status line and for screen readers. */
export function say(text) {
  element("said").textContent = text;
}

/** Shows whether a source plays; `shape` is the picture's width by its height. */
export function showRunning(running, kind) {
  // The buttons of the empty page are about to go: Space is pressed on the one that stays.
  if (running && element("begin").contains(document.activeElement)) element("start").focus();
  element("start").querySelector("use").setAttribute("href", running ? "#i-stop" : "#i-play");
  element("start").querySelector("span").textContent = running ? (kind === "picture" ? "Close" : "Stop") : "Start";
}

/** The picture's place takes its shape. */
export function showShape(canvas) {
  document.body.classList.add("live");
  element("frame").style.setProperty("--shape", canvas.width / canvas.height);
  element("snapshot").disabled = element("record").disabled = false;
}

/** The status line and the table of times. */
export function showRate({ rate, times, width, height, still }) {
  element("rate").textContent = still ? `${width} × ${height}` : `${rate.toFixed(0)} frames/s · ${width} × ${height}`;
  const total = Object.values(times).reduce((sum, time) => sum + time, 0);
  const rows = [...Object.entries(times).map(([name, time]) => [STAGES[name] ?? name, time]), ["All", total]];
  element("times").replaceChildren(
    ...rows.map(([name, time]) => {
      const row = document.createElement("tr");
      row.append(document.createElement("th"), document.createElement("td"));
      row.firstChild.textContent = name;
      row.firstChild.scope = "row";
      row.lastChild.textContent = `${time.toFixed(1)} ms`;
      return row;
    }),
  );
}

/** What the network runs on. */
export function showDevice({ device, threads, note, model }) {
  const wasm = `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}`;
  element("runs").textContent = device === "webgpu" ? "WebGPU" : wasm;
  const isolation = self.crossOriginIsolated ? "" : " Threads need the headers that python -m web.serve sends.";
  element("network").textContent = `${model} on LiteRT.js${note ? ` (${note})` : ""}.${isolation}`;
}

/** The cameras to choose from. */
export function showCameras(cameras, chosen) {
  const options = [{ id: "", label: cameras.length ? "Any" : "None found yet" }, ...cameras];
  element("camera").replaceChildren(...options.map(({ id, label }) => new Option(label, id, false, id === chosen)));
}

/** How long a recording runs: seconds, or null when there is none. */
export function showRecording(seconds) {
  element("recording").hidden = seconds === null;
  element("record").setAttribute("aria-pressed", seconds !== null);
  element("record").querySelector("span").textContent = seconds === null ? "Record" : "Save";
  if (seconds === null) return;
  const whole = Math.floor(seconds);
  element("recorded").textContent = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
