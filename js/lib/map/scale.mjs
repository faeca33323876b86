// The fixed scales of the map: value -> place -> colour, with labels. Never fitted to a picture. Pure.

import { formatNumber, formatRatio, formatShare } from "../ui/format.mjs";
import { colourAt } from "../ui/scale.mjs";

/**
 * @typedef {import("../../types/map").ScaleId} ScaleId
 *
 * @typedef {object} Scale
 * @property {number[]} ticks values that the legend names
 * @property {(value: number) => number} place in 0..1, clamped
 * @property {(place: number) => string} colour
 * @property {(value: number | null | undefined, locale?: string) => string} format
 */

/** Blue, grey, orange: told apart with every kind of colour blindness; the middle is the page's own grey. */
const FACTOR_STOPS = [
  [0x1f, 0x5f, 0xc4],
  [0x7f, 0xa9, 0xe0],
  [0x8a, 0x8a, 0x8a],
  [0xe8, 0xa2, 0x4c],
  [0xd9, 0x5f, 0x02],
];

/** @param {number} place */
function divergingColour(place) {
  const at = Math.min(1, Math.max(0, place)) * (FACTOR_STOPS.length - 1);
  const below = Math.min(Math.floor(at), FACTOR_STOPS.length - 2);
  const [from, to] = [FACTOR_STOPS[below] ?? [], FACTOR_STOPS[below + 1] ?? []];
  const channels = from.map((value, i) => Math.round(value + ((to[i] ?? value) - value) * (at - below)));
  return `#${channels.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** @param {number} low @param {number} high @returns {(value: number) => number} */
const byDecades = (low, high) => (value) => (value > low ? Math.min(1, Math.log10(value / low) / Math.log10(high / low)) : 0);

/** `×2`, `÷2`, `=`. @param {number | null | undefined} value @param {string} [locale] */
function formatFactor(value, locale) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "∞";
  if (value <= 0) return "0";
  const times = formatNumber(Math.max(value, 1 / value), locale);
  if (times === formatNumber(1, locale)) return "=";
  return value > 1 ? `×${times}` : `÷${times}`;
}

/** @type {Record<ScaleId, Scale>} */
export const SCALES = {
  ratio: { ticks: [0.001, 0.01, 0.1, 1], place: byDecades(0.001, 1), colour: colourAt, format: formatRatio },
  norm: { ticks: [0.01, 0.1, 1, 10, 100], place: byDecades(0.01, 100), colour: colourAt, format: (value, locale) => formatNumber(value, locale) },
  milliseconds: {
    ticks: [0.01, 0.1, 1, 10, 100],
    place: byDecades(0.01, 100),
    colour: colourAt,
    format: (value, locale) => (value === null || value === undefined ? "–" : `${formatNumber(value, locale)} ms`),
  },
  share: {
    ticks: [0, 0.5, 1],
    place: (value) => Math.min(1, Math.max(0, value)),
    colour: colourAt,
    format: (value, locale) => (value === null || value === undefined ? "–" : formatShare(value, locale)),
  },
  factor: {
    ticks: [1 / 8, 1 / 2, 1, 2, 8],
    place: (value) => Math.min(1, Math.max(0, 0.5 + Math.log2(value) / 6)),
    colour: divergingColour,
    format: formatFactor,
  },
};

/** @param {ScaleId} id @param {number} value */
export const colourOf = (id, value) => SCALES[id].colour(SCALES[id].place(value));

/** The scale as stops of a gradient: `[place in 0..1, colour]`. @param {ScaleId} id @returns {[number, string][]} */
export function scaleStops(id) {
  return Array.from({ length: 13 }, (_, i) => [i / 12, SCALES[id].colour(i / 12)]);
}
