// From a report to the map of the model: groups of blocks, rows, cells with a figure each. Pure.

import { blockName, splitAddress } from "../report/blocks.mjs";
import { layerColumns } from "./columns.mjs";
import { encoderPlace, isTextEncoder } from "./encoders.mjs";
import { blockFigures, layerFigure, metricOf, OTHER_NODE } from "./figures.mjs";
import { foreignPatch, isMissed, seenStatuses, statusOf } from "./status.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../../types/report").LayerReport} LayerReport
 * @typedef {import("../../types/map").MapView} MapView
 * @typedef {import("../../types/map").MapCell} MapCell
 * @typedef {import("../../types/map").MapRow} MapRow
 * @typedef {import("../../types/map").MapGroup} MapGroup
 * @typedef {import("../../types/map").ModelMap} ModelMap
 * @typedef {import("../../types/map").Metric} Metric
 * @typedef {import("../../types/map").LoadedModel} LoadedModel
 *
 * @typedef {LoadedModel["layers"][number]} LayerBytes
 *
 * @typedef {object} MapOptions
 * @property {MapView} view
 * @property {import("../../types/map").MetricId} metric
 * @property {string | null} [owner] only this LoRA
 * @property {import("../measure/block_figures.mjs").BlockExtras} [extras] figures of whole blocks that other nodes measured
 * @property {LoadedModel | null} [loaded] where the weights lie, for the view `resident`
 *
 * @typedef {object} Drawing what all cells of one map share
 * @property {Report} report
 * @property {MapView} view
 * @property {Metric} metric
 * @property {Map<string, number>} owners name to index; empty where a single LoRA is shown
 * @property {Map<string, number | null>} blocks figures of whole blocks
 * @property {Map<string, LayerBytes[]>} resident by block
 */

/** Blocks drawn for one container at most: a broken report must not hang the page. */
const MOST_ROWS = 4096;

/**
 * @param {Report} report
 * @param {MapOptions} options
 * @returns {ModelMap}
 */
export function buildMap(report, { view, metric: metricId, owner = null, loaded = null, extras = {} }) {
  const metric = metricOf(metricId);
  const layers = (report.layers ?? []).filter((layer) => owner === null || layer.owner === owner);
  const owners = ownersOf(layers, metric, view, report);
  /** @type {Drawing} */
  const drawing = {
    report,
    view,
    metric,
    owners: new Map(owners.length > 1 ? owners.map(({ name }, i) => [name, i]) : []),
    blocks: metric.of === "block" ? blockFigures(report, metric, extras) : new Map(),
    resident: residentBytes(loaded),
  };
  const groups = gather(report, layers, drawing).map((group) => toGroup(group, drawing));
  const rows = groups.flatMap((group) => group.rows);
  return {
    groups,
    owners,
    view,
    metric,
    scale: view === "resident" ? "share" : metric.scale,
    value: view === "resident" ? shareOf([...drawing.resident.values()].flat()) : metric.of === "block" ? null : layerFigure(layers, metric, view, report),
    statuses: seenStatuses(rows, view),
    foreign: layers.some(foreignPatch),
  };
}

/**
 * Who patched, with the share that each has in the whole change.
 * @param {LayerReport[]} layers
 * @param {Metric} metric
 * @param {MapView} view
 * @param {Report} report
 */
function ownersOf(layers, metric, view, report) {
  /** @type {Map<string, LayerReport[]>} */
  const byOwner = new Map();
  for (const layer of layers) push(byOwner, layer.owner, layer);
  const norm = metricOf("delta");
  const whole = layerFigure(layers, norm, view, report);
  return [...byOwner].map(([name, its]) => {
    const own = layerFigure(its, norm, view, report);
    const share = whole && own !== null ? (own / whole) ** 2 : null;
    return { name, foreign: name === OTHER_NODE, share, layers: its.length };
  });
}

/**
 * @typedef {{kind: string, names: string[], rows: Map<string, {label: string, layers: LayerReport[]}>, stranger: Set<string>}} Gathered
 */

/**
 * Layers by container and block: those of the model in order, then containers that it does not have, then `other`, `te`
 * and what has no place.
 * @param {Report} report
 * @param {LayerReport[]} layers
 * @param {Drawing} drawing
 * @returns {Gathered[]}
 */
function gather(report, layers, { resident, blocks }) {
  /** @type {Map<string, Gathered>} */
  const groups = new Map();
  for (const { kind, first, count } of report.model?.blocks ?? []) {
    const group = groupOf(groups, kind);
    for (let i = first; i < first + Math.min(count, MOST_ROWS); i += 1) group.rows.set(`${kind}.${i}`, { label: String(i), layers: [] });
    group.names.push(...(report.model?.layers?.[kind] ?? []));
  }
  for (const name of report.model?.layers?.other ?? []) rowOf(groupOf(groups, "other"), "other", name, name);
  for (const layer of layers) place(groups, layer, report.model !== null);
  for (const [block] of blocks) {
    const { kind, index } = splitAddress(block);
    if (index !== null) rowOf(groupOf(groups, kind), block, String(index), "");
  }
  for (const [block, its] of resident) {
    const { kind, index } = splitAddress(block);
    if (index !== null) groups.get(kind)?.names.push(...its.map(({ layer }) => layer));
  }
  const last = ["other", "blocks of a text encoder", "te", ""];
  const named = (/** @type {string} */ kind) => last.indexOf(isTextEncoder(kind) && kind !== "te" ? "blocks of a text encoder" : kind);
  const known = new Set((report.model?.blocks ?? []).map(({ kind }) => kind));
  const rank = (/** @type {string} */ kind) => (known.has(kind) ? 0 : 1 + Math.max(0, named(kind) + 1));
  return [...groups.values()].sort((a, b) => rank(a.kind) - rank(b.kind));
}

/** @param {Map<string, Gathered>} groups @param {LayerReport} layer @param {boolean} hasModel */
function place(groups, layer, hasModel) {
  const { kind, index } = splitAddress(layer.block);
  if (kind === "te") {
    const at = encoderPlace(layer.layer || layer.model_key);
    rowOf(groupOf(groups, at.kind), at.address, at.label, at.name, layer);
    return;
  }
  const group = groupOf(groups, kind);
  if (index !== null) {
    if (hasModel && !group.rows.has(layer.block)) group.stranger.add(layer.block);
    rowOf(group, layer.block, String(index), layer.layer, layer);
    return;
  }
  if (kind === "") rowOf(group, "", "", "", layer);
  else rowOf(group, `${layer.block}|${layer.layer}`, layer.layer || layer.model_key, "", layer);
}

/** @param {Map<string, Gathered>} groups @param {string} kind @returns {Gathered} */
function groupOf(groups, kind) {
  const known = groups.get(kind);
  if (known) return known;
  const group = { kind, names: [], rows: new Map(), stranger: new Set() };
  groups.set(kind, group);
  return group;
}

/** @param {Gathered} group @param {string} address @param {string} label @param {string} name @param {LayerReport} [layer] */
function rowOf(group, address, label, name, layer) {
  const key = group.kind === "other" && !layer ? `other|${label}` : address;
  const row = group.rows.get(key) ?? { label, layers: [] };
  group.rows.set(key, row);
  if (layer) row.layers.push(layer);
  if (layer && name) group.names.push(name);
}

/** @param {Gathered} gathered @param {Drawing} drawing @returns {MapGroup} */
function toGroup(gathered, drawing) {
  const names = [...new Set(gathered.names)];
  const list = ["other", "te", ""].includes(gathered.kind);
  const { columns, columnOf } = layerColumns(list ? [] : names);
  const rows = [...gathered.rows].map(([address, row]) => toRow(gathered, address, row, list ? [] : columns, columnOf, drawing));
  if (!list) rows.sort((a, b) => Number(a.label) - Number(b.label) || 0);
  return { kind: gathered.kind, columns, rows };
}

/**
 * @param {Gathered} gathered
 * @param {string} address
 * @param {{label: string, layers: LayerReport[]}} row
 * @param {MapGroup["columns"]} columns
 * @param {(layer: string) => string} columnOf
 * @param {Drawing} drawing
 * @returns {MapRow}
 */
function toRow(gathered, address, { label, layers }, columns, columnOf, drawing) {
  /** @type {Map<string, LayerReport[]>} */
  const byColumn = new Map();
  const inside = isTextEncoder(gathered.kind) ? (/** @type {LayerReport} */ layer) => encoderPlace(layer.layer).name : (/** @type {LayerReport} */ layer) => layer.layer;
  for (const layer of layers) push(byColumn, columnOf(inside(layer)), layer);
  const cells = columns.map((column) => toCell(column.key, byColumn.get(column.key) ?? [], address, columnOf, drawing));
  const value = rowValue(address, layers, cells, drawing);
  return {
    address,
    label,
    name: nameOf(gathered.kind, address, label),
    status: statusOf(layers, value),
    value,
    cells,
    shares: columns.length > 0 || drawing.metric.of === "block" ? [] : sharesOf(layers, drawing),
    stranger: gathered.stranger.has(address),
    foreign: layers.some(foreignPatch),
    layers,
  };
}

/** @param {string} kind @param {string} address @param {string} label */
function nameOf(kind, address, label) {
  if (kind === "other" || isTextEncoder(kind)) return `${kind} ${label}`;
  return blockName(address);
}

/** @param {string} address @param {LayerReport[]} layers @param {MapCell[]} cells @param {Drawing} drawing */
function rowValue(address, layers, cells, { report, view, metric, blocks, resident }) {
  if (view === "resident") {
    const [block = "", layer] = address.split("|");
    const its = resident.get(block) ?? [];
    return shareOf(layer === undefined || cells.length > 0 ? its : its.filter((entry) => entry.layer === layer));
  }
  if (metric.of === "block") return blocks.get(address) ?? null;
  return layerFigure(layers, metric, view, report);
}

/**
 * @param {string} column
 * @param {LayerReport[]} layers
 * @param {string} address
 * @param {(layer: string) => string} columnOf
 * @param {Drawing} drawing
 * @returns {MapCell}
 */
function toCell(column, layers, address, columnOf, drawing) {
  const { report, view, metric } = drawing;
  const value = view === "resident" ? residentShare(column, address, columnOf, drawing) : metric.of === "block" ? null : layerFigure(layers, metric, view, report);
  return {
    column,
    name: layers.length === 1 && layers[0] ? layers[0].layer : column,
    status: statusOf(layers, value),
    value,
    parts: view === "resident" || metric.of === "block" ? [] : partsOf(layers, drawing),
    shares: sharesOf(layers, drawing),
    foreign: layers.some(foreignPatch),
    layers,
  };
}

/** @param {string} column @param {string} address @param {(layer: string) => string} columnOf @param {Drawing} drawing */
function residentShare(column, address, columnOf, { resident }) {
  return shareOf((resident.get(address) ?? []).filter(({ layer }) => columnOf(layer) === column));
}

/**
 * The slices of one fused weight, where the report knows them apart and their figures differ.
 * @param {LayerReport[]} layers
 * @param {Drawing} drawing
 */
function partsOf(layers, { report, view, metric }) {
  const sliced = layers.filter((layer) => layer.slice && !isMissed(layer));
  const keys = new Set(sliced.map((layer) => layer.model_key));
  if (sliced.length < 2 || keys.size !== 1 || sliced.length !== layers.length) return [];
  /** @type {Map<string, LayerReport[]>} */
  const bySlice = new Map();
  for (const layer of sliced) push(bySlice, String(layer.slice), layer);
  const slices = [...bySlice.values()].map((its) => ({ slice: its[0]?.slice ?? [0, 0, 1], layers: its })).sort((a, b) => a.slice[1] - b.slice[1]);
  const end = Math.max(...slices.map(({ slice }) => slice[1] + slice[2]));
  return slices.map(({ slice, layers: its }) => ({
    from: slice[1] / end,
    to: (slice[1] + slice[2]) / end,
    value: layerFigure(its, metric, view, report),
  }));
}

/** @param {LayerReport[]} layers @param {Drawing} drawing */
function sharesOf(layers, { owners, view, report }) {
  if (owners.size < 2 || layers.length === 0 || view === "resident") return [];
  const [only] = layers;
  if (layers.length === 1 && only) return layerFigure(layers, metricOf("delta"), view, report) ? [{ owner: owners.get(only.owner) ?? 0, share: 1 }] : [];
  const norm = metricOf("delta");
  /** @type {Map<string, LayerReport[]>} */
  const byOwner = new Map();
  for (const layer of layers) push(byOwner, layer.owner, layer);
  const squares = [...byOwner].map(([name, its]) => ({ owner: owners.get(name) ?? 0, square: (layerFigure(its, norm, view, report) ?? 0) ** 2 }));
  const whole = squares.reduce((sum, { square }) => sum + square, 0);
  return whole > 0 ? squares.map(({ owner, square }) => ({ owner, share: square / whole })).sort((a, b) => a.owner - b.owner) : [];
}

/** @param {LoadedModel | null} loaded @returns {Drawing["resident"]} */
function residentBytes(loaded) {
  /** @type {Drawing["resident"]} */
  const byBlock = new Map();
  for (const entry of loaded?.layers ?? []) push(byBlock, entry.block, entry);
  return byBlock;
}

/** @param {LayerBytes[]} entries */
function shareOf(entries) {
  let [bytes, resident] = [0, 0];
  for (const entry of entries) {
    if (entry.resident === null) return null;
    bytes += entry.bytes;
    resident += entry.resident;
  }
  return bytes > 0 ? resident / bytes : null;
}

/** @template K, V @param {Map<K, V[]>} map @param {K} key @param {V} value */
function push(map, key, value) {
  const known = map.get(key);
  if (known) known.push(value);
  else map.set(key, [value]);
}
