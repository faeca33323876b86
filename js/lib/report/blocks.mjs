// A report's layers gathered by block, in the order of the model. Pure.

import { shortKind } from "../ui/format.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../../types/report").LayerReport} LayerReport
 * @typedef {import("../../types/report").LayerState} LayerState
 *
 * What became of a block:
 * `untouched` nothing asked for it; `skipped` every strength is 0 (or the tensors are); `applied`; `unmeasured`
 * applied, by how much is not known; `present` in a file that was only inspected; `partial` some layers did not land; `missed` none did.
 * @typedef {"untouched" | "skipped" | "applied" | "unmeasured" | "present" | "partial" | "missed"} CellStatus
 *
 * @typedef {object} BlockCell
 * @property {string} address `double_blocks.3`, `other`, `te`, or empty for layers without a place
 * @property {string} name for people: `double 3`
 * @property {CellStatus} status
 * @property {boolean} foreign not a block of this model
 * @property {number | null} ratio root-sum-square of the deltas over root-sum-square of the weights
 * @property {number | null} norm root-sum-square of the deltas at the strength used
 * @property {number} total layers that the report has for this block
 * @property {Partial<Record<LayerState, number>>} counts
 * @property {number} measured applied layers with a norm
 * @property {boolean} [apart] `ratio` is the distance of a second model
 *
 * @typedef {object} BlockColumn
 * @property {string} kind container name, `other`, `te` or empty
 * @property {BlockCell[]} cells
 *
 * @typedef {object} Tally
 * @property {Partial<Record<LayerState, number>>} counts
 * @property {number} total
 * @property {number} measured
 * @property {number} counted layers that the figures are about
 * @property {number} weighed of these, those whose weight was measured too
 * @property {number} deltaSquares
 * @property {Map<string, number>} weightSquares by weight, so that two LoRAs on one weight count it once
 */

/** States in which something of the file could not be used. @type {readonly LayerState[]} */
export const MISSED_STATES = ["wrong_architecture", "no_such_layer", "shape_mismatch", "not_understood"];

/** All states in which a layer changes nothing, most serious first. @type {readonly LayerState[]} */
export const UNAPPLIED_STATES = [...MISSED_STATES, "dead", "skipped"];

/** Blocks drawn for one container at most: a broken report must not hang the page. */
const MOST_CELLS = 2048;

/**
 * Columns of blocks: the model's containers in order, then `other`, `te` and layers that have no place.
 * @param {Report} report
 * @returns {BlockColumn[]}
 */
export function blockColumns(report) {
  const tallies = tallyByAddress(report.layers ?? []);
  const columns = (report.model?.blocks ?? []).map((group) => modelColumn(group, tallies));
  /** @type {Map<string, BlockColumn>} */
  const rest = new Map();
  for (const [address, tally] of tallies) {
    const { kind, index } = splitAddress(address);
    const column = columns.find((candidate) => candidate.kind === kind && index !== null) ?? restColumn(rest, kind);
    column.cells.push(toCell(address, tally, index !== null && report.model !== null));
  }
  const inOrder = [...rest.values()].sort((a, b) => restRank(a.kind) - restRank(b.kind));
  const all = [...columns, ...inOrder];
  for (const column of all) column.cells.sort((a, b) => cellIndex(a) - cellIndex(b));
  return all.filter((column) => column.cells.length > 0);
}

/**
 * Takes the tallies of the model's own blocks out of `tallies`.
 * @param {import("../../types/report").BlockGroup} group
 * @param {Map<string, Tally>} tallies
 * @returns {BlockColumn}
 */
function modelColumn(group, tallies) {
  const cells = [];
  for (let i = group.first; i < group.first + Math.min(group.count, MOST_CELLS); i += 1) {
    const address = `${group.kind}.${i}`;
    cells.push(toCell(address, tallies.get(address) ?? emptyTally(), false));
    tallies.delete(address);
  }
  return { kind: group.kind, cells };
}

/** @param {Map<string, BlockColumn>} rest @param {string} kind @returns {BlockColumn} */
function restColumn(rest, kind) {
  const column = rest.get(kind) ?? { kind, cells: [] };
  rest.set(kind, column);
  return column;
}

/** Containers that the model does not have come before `other`, `te` and "no place". @param {string} kind */
const restRank = (kind) => ["other", "te", ""].indexOf(kind) + 1;

/** @param {BlockCell} cell */
const cellIndex = (cell) => splitAddress(cell.address).index ?? 0;

/**
 * @param {string} address
 * @returns {{kind: string, index: number | null}}
 */
export function splitAddress(address) {
  const dot = address.lastIndexOf(".");
  const index = dot < 0 ? "" : address.slice(dot + 1);
  return /^\d+$/.test(index) ? { kind: address.slice(0, dot), index: Number(index) } : { kind: address, index: null };
}

/**
 * `double_blocks.3` is `double 3`.
 * @param {string} address
 */
export function blockName(address) {
  const { kind, index } = splitAddress(address);
  return index === null ? address : `${shortKind(kind)} ${index}`;
}

/** @returns {Tally} */
const emptyTally = () => ({ counts: {}, total: 0, counted: 0, measured: 0, weighed: 0, deltaSquares: 0, weightSquares: new Map() });

/**
 * @param {LayerReport[]} layers
 * @returns {Map<string, Tally>}
 */
function tallyByAddress(layers) {
  /** @type {Map<string, Tally>} */
  const tallies = new Map();
  for (const layer of layers) {
    const tally = tallies.get(layer.block) ?? emptyTally();
    tallies.set(layer.block, tally);
    addLayer(tally, layer);
  }
  return tallies;
}

/**
 * What was applied counts towards the figures, or all that a file holds where it was only inspected, as in
 * nodes/core/report/block_figures.py.
 * @param {Tally} tally
 * @param {LayerReport} layer
 */
function addLayer(tally, layer) {
  tally.total += 1;
  tally.counts[layer.state] = (tally.counts[layer.state] ?? 0) + 1;
  if (layer.state !== "applied" && layer.state !== "in_file") return;
  tally.counted += 1;
  if (layer.delta_norm === null) return;
  tally.measured += 1;
  tally.deltaSquares += ((layer.strength ?? 0) * layer.delta_norm) ** 2;
  if (layer.weight_norm === null) return;
  tally.weighed += 1;
  tally.weightSquares.set(`${layer.model_key} ${layer.slice ?? ""}`, layer.weight_norm ** 2);
}

/** @param {string} address @param {Tally} tally @param {boolean} foreign @returns {BlockCell} */
function toCell(address, tally, foreign) {
  return {
    address,
    name: blockName(address),
    status: statusOf(tally),
    foreign,
    ratio: ratioOf(tally),
    norm: tally.counted > 0 && tally.measured === tally.counted ? Math.sqrt(tally.deltaSquares) : null,
    total: tally.total,
    counts: tally.counts,
    measured: tally.measured,
  };
}

/** @param {Tally} tally @returns {CellStatus} */
function statusOf(tally) {
  if (tally.total === 0) return "untouched";
  const applied = tally.counts.applied ?? 0;
  const missed = MISSED_STATES.reduce((sum, state) => sum + (tally.counts[state] ?? 0), 0);
  if (tally.counts.in_file) return "present";
  if (missed > 0) return applied + (tally.counts.skipped ?? 0) > 0 ? "partial" : "missed";
  if (applied === 0) return "skipped";
  return ratioOf(tally) === null ? "unmeasured" : "applied";
}

/** No figure unless every applied layer was measured: a part of the change must not pass for all of it. @param {Tally} tally */
function ratioOf(tally) {
  if (tally.counted === 0 || tally.weighed < tally.counted) return null;
  let squares = 0;
  for (const square of tally.weightSquares.values()) squares += square;
  return squares > 0 ? Math.sqrt(tally.deltaSquares / squares) : null;
}

/**
 * Layers that change nothing, gathered by state and then by reason, most serious first.
 * @param {LayerReport[]} layers
 * @returns {{state: LayerState, count: number, reasons: {reason: string, layers: LayerReport[]}[]}[]}
 */
export function unappliedByReason(layers) {
  return UNAPPLIED_STATES.map((state) => {
    const members = layers.filter((layer) => layer.state === state);
    const byReason = groupBy(members, (layer) => layer.reason);
    const reasons = [...byReason].map(([reason, its]) => ({ reason, layers: its }));
    return { state, count: members.length, reasons: reasons.sort((a, b) => b.layers.length - a.layers.length) };
  }).filter((group) => group.count > 0);
}

/**
 * @template T
 * @param {T[]} items
 * @param {(item: T) => string} key
 */
function groupBy(items, key) {
  /** @type {Map<string, T[]>} */
  const groups = new Map();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

/**
 * A name for a layer that a person can find again: its place in the model, or its key in the file.
 * @param {LayerReport} layer
 */
export function layerName(layer) {
  if (layer.block && layer.layer) return `${layer.block}.${layer.layer}`;
  return layer.layer || layer.model_key || layer.lora_key || layer.block;
}

/**
 * The short form for narrow columns: `double 3 · img_attn.qkv`.
 * @param {LayerReport} layer
 */
export function shortLayerName(layer) {
  return layer.block && layer.layer ? `${blockName(layer.block)} · ${layer.layer}` : layerName(layer);
}
