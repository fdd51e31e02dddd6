// The loop: a source's frames through the network onto the canvas, one frame in the network while the last is drawn.

import { forComposer, forWorker } from "./settings.js";

const WINDOW = 2000; // milliseconds over which frames are counted
const SMOOTHING = 0.1; // share of a new time in the shown one

export class Player {
  /** `failed` is called with an Error when the network or the source breaks; the player has stopped then. */
  constructor(matting, composer, settings, failed) {
    Object.assign(this, { matting, composer, settings, failed });
    this.source = null;
    composer.onrestored = () => this.restored();
    this.run = 0; // grows with every start and stop, so that what belongs to an earlier run is dropped
    this.last = null; // {result, bitmap} of the frame that is shown
    this.shown = 0;
    this.moments = [];
    this.times = {};
  }

  get running() {
    return this.source !== null;
  }

  /** Plays a source from now on; the one before is closed. */
  start(source) {
    this.stop();
    this.source = source;
    this.fresh = true;
    this.moments = [];
    this.times = {};
    this.step(this.run);
  }

  /** Lets the source go; the last frame stays on the canvas. */
  stop() {
    this.run++;
    this.busy = false;
    this.source?.close();
    this.source = null;
  }

  /** Something was changed: a still picture is worked out anew, and what is shown is drawn anew. */
  changed() {
    if (!this.source?.still) this.redraw();
    if (this.source && !this.source.still) return;
    this.stale = true;
    if (this.busy) return;
    if (this.source) this.step(this.run);
    else if (this.last) this.again(this.run);
  }

  /** The frame that stayed after the end once more through the network, by what is set now. */
  async again(run) {
    this.busy = true;
    try {
      while (this.stale) {
        this.stale = false;
        const copy = await createImageBitmap(this.last.bitmap);
        const answer = await this.matting.matte(copy, true, forWorker(this.settings));
        if (run !== this.run) return answer.bitmap.close();
        this.show(answer, this.kind);
      }
    } catch (error) {
      if (run === this.run) this.failed(error);
    } finally {
      if (run === this.run) this.busy = false;
    }
  }

  /** The graphics card forgot everything. */
  restored() {
    if (!this.last) return;
    this.composer.frame(this.last.bitmap, this.last.result);
    this.redraw();
  }

  redraw() {
    if (this.last) this.composer.draw(forComposer(this.settings, this.kind));
  }

  async step(run) {
    this.busy = true;
    try {
      const { source } = this;
      do {
        this.stale = false;
        const fresh = this.fresh || source.still;
        this.fresh = false;
        const answer = await this.matting.matte(await source.bitmap(), fresh, forWorker(this.settings));
        if (run !== this.run) return answer.bitmap.close();
        // The next frame goes to the network first, and this one is drawn meanwhile.
        if (!source.still) source.next(() => run === this.run && this.step(run));
        this.show(answer, source.kind);
      } while (source.still && this.stale);
    } catch (error) {
      if (run !== this.run) return;
      this.stop();
      this.failed(error);
    } finally {
      if (run === this.run) this.busy = false;
    }
  }

  show({ result, bitmap }, kind) {
    this.last?.bitmap.close();
    this.last = { result, bitmap };
    this.kind = kind;
    const start = performance.now();
    this.composer.frame(bitmap, result);
    this.redraw();
    this.note({ ...result.times, draw: performance.now() - start });
    this.shown++;
  }

  note(times) {
    const now = performance.now();
    this.moments = [...this.moments.filter((moment) => now - moment < WINDOW), now];
    for (const [name, time] of Object.entries(times)) {
      this.times[name] = (this.times[name] ?? time) * (1 - SMOOTHING) + time * SMOOTHING;
    }
  }

  /** Frames a second over the last two seconds. */
  get rate() {
    const { moments } = this;
    return moments.length > 1 ? (1000 * (moments.length - 1)) / (moments.at(-1) - moments[0]) : 0;
  }
}
