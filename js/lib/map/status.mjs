// What became of a set of layers, in one word. Pure.

import { MISSED_STATES } from "../report/blocks.mjs";
import { OTHER_NODE } from "./figures.mjs";

/**
 * @typedef {import("../../types/report").LayerReport} LayerReport
 * @typedef {import("../../types/map").CellStatus} CellStatus
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

/**
 * Statuses that a sign on the map stands for: a layer outside of blocks that nothing touched has no cell of its own, and
 * one that is coloured has no sign.
 * @param {import("../../types/map").MapRow[]} rows
 * @param {import("../../types/map").MapView} view
 */
export function seenStatuses(rows, view) {
  /** @type {{status: CellStatus, value: number | null}[]} */
  const cells = [];
  for (const row of rows) {
    if (row.cells.length > 0) cells.push(...row.cells);
    else if (row.status !== "untouched" || view === "resident") cells.push(row);
  }
  return [...new Set(cells.filter(({ status, value }) => status !== "untouched" || value === null).map(({ status }) => status))];
}
