// Files and pictures that leave the page, and texts for the clipboard.

import { h } from "./dom.mjs";

/** Pixels of the picture for one of the drawing. */
const PNG_SCALE = 2;
const MOST_PIXELS = 8192;

/** @param {string} name @param {Blob} blob */
export function saveBlob(name, blob) {
  const href = URL.createObjectURL(blob);
  const link = h("a", { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** @param {string} name @param {string} text @param {string} type */
export const saveText = (name, text, type) => saveBlob(name, new Blob([text], { type: `${type};charset=utf-8` }));

/**
 * Draws an SVG into a PNG.
 * @param {{svg: string, width: number, height: number}} picture
 * @returns {Promise<Blob>}
 */
export async function toPng({ svg, width, height }) {
  const href = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = href;
    await image.decode();
    const scale = Math.min(PNG_SCALE, MOST_PIXELS / Math.max(width, height));
    const canvas = h("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    if (!blob) throw new Error("the browser could not draw the picture");
    return blob;
  } finally {
    URL.revokeObjectURL(href);
  }
}

/** @param {string} text @returns {Promise<boolean>} */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Pages that are not served over https (or from this machine) have no clipboard object. @param {string} text */
function copyBySelection(text) {
  const area = h("textarea", { "aria-hidden": "true", style: { position: "fixed", opacity: 0 } });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
