// Figures for whole blocks that other nodes measured: how far a block's output moved, how long it took. Pure.

import { asMeasurement } from "./view.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../../types/app").NodeOutput} NodeOutput
 * @typedef {import("../../types/map").MetricId} MetricId
 * @typedef {import("../../types/measurement").Measurement} Measurement
 * @typedef {Partial<Record<MetricId, Record<string, number>>>} BlockExtras figure by metric and block address
 */

/** Every value of `ui` is a list. @param {unknown} value */
const first = (value) => (Array.isArray(value) ? value[0] : undefined);

/** @param {NodeOutput | undefined} output */
export const measurementOf = (output) => asMeasurement(first(output?.patchbay_measurement));

/**
 * @param {NodeOutput | undefined} output
 * @returns {BlockExtras}
 */
export function extrasOf(output) {
  /** @type {BlockExtras} */
  const extras = {};
  const shift = shiftByBlock(first(output?.patchbay_shift));
  const time = timeByBlock(measurementOf(output));
  if (Object.keys(shift).length > 0) extras.shift = shift;
  if (Object.keys(time).length > 0) extras.time = time;
  return extras;
}

/**
 * The stream of a block that moved most stands for the block.
 * @param {unknown} data `ui.patchbay_shift[0]` of PatchbayFeatureShift
 */
function shiftByBlock(data) {
  const rows = /** @type {{schema?: string, rows?: {block?: string, shift?: number | null}[]} | undefined} */ (data);
  /** @type {Record<string, number>} */
  const found = {};
  if (rows?.schema !== "patchbay.shift" || !Array.isArray(rows.rows)) return found;
  for (const { block, shift } of rows.rows) {
    if (block && block !== "output" && typeof shift === "number") found[block] = Math.max(found[block] ?? 0, shift);
  }
  return found;
}

/** Milliseconds of the last condition that has them. @param {Measurement | null} measurement */
function timeByBlock(measurement) {
  /** @type {Record<string, number>} */
  const found = {};
  const condition = measurement?.conditions.filter(({ blocks }) => blocks?.length > 0).at(-1);
  for (const { block, ms } of condition?.blocks ?? []) {
    if (typeof ms?.value === "number") found[block] = ms.value;
  }
  return found;
}

/**
 * A measurement as a report without layers, so that the side bar treats all results alike.
 * @param {Measurement} measurement
 * @returns {Report}
 */
export function reportOfMeasurement({ kind, title, summary, level, notes }) {
  return {
    schema: "patchbay.report", version: 1, kind, title, summary, level, notes, model: null, lora: null, strength_model: null, strength_clip: null,
    blocks: "", layers: [], verdict: "", advice: "", doubts: [], model_blocks: [], sizes: "", counts: {}, coverage: null,
  };
}
