// The user's own notes on LoRAs and the strengths that they work at, as far as this page has read them. Pure.

import { STRONGEST } from "./model.mjs";

/**
 * @typedef {object} Note
 * @property {string} text
 * @property {number | null} least the weakest strength that works
 * @property {number | null} most
 */

const LONGEST = 2000;
/** @type {Note} */
const NONE = { text: "", least: null, most: null };

/** @type {Record<string, Note>} */
let notes = {};

/** @param {string} lora @returns {Note} */
export const noteOf = (lora) => (Object.hasOwn(notes, lora) ? notes[lora] : undefined) ?? NONE;

/** @param {Record<string, Note>} found */
export const setNotes = (found) => void (notes = found);

/** What a file says is not trusted. @param {unknown} value @returns {Note} */
export function readNote(value) {
  const { text, least, most } = /** @type {Record<string, unknown>} */ (typeof value === "object" && value !== null ? value : {});
  const [low, high] = [limited(least), limited(most)];
  const swapped = low !== null && high !== null && low > high;
  return { text: typeof text === "string" ? text.trim().slice(0, LONGEST) : "", least: swapped ? high : low, most: swapped ? low : high };
}

/** @param {unknown} value */
const limited = (value) => (typeof value === "number" && Number.isFinite(value) ? Math.max(-STRONGEST, Math.min(STRONGEST, value)) : null);

/** A strength that a hand pulls stays within the range; one that is typed need not. @param {number} strength @param {Note} note */
export const withinRange = (strength, { least, most }) => Math.max(least ?? -STRONGEST, Math.min(most ?? STRONGEST, strength));

/** @param {number} strength @param {Note} note */
export const isOutside = (strength, note) => withinRange(strength, note) !== strength;
