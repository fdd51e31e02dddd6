// The page's side of the network's worker.

import NetworkWorker from "./worker.js?worker";

export class Matting {
  /** Starts the worker; `opened` resolves to {device, threads, runtime, note, model}, or rejects with an Error in words. */
  constructor(wanted) {
    this.worker = new NetworkWorker();
    this.waiting = new Map();
    this.number = 0;
    this.opened = new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) => {
        if (data.opened) return resolve(data.opened);
        if (data.number === undefined) return reject(new Error(data.error));
        const { done, failed } = this.waiting.get(data.number);
        this.waiting.delete(data.number);
        if (data.error) failed(new Error(data.error));
        else done(data);
      };
      this.worker.onerror = (event) => {
        const error = new Error(`The network's worker stopped: ${event.message || "its script is missing"}.`);
        reject(error);
        this.dead = error;
        for (const { failed } of this.waiting.values()) failed(error);
        this.waiting.clear();
      };
    });
    this.worker.postMessage({ open: { root: new URL("./", document.baseURI).href, ...wanted } });
  }

  /** A bitmap's matte; the bitmap is lent to the worker and comes back: {result, bitmap}. */
  matte(bitmap, fresh, settings) {
    return new Promise((done, failed) => {
      if (this.dead) return failed(this.dead);
      const number = this.number++;
      this.waiting.set(number, { done, failed });
      this.worker.postMessage({ bitmap, fresh, settings, number }, [bitmap]);
    });
  }
}
