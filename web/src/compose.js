// Compositing by WebGL2: the full frame, its matte and a background onto the canvas.

import { LEVELS } from "./guided.js";
import { COMPOSE, FEATHER, MATTE, VERTEX } from "./shaders.js";

export const MODES = { none: 0, picture: 1, blur: 2, colour: 3, transparent: 4, mask: 5 };
const UNITS = { frame: 0, line: 1, matte: 2, contrast: 3, behind: 4 };

export class Composer {
  /** Raises Error in words where there is no WebGL2. */
  constructor(canvas) {
    this.canvas = canvas;
    this.mode = "none"; // the one that is drawn
    this.gl = canvas.getContext("webgl2", { alpha: true, premultipliedAlpha: true, antialias: false, desynchronized: false });
    if (!this.gl) throw new Error("This browser has no WebGL2, which the page needs to draw. Try a current Chrome, Edge, Firefox or Safari.");
    this.build();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.targets = null;
      this.build();
      this.onrestored?.();
    });
  }

  build() {
    const { gl } = this;
    this.programs = Object.fromEntries(Object.entries({ MATTE, FEATHER, COMPOSE }).map(([name, code]) => [name, program(gl, code)]));
    gl.bindVertexArray(gl.createVertexArray());
    this.textures = {};
    this.size = "";
    for (const name of ["contrast", "scene"]) this.textures[name] = texture(gl, gl.LINEAR);
    for (const name of ["frame", "line", "picture"]) this.textures[name] = texture(gl, gl.NEAREST); // pixel for pixel
    this.small("contrast", { data: new Uint8Array([128, 128, 128, 255]), width: 1, height: 1 });
    this.small("scene", { data: new Uint8Array([0, 0, 0, 255]), width: 1, height: 1 });
    this.fitted = "";
  }

  /** The picture behind the person, a bitmap. */
  background(bitmap) {
    this.behind = bitmap;
    this.fitted = "";
  }

  /** Cuts that picture once to the canvas's size, which it covers without being squashed. */
  fit() {
    if (this.fitted === this.size || !this.behind) return;
    const { gl } = this;
    const { width, height } = this.canvas;
    const [across, down] = cover(this.canvas, this.behind);
    const [wide, tall] = [this.behind.width * across, this.behind.height * down];
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(this.behind, (this.behind.width - wide) / 2, (this.behind.height - tall) / 2, wide, tall, 0, 0, width, height);
    gl.activeTexture(gl.TEXTURE4);
    gl.bindTexture(gl.TEXTURE_2D, this.textures.picture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, context.canvas);
    this.fitted = this.size;
  }

  /** Takes a frame (bitmap) and what the worker found out about it. */
  frame(bitmap, { line, lineWidth, lineHeight, contrast, scene }) {
    const { gl } = this;
    this.resize(bitmap.width, bitmap.height);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.textures.frame);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.textures.line);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RG32F, lineWidth, lineHeight, 0, gl.RG, gl.FLOAT, line);
    this.cleaned = Boolean(contrast);
    if (contrast) this.small("contrast", contrast);
    this.blurs = Boolean(scene);
    if (scene) this.small("scene", scene);
  }

  small(name, { data, width, height }) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE3);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[name]);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(data.buffer));
  }

  resize(width, height) {
    if (this.size === `${width} ${height}`) return;
    const { gl } = this;
    this.size = `${width} ${height}`;
    Object.assign(this.canvas, { width, height });
    for (const target of this.targets ?? []) {
      gl.deleteTexture(target.texture);
      gl.deleteFramebuffer(target.buffer);
    }
    this.targets = [target(gl, width, height), target(gl, width, height)];
  }

  /** Whether there is what a mode puts behind the person: until it came, the mode before stays, where black would flash. */
  ready(mode) {
    return { blur: this.blurs, picture: Boolean(this.behind) }[mode] ?? true;
  }

  /**
   * Draws the last frame by `look`: {mode, colour: [r, g, b] of 0..1, feather: pixels, step: [low, high] or null,
   * mirrored}.
   */
  draw(look) {
    const { gl } = this;
    if (!this.targets) return;
    if (look.feather > 0) this.matte(look.feather);
    const mode = (this.mode = this.ready(look.mode) ? look.mode : this.mode);
    if (mode === "picture") this.fit();
    const use = this.use("COMPOSE", null);
    this.bind("frame", this.textures.frame);
    this.bind("line", this.textures.line);
    this.bind("matte", this.targets[0].texture);
    this.bind("contrast", this.textures.contrast);
    this.bind("behind", mode === "blur" ? this.textures.scene : this.textures.picture);
    gl.uniform1i(use.mode, MODES[mode]);
    gl.uniform1i(use.mirrored, look.mirrored);
    gl.uniform1i(use.cleaned, this.cleaned);
    gl.uniform1i(use.feathered, look.feather > 0);
    gl.uniform2f(use.levels, ...LEVELS);
    gl.uniform1i(use.stepped, look.step !== null);
    gl.uniform2f(use.edge, ...(look.step ?? [0, 1]));
    gl.uniform3f(use.colour, ...look.colour);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /** Alpha of the full frame into the first target, feathered. */
  matte(feather) {
    const { gl } = this;
    const { width, height } = this.canvas;
    const use = this.use("MATTE", this.targets[0]);
    this.bind("frame", this.textures.frame);
    this.bind("line", this.textures.line);
    gl.uniform2f(use.levels, ...LEVELS);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    if (feather <= 0) return;
    for (const [from, to, pace] of [[0, 1, [1 / width, 0]], [1, 0, [0, 1 / height]]]) {
      const uniform = this.use("FEATHER", this.targets[to]);
      this.bind("matte", this.targets[from].texture);
      gl.uniform2f(uniform.pace, ...pace);
      gl.uniform1f(uniform.sigma, feather / 2);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
  }

  use(name, to) {
    const { gl } = this;
    gl.useProgram(this.programs[name].handle);
    gl.bindFramebuffer(gl.FRAMEBUFFER, to?.buffer ?? null);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    return this.programs[name].uniforms;
  }

  bind(name, from) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + UNITS[name]);
    gl.bindTexture(gl.TEXTURE_2D, from);
  }

  /** Alpha of the last frame as the page uses it before feathering and stepping: bytes [height, width]. */
  alpha() {
    const { gl } = this;
    const { width, height } = this.canvas;
    this.matte(0);
    const bytes = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    return { width, height, data: bytes.filter((_, i) => i % 4 === 0) };
  }
}

/** The share of a background that is seen, across and down, when it covers the canvas without being squashed. */
export function cover(canvas, picture) {
  const shape = canvas.width / canvas.height / (picture.width / picture.height);
  return shape > 1 ? [1, 1 / shape] : [shape, 1];
}

function texture(gl, filter) {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return made;
}

function target(gl, width, height) {
  gl.activeTexture(gl.TEXTURE2);
  const made = { texture: texture(gl, gl.LINEAR), buffer: gl.createFramebuffer() };
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, width, height, 0, gl.RED, gl.UNSIGNED_BYTE, null);
  gl.bindFramebuffer(gl.FRAMEBUFFER, made.buffer);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, made.texture, 0);
  return made;
}

function program(gl, fragment) {
  const handle = gl.createProgram();
  for (const [kind, code] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, code);
    gl.compileShader(shader);
    gl.attachShader(handle, shader);
  }
  gl.linkProgram(handle);
  if (!gl.getProgramParameter(handle, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error("The graphics card's driver refused the page's drawing program.");
  }
  const uniforms = {};
  gl.useProgram(handle);
  for (let i = 0; i < gl.getProgramParameter(handle, gl.ACTIVE_UNIFORMS); i++) {
    const { name } = gl.getActiveUniform(handle, i);
    uniforms[name] = gl.getUniformLocation(handle, name);
    if (name in UNITS) gl.uniform1i(uniforms[name], UNITS[name]);
  }
  return { handle, uniforms };
}
