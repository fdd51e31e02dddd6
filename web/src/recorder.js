// Snapshots and recordings, saved by the browser's own download.

const KINDS = ["video/webm;codecs=vp9,opus", "video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];
const RATE = 30; // frames a second at most
const BITS = 6_000_000; // a second

/** portrait_2026-05-01_12-30-59 */
export function stem(now = new Date()) {
  const two = (value) => String(value).padStart(2, "0");
  const day = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join("-");
  return `portrait_${day}_${[now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join("-")}`;
}

/** Hands bytes to the browser as a download. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A PNG of what a canvas shows; it must have been drawn in this very task. */
export function snapshot(canvas) {
  return new Promise((done, failed) => {
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("The picture could not be made."))), "image/png");
  });
}

export class Recorder {
  /** Records a canvas from now on, with the microphone's sound if `sound`. Raises Error in words. */
  static async start(canvas, sound, failed) {
    const kind = KINDS.find((name) => globalThis.MediaRecorder?.isTypeSupported(name));
    if (!kind) throw new Error("This browser cannot record video.");
    const stream = canvas.captureStream(RATE);
    let microphone = null;
    if (sound) {
      microphone = await navigator.mediaDevices?.getUserMedia({ audio: true }).catch(() => null);
      if (!microphone) throw new Error("The microphone is not there or was denied: record without sound.");
      microphone.getAudioTracks().forEach((track) => stream.addTrack(track));
    }
    return new Recorder(stream, kind, failed);
  }

  constructor(stream, kind, failed) {
    this.stream = stream;
    this.parts = [];
    this.began = performance.now();
    this.extension = kind.startsWith("video/mp4") ? "mp4" : "webm";
    this.recorder = new MediaRecorder(stream, { mimeType: kind, videoBitsPerSecond: BITS });
    this.recorder.ondataavailable = ({ data }) => this.parts.push(data);
    this.film = new Promise((done) => {
      this.recorder.onstop = () => {
        this.stream.getTracks().forEach((track) => track.stop());
        done(new Blob(this.parts, { type: this.recorder.mimeType.split(";")[0] }));
      };
    });
    this.recorder.onerror = ({ error }) => failed(new Error(`The recording stopped: ${error?.message ?? "unknown"}.`));
    this.recorder.start(1000);
  }

  /** Seconds since the start. */
  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  /** Ends the recording, which may have ended by itself; resolves to the film. */
  stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
    return this.film;
  }
}
