// What became of a set of layers, in one word. Pure.

import { MISSED_STATES } from "./blocks.mjs";
import { OTHER_NODE } from "./map_figures.mjs";

/**
 * @typedef {import("../types/report").LayerReport} LayerReport
 * @typedef {import("../types/map").CellStatus} CellStatus
 */

/** Something of the file that could not be used. @param {LayerReport} layer */
export const isMissed = (layer) => MISSED_STATES.includes(layer.state);

/** @param {LayerReport} layer */
export const foreignPatch = (layer) => layer.owner === OTHER_NODE;

/**
 * `partial` and `missed` say that something did not land, whatever the figure is.
 * @param {LayerReport[]} layers
 * @param {number | null} value
 * @returns {CellStatus}
 */
export function statusOf(layers, value) {
  if (layers.length === 0) return "untouched";
  const missed = layers.filter(isMissed).length;
  if (missed === layers.length) return "missed";
  if (missed > 0) return "partial";
  if (layers.some((layer) => layer.state === "in_file")) return "present";
  if (layers.every((layer) => layer.state === "dead")) return "dead";
  if (!layers.some((layer) => layer.state === "applied")) return "skipped";
  return value === null ? "unmeasured" : "applied";
}
