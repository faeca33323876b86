// What Feature Shift and Fit Strengths send, gathered by block for their pictures. Pure.

import { splitAddress } from "../report/blocks.mjs";
import { plainText, shortKind } from "../ui/format.mjs";

/**
 * @typedef {import("../../types/shift").ShiftData} ShiftData
 * @typedef {import("../../types/shift").ShiftRow} ShiftRow
 * @typedef {import("../../types/shift").FitData} FitData
 * @typedef {import("../../types/shift").Candidate} Candidate
 * @typedef {"img" | "txt" | "all"} Stream
 */

/**
 * A block with what is known of each of its streams.
 * @template T
 * @typedef {{block: string, kind: string, label: string, name: string, cells: {stream: Stream, of: T}[]}} Column
 */

/** Newest version of the data that this page can read. */
export const KNOWN_SHIFT = 1;

/** A broken result must not hang the page. */
const MOST_ROWS = 1024;

/** @param {unknown} value @returns {ShiftData | null} */
export function asShift(value) {
  if (typeof value !== "object" || value === null) return null;
  const data = /** @type {ShiftData} */ (value);
  return data.schema === "patchbay.shift" && Array.isArray(data.rows) ? data : null;
}

/** @param {unknown} value @returns {FitData | null} */
export function asFit(value) {
  if (typeof value !== "object" || value === null) return null;
  const data = /** @type {FitData} */ (value);
  return data.schema === "patchbay.fit" && Array.isArray(data.candidates) && Array.isArray(data.groups) ? data : null;
}

/** A number that can be drawn, or null. @param {unknown} value */
export const finite = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** @param {string} stream @returns {Stream} */
export const asStream = (stream) => (stream === "img" || stream === "txt" ? stream : "all");

/**
 * The rows by block in the order of the model, and the model's output apart.
 * @param {ShiftRow[]} rows
 * @returns {{columns: Column<ShiftRow>[], output: Column<ShiftRow> | null}}
 */
export function columnsOfRows(rows) {
  const columns = gather(rows.slice(0, MOST_ROWS).map((row) => ({ block: String(row.block), stream: String(row.stream), of: row })));
  const output = columns.find(({ block }) => block === "output") ?? null;
  return { columns: columns.filter((column) => column !== output), output };
}

/**
 * Group selectors (`double_blocks.0.img`, `single_blocks.*`, `other`) by block.
 * @param {string[]} groups
 */
export function columnsOfGroups(groups) {
  return gather(
    groups.slice(0, MOST_ROWS).map((selector) => {
      const [, block = String(selector), stream = ""] = /^(.*)\.(img|txt)$/.exec(String(selector)) ?? [];
      return { block, stream, of: String(selector) };
    }),
  );
}

/**
 * @template T
 * @param {{block: string, stream: string, of: T}[]} places
 * @returns {Column<T>[]}
 */
function gather(places) {
  /** @type {Map<string, Column<T>>} */
  const columns = new Map();
  for (const { block, stream, of } of places) {
    const { kind, index } = splitAddress(block.replace(/\.\*$/, ""));
    const short = plainText(shortKind(kind), 24);
    const label = index === null ? "" : String(index);
    const column = columns.get(block) ?? { block, kind, label, name: `${short} ${label}`.trim(), cells: [] };
    column.cells.push({ stream: asStream(stream), of });
    columns.set(block, column);
  }
  return [...columns.values()];
}

/** Streams that occur, image first. @template T @param {Column<T>[]} columns @returns {Stream[]} */
export function streamsOf(columns) {
  const seen = new Set(columns.flatMap(({ cells }) => cells.map(({ stream }) => stream)));
  return /** @type {Stream[]} */ (["img", "txt", "all"]).filter((stream) => seen.has(stream));
}

/** The next round number, for the end of an axis. @param {number} value */
export function roundAbove(value) {
  if (!(value > 0)) return 1;
  const ten = 10 ** Math.floor(Math.log10(value));
  const times = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * ten >= value * (1 - 1e-9)) ?? 10;
  return Number((times * ten).toPrecision(2));
}

/** The lower end of an axis that ends at 1, for cosines. @param {number[]} values */
export function cosineFloor(values) {
  const least = Math.min(1, ...values);
  return least < 0 ? -1 : Number((1 - Math.min(1, roundAbove(Math.max(0.001, 1 - least)))).toPrecision(8));
}

/** The reach of an axis of factors around 1: 2, 4 or 8. @param {number[]} values */
export function factorReach(values) {
  const furthest = Math.max(1, ...values.filter((value) => value > 0).map((value) => Math.max(value, 1 / value)));
  return [2, 4].find((end) => furthest <= end) ?? 8;
}

/** Where a cosine lies between "unrelated" (0) and "the same direction" (1), by its angle. @param {number} cosine */
export const anglePlace = (cosine) => 1 - Math.acos(Math.min(1, Math.max(0, cosine))) / (Math.PI / 2);

/**
 * The strengths of a candidate in the text form; what was chosen is the node's own text.
 * @param {FitData} data
 * @param {Candidate} candidate
 */
export function strengthsText(data, candidate) {
  if (candidate.name === data.chosen && data.blocks) return data.blocks;
  const values = Object.entries(candidate.strengths ?? {});
  const [first] = values;
  if (!first) return "";
  if (values.every(([, value]) => value === first[1])) return `all=${short(first[1])}`;
  return values.map(([selector, value]) => `${selector}=${short(value)}`).join(", ");
}

/** @param {number} value */
const short = (value) => String(Number(Number(value).toFixed(3)));

/**
 * What the interval of a gain over plain 1.0 says, held against the run-to-run floor and what is worth the trouble.
 * @param {import("../../types/shift").Interval} gain
 * @param {number | null} floor
 * @param {number | null} worthwhile
 * @returns {"better" | "slight" | "worse" | "unclear"}
 */
export function gainWord(gain, floor, worthwhile) {
  const [low, high, noise] = [finite(gain?.low), finite(gain?.high), finite(floor) ?? 0];
  if (low !== null && low > noise) return (finite(gain.mean) ?? 0) > (finite(worthwhile) ?? 0) ? "better" : "slight";
  return high !== null && high < -noise ? "worse" : "unclear";
}
