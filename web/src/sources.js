// Where frames come from: a camera, a film, or a picture. Errors are said in words.

const LONGEST = 2048; // pixels of a picture's longer side: more no graphics card is sure to take

/** What went wrong with a source; `message` is for the person at the page. */
export class SourceError extends Error {}

const CAMERA_WORDS = {
  NotAllowedError: "The camera was denied. Allow it in the browser's site settings (the icon beside the address), then start again.",
  NotFoundError: "No camera was found. Connect one, or open a picture or a video instead.",
  NotReadableError: "The camera is in use by another program. Close that, then start again.",
  OverconstrainedError: "The camera cannot give this size. Choose another one.",
  SecurityError: "The browser keeps the camera from this page.",
  NotSupportedError: "This browser has no camera to give.",
};

class Source {
  constructor(kind, element, width, height) {
    Object.assign(this, { kind, element, width, height, still: kind === "picture" });
  }

  /** A bitmap of what there is now. */
  bitmap() {
    return createImageBitmap(this.element);
  }

  /** Calls back at the next new frame. */
  next(call) {
    if (this.element.requestVideoFrameCallback) this.element.requestVideoFrameCallback(() => call());
    else requestAnimationFrame(() => call());
  }

  close() {}
}

/** The cameras there are: [{id, label}]; labels are known once a camera was allowed. */
export async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const found = devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
  return found.map(({ deviceId, label }, i) => ({ id: deviceId, label: label || `Camera ${i + 1}` }));
}

/** A camera's frames. `size` [width, height] and the camera `id` are asked for, not promised: it may be gone. `ended` is called when it goes away. */
export async function openCamera({ id, size, ended }) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new SourceError("Browsers give the camera only to pages over HTTPS or from this machine: open http://localhost instead.");
  }
  const video = { width: { ideal: size[0] }, height: { ideal: size[1] }, ...(id ? { deviceId: { ideal: id } } : { facingMode: "user" }) };
  const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false }).catch((error) => {
    throw new SourceError(CAMERA_WORDS[error.name] ?? `The camera cannot be opened (${error.name}).`);
  });
  const element = document.createElement("video");
  Object.assign(element, { srcObject: stream, muted: true, playsInline: true });
  const source = new Source("camera", element, 0, 0);
  source.close = () => {
    stream.getTracks().forEach((track) => track.stop());
    element.srcObject = null;
  };
  stream.getVideoTracks()[0].addEventListener("ended", ended);
  await playing(element, source, "The camera gives no picture.");
  return source;
}

/** A picture or video file. */
export async function openFile(file) {
  if (file.type.startsWith("video/")) return openVideo(file);
  if (file.type.startsWith("image/")) return openPicture(file);
  throw new SourceError(`${file.name} is neither a picture nor a video that this browser knows.`);
}

async function openVideo(file) {
  const element = document.createElement("video");
  const address = URL.createObjectURL(file);
  Object.assign(element, { src: address, muted: true, loop: true, playsInline: true });
  const source = new Source("video", element, 0, 0);
  source.close = () => {
    element.removeAttribute("src");
    element.load();
    URL.revokeObjectURL(address);
  };
  await playing(element, source, `${file.name} is a video that this browser cannot play: try MP4 (H.264) or WebM.`);
  return source;
}

async function playing(element, source, complaint) {
  try {
    await element.play();
    if (!element.videoWidth) throw new Error("no picture");
  } catch {
    source.close();
    throw new SourceError(complaint);
  }
  [source.width, source.height] = [element.videoWidth, element.videoHeight];
}

async function openPicture(file) {
  const bitmap = await pictureOf(file);
  const source = new Source("picture", bitmap, bitmap.width, bitmap.height);
  source.next = (call) => setTimeout(call, 100);
  source.close = () => bitmap.close();
  return source;
}

/** A picture file as a bitmap of at most 2048 pixels, upright. Raises SourceError. */
export async function pictureOf(file) {
  const whole = await createImageBitmap(file).catch(() => null);
  if (!whole) throw new SourceError(`${file.name} is not a picture that this browser can read.`);
  const scale = LONGEST / Math.max(whole.width, whole.height);
  if (scale >= 1) return whole;
  const [resizeWidth, resizeHeight] = [whole.width, whole.height].map((side) => Math.max(1, Math.round(side * scale)));
  const small = await createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "high" });
  whole.close(); // 48 megapixels are 192 MB
  return small;
}
