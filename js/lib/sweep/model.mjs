// What Block Sweep sends, gathered by block for its picture. Pure.

import { splitAddress } from "../report/blocks.mjs";
import { finite } from "../shift/model.mjs";
import { plainText, shortKind } from "../ui/format.mjs";

/**
 * @typedef {import("../../types/sweep").SweepData} SweepData
 * @typedef {import("../../types/sweep").UnitRow} UnitRow
 * @typedef {import("../shift/model.mjs").Stream} Stream
 * @typedef {import("../shift/model.mjs").Column<UnitRow>} UnitColumn
 */

/** Newest version of the data that this page can read. */
export const KNOWN_SWEEP = 1;

/** A broken result must not hang the page. */
const MOST_ROWS = 1024;

/** Streams and parts have the same two colours. @type {Record<string, Stream>} */
const COLOURS = { img: "img", txt: "txt", attn: "img", mlp: "txt" };

/** @param {unknown} value @returns {SweepData | null} */
export function asSweep(value) {
  if (typeof value !== "object" || value === null) return null;
  const data = /** @type {SweepData} */ (value);
  return data.schema === "patchbay.sweep" && Array.isArray(data.rows) ? data : null;
}

/** @param {SweepData} data @returns {UnitRow[]} */
export const unitsOf = (data) => data.rows.slice(0, MOST_ROWS);

/**
 * The units by block, in the model's order; a group of the user's own is a column with a number.
 * @param {SweepData} data @returns {UnitColumn[]}
 */
export function columnsOfUnits(data) {
  /** @type {Map<string, UnitColumn>} */
  const columns = new Map();
  unitsOf(data).forEach((row, i) => {
    const own = data.grouping === "own groups";
    const { block, part } = own ? { block: `${i}`, part: "" } : splitUnit(String(row.name));
    const { kind, index } = own ? { kind: "", index: i + 1 } : splitAddress(block.replace(/\.\*$/, ""));
    const short = plainText(shortKind(kind), 24);
    const label = index === null ? "" : String(index);
    const name = own ? plainText(row.name, 60) : `${short} ${label}`.trim();
    const column = columns.get(block) ?? { block, kind, label, name, cells: [] };
    column.cells.push({ stream: COLOURS[part] ?? "all", of: row });
    columns.set(block, column);
  });
  return [...columns.values()];
}

/** Block and part of a unit: `double_blocks.0.img_attn.qkv` has both. @param {string} name */
export function splitUnit(name) {
  const [, block = name, part = ""] = /^(.*?\.\d+)\.(.+)$/.exec(name) ?? [];
  return { block, part };
}

/** Parts or streams that occur, with their colour, in order. @param {SweepData} data @returns {{part: string, stream: Stream}[]} */
export function partsOf(data) {
  if (data.grouping === "own groups") return [];
  const seen = new Set(unitsOf(data).map(({ name }) => splitUnit(String(name)).part));
  return Object.entries(COLOURS).filter(([part]) => seen.has(part)).map(([part, stream]) => ({ part, stream }));
}

/** The units with the largest effect first; those that were not run alone come last, in their order. @param {SweepData} data */
export function byEffect(data) {
  const effect = (/** @type {UnitRow} */ row) => finite(row.effect?.mean) ?? -1;
  return [...unitsOf(data)].sort((a, b) => effect(b) - effect(a));
}

/** The number of the group, from 1, in which a unit was left out; 0 for none. @param {SweepData} data @param {UnitRow} row */
export const groupOf = (data, row) => (data.bundles ?? []).findIndex(({ units }) => units.includes(data.rows.indexOf(row))) + 1;
