// How strongly layers are changed: one figure for any set of layers, for each view and metric. Pure.

import { isTextEncoder } from "./encoders.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../../types/report").LayerReport} LayerReport
 * @typedef {import("../../types/map").MapView} MapView
 * @typedef {import("../../types/map").Metric} Metric
 * @typedef {import("../../types/map").MetricId} MetricId
 * @typedef {import("../measure/block_figures.mjs").BlockExtras} BlockExtras
 */

/** @type {readonly MapView[]} */
export const VIEWS = ["asked", "left", "applied", "resident"];

/**
 * The view in which a report is drawn: a file alone is only what it asks. What was chosen for other reports stays chosen.
 * @param {Report} report
 * @param {MapView} chosen
 * @returns {MapView}
 */
export const viewOf = (report, chosen) => (report.kind === "inspect" ? "asked" : chosen);

/** @type {readonly Metric[]} */
export const METRICS = [
  { id: "relative", scale: "ratio", of: "layer" },
  { id: "delta", scale: "norm", of: "layer" },
  { id: "spectral", scale: "norm", of: "layer" },
  { id: "distance", scale: "ratio", of: "block" },
  { id: "direction", scale: "ratio", of: "block" },
  { id: "shift", scale: "ratio", of: "block" },
  { id: "time", scale: "milliseconds", of: "block" },
];

/** @param {MetricId} id @returns {Metric} */
export const metricOf = (id) => METRICS.find((metric) => metric.id === id) ?? /** @type {Metric} */ (METRICS[0]);

/**
 * Whether a map has one figure for each block, and none for its layers.
 * @param {{view: MapView, metric: Metric}} map
 */
export const drawsWholeBlocks = ({ view, metric }) => metric.of === "block" && view !== "resident";

/** Groups whose rows are single layers, by name. */
const LISTS = ["other", "te", ""];

/**
 * Whether a group is drawn as a list: its rows are layers, or blocks of which no layer is known.
 * @param {{view: MapView, metric: Metric}} map
 * @param {import("../../types/map").MapGroup} group
 */
export const drawsAsList = (map, { kind, columns }) => LISTS.includes(kind) || (columns.length === 0 && !drawsWholeBlocks(map));

/**
 * Rows of a group that a map has something to say about. Outside of blocks most layers are touched by nothing; figures
 * of whole blocks are measured on the diffusion model.
 * @param {{view: MapView, metric: Metric}} map
 * @param {import("../../types/map").MapGroup} group
 */
export function shownRows(map, group) {
  const list = drawsAsList(map, group);
  if (drawsWholeBlocks(map)) return list || isTextEncoder(group.kind) ? group.rows.filter((row) => row.value !== null) : group.rows;
  return list && map.view !== "resident" ? group.rows.filter((row) => row.status !== "untouched" || row.value !== null) : group.rows;
}

/** Owner of patches that no node of this pack made; as in nodes/host/inspect/patches.py. */
export const OTHER_NODE = "another node";

/**
 * What the delta of a layer is multiplied with in a view; `null` where the layer is not part of the view.
 * @param {LayerReport} layer
 * @param {MapView} view
 * @param {Report} report
 */
export function strengthIn(layer, view, report) {
  if (layer.state === "in_file") return 1;
  if (view === "asked") return 1;
  if (layer.state === "applied" || layer.state === "skipped") {
    return view === "applied" && layer.state === "skipped" ? null : (layer.strength ?? 0);
  }
  if (view === "applied") return null;
  return (layer.block === "te" ? report.strength_clip : report.strength_model) ?? 1;
}

/**
 * The figure of some layers: root-sum-square of the deltas over that of the weights, each weight once; or the
 * root-sum-square of the deltas; or the largest singular value. `null` where a layer that counts was not measured.
 * @param {LayerReport[]} layers
 * @param {Metric} metric
 * @param {MapView} view
 * @param {Report} report
 * @returns {number | null}
 */
export function layerFigure(layers, metric, view, report) {
  let squares = 0;
  let largest = 0;
  let counted = 0;
  let weight = 0;
  // Of ten thousand cells nearly each holds one layer: no need to look out for a weight that is there twice.
  const several = layers.length > 1 && metric.id === "relative" ? new Set() : null;
  for (const layer of layers) {
    const strength = strengthIn(layer, view, report);
    if (strength === null || strength === 0 || layer.state === "dead") continue;
    counted += 1;
    const norm = metric.id === "spectral" ? layer.spectral_norm : layer.delta_norm;
    if (norm === null || norm === undefined) return null;
    squares += (strength * norm) ** 2;
    largest = Math.max(largest, Math.abs(strength) * norm);
    if (metric.id !== "relative") continue;
    if (layer.weight_norm === null) return null;
    const key = layer.slice ? `${layer.model_key} ${layer.slice}` : layer.model_key;
    if (several?.has(key)) continue;
    several?.add(key);
    weight += layer.weight_norm ** 2;
  }
  if (counted === 0) return null;
  if (metric.id === "spectral") return largest;
  if (metric.id === "delta") return Math.sqrt(squares);
  return weight > 0 ? Math.sqrt(squares / weight) : null;
}

/**
 * A figure that there is for whole blocks.
 * @param {Report} report
 * @param {Metric} metric
 * @param {BlockExtras} [extras] figures that other nodes measured
 * @returns {Map<string, number | null>} by block address
 */
export function blockFigures(report, metric, extras = {}) {
  /** @type {Map<string, number | null>} */
  const found = new Map();
  for (const block of report.model_blocks ?? []) {
    const value = metric.id === "distance" ? block.distance : metric.id === "direction" ? block.direction_shift : null;
    if (value !== null && value !== undefined) found.set(block.block, value);
  }
  for (const [address, value] of Object.entries(extras[metric.id] ?? {})) found.set(address, value);
  return found;
}

/**
 * Metrics that this report has figures for, in order.
 * @param {Report} report
 * @param {BlockExtras} [extras]
 * @returns {MetricId[]}
 */
export function availableMetrics(report, extras = {}) {
  const layers = report.layers ?? [];
  return METRICS.filter((metric) => {
    if (metric.of === "block") return blockFigures(report, metric, extras).size > 0;
    if (metric.id === "spectral") return layers.some((layer) => typeof layer.spectral_norm === "number");
    const measured = layers.filter((layer) => layer.delta_norm !== null);
    return metric.id === "delta" ? measured.length > 0 : measured.some((layer) => layer.weight_norm !== null);
  }).map((metric) => metric.id);
}
