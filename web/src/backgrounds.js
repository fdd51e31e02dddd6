// The pictures behind the person: those that come with the page, and the person's own.

import { pictureOf } from "./sources.js";

/** Names and files of the bundled ones. */
export async function bundled() {
  const response = await fetch("backgrounds/backgrounds.json").catch(() => null);
  return response?.ok ? response.json() : [];
}

/** A bundled one as a bitmap. Raises Error in words. */
export async function bitmapOf({ name, file }) {
  const response = await fetch(`backgrounds/${file}`).catch(() => null);
  if (!response?.ok) throw new Error(`The background ${name} is missing from the server.`);
  return createImageBitmap(await response.blob());
}

/** One's own picture: {bitmap, address for a thumbnail}. Raises SourceError. */
export async function own(file) {
  return { bitmap: await pictureOf(file), address: URL.createObjectURL(file) };
}
