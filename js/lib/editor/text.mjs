// The text form of block strengths: `all=1, double_blocks.0-4=0.8, single_blocks.3.attn=0`. Pure.
// The same grammar as nodes/core/strengths/text.py; tests/unit/strength_vectors.json holds both to it.

/**
 * @typedef {object} Selector which layers an item speaks of
 * @property {string[]} path `all`, `other`, `te`, `*`, or the segments of a container's name; a part may be at its end
 * @property {number | null} first first block, or null for every block
 * @property {number | null} last last block, included; both in per cent of the depth where `percent` is set
 * @property {string} part `attn`, `img_attn.qkv`, or empty for the whole block
 * @property {boolean} anyIndex whether `*` stood where the index stands
 * @property {boolean} percent whether `first` and `last` are per cent of the depth
 *
 * @typedef {Selector & {value: number}} StrengthItem
 *
 * @typedef {object} Place where an item stands in the text, as offsets
 * @property {number} start
 * @property {number} end
 * @property {number} valueStart
 * @property {number} valueEnd
 *
 * @typedef {StrengthItem & {at: Place}} PlacedItem
 *
 * @typedef {object} Problem
 * @property {"noNumber" | "notANumber" | "notABlock" | "notAPart" | "backwards" | "notADepth" | "namesNothing"} kind
 * @property {string} item the item as written
 * @property {string} word the word that is wrong
 *
 * @typedef {{items: PlacedItem[], problems: Problem[]}} ParsedStrengths
 */

/** What Python's `str.splitlines` takes for the end of a line. */
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

/** What Python's `str.strip` takes for a space. */
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const OUTER_SPACE = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g");
const LEADING_SPACE = new RegExp(`^[${SPACE}]*`);

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const INDEX = /^(?:\*|(\d{1,6})(?:-(\d{1,6})(%)?)?)$/;
const NAME = /^(?:\*|[A-Za-z_][A-Za-z0-9_]*)$/;
const SEGMENT = /^[A-Za-z0-9_]+$/;

/** Digits that are written. */
const DECIMALS = 4;

/**
 * Items in order, and what could not be read; the rest of the text is read all the same.
 * @param {string} text
 * @returns {ParsedStrengths}
 */
export function parseStrengths(text) {
  /** @type {ParsedStrengths} */
  const parsed = { items: [], problems: [] };
  for (const line of linesOf(text)) {
    let start = line.start;
    for (const piece of line.code.split(",")) {
      const item = strip(piece);
      if (item) {
        const read = parseItem(item, start + (LEADING_SPACE.exec(piece)?.[0].length ?? 0));
        if ("kind" in read) parsed.problems.push(read);
        else parsed.items.push(read);
      }
      start += piece.length + 1;
    }
  }
  return parsed;
}

/**
 * Lines with their place: `code` is what stands before a comment.
 * @param {string} text
 */
export function linesOf(text) {
  const lines = [];
  let start = 0;
  for (const match of [...text.matchAll(LINE_END), null]) {
    const end = match ? match.index : text.length;
    const whole = text.slice(start, end);
    const hash = whole.indexOf("#");
    lines.push({ start, end, code: hash < 0 ? whole : whole.slice(0, hash), whole });
    start = end + (match?.[0].length ?? 0);
  }
  return lines;
}

/** @param {string} text */
export const strip = (text) => text.replace(OUTER_SPACE, "");

/**
 * @param {string} text one item, without spaces around it
 * @param {number} start where it stands
 * @returns {PlacedItem | Problem}
 */
function parseItem(text, start) {
  const equals = text.indexOf("=");
  if (equals < 0) return { kind: "noNumber", item: text, word: text };
  const number = strip(text.slice(equals + 1));
  const value = NUMBER.test(number) ? Number(number) : Number.NaN;
  if (!Number.isFinite(value)) return { kind: "notANumber", item: text, word: number };
  const selector = parseSelector(strip(text.slice(0, equals)));
  if ("kind" in selector) return { ...selector, item: text };
  const valueEnd = start + text.length;
  return { ...selector, value, at: { start, end: valueEnd, valueStart: valueEnd - number.length, valueEnd } };
}

/**
 * @param {string} text what stands before the `=`
 * @returns {Selector | {kind: Problem["kind"], word: string}}
 */
export function parseSelector(text) {
  const segments = text.split(".").map(strip);
  const at = segments.findIndex((segment, i) => i > 0 && INDEX.test(segment));
  const path = at < 0 ? segments : segments.slice(0, at);
  if (!path.every((segment, i) => (i === 0 ? NAME : SEGMENT).test(segment))) return { kind: "notABlock", word: text };
  if (at < 0) return { ...BARE, path };
  const inside = segments.slice(at + 1);
  if (!inside.every((segment) => SEGMENT.test(segment))) return { kind: "notAPart", word: inside.join(".") };
  const part = inside.join(".");
  const [whole, low, high, sign] = /** @type {RegExpExecArray} */ (INDEX.exec(segments[at] ?? ""));
  if (whole === "*") return { ...BARE, path, part, anyIndex: true };
  const first = Number(low);
  const last = high === undefined ? first : Number(high);
  if (last < first) return { kind: "backwards", word: `${first}-${last}` };
  if (sign && (last > 100 || first === last)) return { kind: "notADepth", word: `${first}-${last}%` };
  return { ...BARE, path, first, last, part, percent: Boolean(sign) };
}

/** @type {Selector} */
const BARE = { path: [], first: null, last: null, part: "", anyIndex: false, percent: false };

/** @param {Selector} selector */
export function formatSelector({ path, first, last, part, anyIndex, percent }) {
  const words = [...path];
  if (anyIndex) words.push("*");
  else if (percent) words.push(`${first}-${last}%`);
  else if (first !== null) words.push(first === last ? `${first}` : `${first}-${last}`);
  if (part) words.push(part);
  return words.join(".");
}

/** A strength as it is written: up to four decimals, no exponent, no `-0`. @param {number} value */
export function formatStrength(value) {
  const rounded = Number(value.toFixed(DECIMALS));
  if (Math.abs(rounded) >= 1e15) return String(rounded);
  return rounded === 0 ? "0" : rounded.toFixed(DECIMALS).replace(/\.?0+$/, "");
}

/** @param {Selector} selector @param {number} value */
export const formatItem = (selector, value) => `${formatSelector(selector)}=${formatStrength(value)}`;

/**
 * What somebody typed into a number field; a comma is a decimal point there, and full-width digits are digits.
 * @param {string} text
 * @returns {number | null} null where it is no number
 */
export function parseTyped(text) {
  const plain = strip(text.normalize("NFKC")).replace(",", ".").replace(/^\u2212/, "-");
  const value = NUMBER.test(plain) ? Number(plain) : Number.NaN;
  return Number.isFinite(value) ? value : null;
}
