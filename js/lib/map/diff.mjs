// Two maps and what lies between them: the second figure over the first, cell by cell. Pure.

import { seenStatuses } from "./status.mjs";

/**
 * @typedef {import("../../types/map").ModelMap} ModelMap
 * @typedef {import("../../types/map").MapGroup} MapGroup
 * @typedef {import("../../types/map").MapRow} MapRow
 * @typedef {import("../../types/map").MapCell} MapCell
 */

/**
 * @param {ModelMap} a
 * @param {ModelMap} b
 * @returns {ModelMap}
 */
export function differenceMap(a, b) {
  const kinds = [...new Set([...a.groups, ...b.groups].map((group) => group.kind))];
  const groups = kinds.map((kind) => differenceGroup(kind, find(a.groups, kind), find(b.groups, kind)));
  const rows = groups.flatMap((group) => group.rows);
  return {
    groups,
    owners: [],
    view: a.view,
    metric: a.metric,
    scale: "factor",
    value: factor(a.value, b.value),
    statuses: seenStatuses(rows, a.view),
    foreign: a.foreign || b.foreign,
  };
}

/** @param {MapGroup[]} groups @param {string} kind */
const find = (groups, kind) => groups.find((group) => group.kind === kind);

/** @param {string} kind @param {MapGroup | undefined} a @param {MapGroup | undefined} b @returns {MapGroup} */
function differenceGroup(kind, a, b) {
  const columns = [...new Map([...(a?.columns ?? []), ...(b?.columns ?? [])].map((column) => [column.key, column])).values()];
  const [inA, inB] = [byAddress(a), byAddress(b)];
  const addresses = [...new Set([...inA.keys(), ...inB.keys()])];
  const rows = addresses.map((address) => differenceRow(columns, inA.get(address), inB.get(address)));
  if (columns.length > 0) rows.sort((x, y) => Number(x.label) - Number(y.label) || 0);
  return { kind, columns, rows };
}

/** @param {MapGroup | undefined} group */
const byAddress = (group) => new Map((group?.rows ?? []).map((row) => [row.address, row]));

/** @param {MapGroup["columns"]} columns @param {MapRow | undefined} a @param {MapRow | undefined} b @returns {MapRow} */
function differenceRow(columns, a, b) {
  const any = /** @type {MapRow} */ (b ?? a);
  const cells = columns.map(({ key }) => differenceCell(key, cellOf(a, key), cellOf(b, key)));
  return { ...any, ...between(a, b), cells, shares: [], layers: any.layers, foreign: Boolean(a?.foreign || b?.foreign) };
}

/** @param {MapRow | undefined} row @param {string} key */
const cellOf = (row, key) => row?.cells.find((cell) => cell.column === key);

/** @param {string} column @param {MapCell | undefined} a @param {MapCell | undefined} b @returns {MapCell} */
function differenceCell(column, a, b) {
  const name = b?.name ?? a?.name ?? column;
  return { column, name, ...between(a, b), parts: [], shares: [], foreign: Boolean(a?.foreign || b?.foreign), layers: b?.layers ?? a?.layers ?? [] };
}

/**
 * @param {{value: number | null, status: import("../../types/map").CellStatus} | undefined} a
 * @param {{value: number | null, status: import("../../types/map").CellStatus} | undefined} b
 * @returns {{value: number | null, status: import("../../types/map").CellStatus, pair: [number | null, number | null]}}
 */
function between(a, b) {
  const [from, to] = [a?.value ?? null, b?.value ?? null];
  const statuses = [a?.status ?? "untouched", b?.status ?? "untouched"];
  const known = canCompare(a) && canCompare(b);
  const value = known ? factor(from, to) : null;
  const status = statuses.includes("missed") ? "missed" : statuses.includes("partial") ? "partial" : value !== null ? "applied" : statuses.every((each) => each === "untouched") ? "untouched" : known ? "skipped" : "unmeasured";
  return { value, status, pair: [from, to] };
}

/** A layer that was left alone changed by nothing, which is a figure; one that was not measured has none. @param {{value: number | null, status: string} | undefined} side */
const canCompare = (side) => !side || side.value !== null || ["untouched", "skipped", "dead"].includes(side.status);

/**
 * `b / a`; infinite where only `b` is there, 0 where only `a` is, `null` where neither is.
 * @param {number | null} a
 * @param {number | null} b
 */
export function factor(a, b) {
  const [from, to] = [a ?? 0, b ?? 0];
  if (from === 0 && to === 0) return null;
  return from === 0 ? Infinity : to / from;
}
