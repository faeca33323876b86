// SVG written as text: shapes, attributes, lines of words. Pure.

import { plainText } from "./format.mjs";

/** @typedef {Record<string, string | number>} Attributes */

/** Width of a character against the size of the font, on average. */
const LATIN_WIDTH = 0.56;
/** Chinese, Japanese, Korean: as wide as high. */
const WIDE = /[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60]/;

/** @param {number} x @param {number} y @param {number} width @param {number} height @param {Attributes} more */
export const rect = (x, y, width, height, more) => `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"${attributes(more)}/>`;

/** @param {number} x @param {number} y @param {string} content @param {Attributes} [more] */
export const text = (x, y, content, more = {}) => `<text x="${round(x)}" y="${round(y)}"${attributes(more)}>${escapeXml(content)}</text>`;

/** @param {[number, number]} from @param {[number, number]} to @param {Attributes} more */
export const line = (from, to, more) => `<line x1="${round(from[0])}" y1="${round(from[1])}" x2="${round(to[0])}" y2="${round(to[1])}"${attributes(more)}/>`;

/** @param {Attributes} values */
const attributes = (values) => Object.entries(values).map(([name, value]) => ` ${name}="${escapeXml(String(value))}"`).join("");

/** @param {number} value */
const round = (value) => Number(value.toFixed(1));

/** Text of a file as XML text: no markup, no character that XML forbids. @param {string} value */
export const escapeXml = (value) =>
  plainText(value, 600)
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|[\ufffe\uffff]/g, "�")
    .replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/**
 * About how wide a text is: a picture that leaves the page cannot know its fonts.
 * @param {string} content
 * @param {number} size of the font in pixels
 */
export function textWidth(content, size) {
  let width = 0;
  for (const character of content) width += WIDE.test(character) ? size : size * LATIN_WIDTH;
  return width;
}

/**
 * The end of a text that is too wide: a path says last what it leads to.
 * @param {string} content
 * @param {number} size of the font in pixels
 * @param {number} width in pixels
 */
export function fitText(content, size, width) {
  if (textWidth(content, size) <= width) return content;
  const kept = [...content];
  while (kept.length > 0 && textWidth(`…${kept.join("")}`, size) > width) kept.shift();
  return `…${kept.join("")}`;
}

/**
 * Lines of a text, each no wider than `width`; words that are too long are cut between characters.
 * @param {string} content
 * @param {number} size of the font in pixels
 * @param {number} width in pixels
 * @param {number} most lines; the last ends with an ellipsis where there was more
 * @returns {string[]}
 */
export function wrapText(content, size, width, most) {
  const pieces = plainText(content, 600).split(/(?<=[\s、。：，])|(?=[（])/).flatMap((piece) => (textWidth(piece, size) > width ? [...piece] : [piece]));
  const lines = [""];
  for (const piece of pieces) {
    if (textWidth((lines.at(-1) + piece).trimEnd(), size) > width) lines.push("");
    lines[lines.length - 1] += piece;
  }
  const shown = lines.map((each) => each.trim()).filter(Boolean);
  return shown.length > most ? [...shown.slice(0, most - 1), `${shown[most - 1]?.slice(0, -2)}…`] : shown;
}
