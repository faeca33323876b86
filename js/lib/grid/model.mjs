// What a grid holds, and what of it stands where. Pure.

/**
 * @typedef {import("../../types/grid").GridData} GridData
 * @typedef {import("../../types/grid").GridCell} GridCell
 * @typedef {import("../../types/grid").GridPage} GridPage
 * @typedef {import("../../types/grid").GridSettings} GridSettings
 */

export const KNOWN_GRID = 1;

/** The data, or null for anything else. @param {unknown} value @returns {GridData | null} */
export function asGrid(value) {
  const data = /** @type {GridData | null} */ (typeof value === "object" ? value : null);
  const fits = data?.kind === "grid" && Array.isArray(data.cells) && Array.isArray(data.pages) && data.pages.length > 0 && Array.isArray(data.axes);
  return fits ? data : null;
}

/** @param {GridData} data @param {number} number @returns {GridPage} */
export const pageOf = (data, number) => /** @type {GridPage} */ (data.pages[Math.max(0, Math.min(number, data.pages.length - 1))]);

/** What a cell would put on a node that applies a LoRA; null for a cell without one. @param {GridCell} cell @returns {GridSettings | null} */
export function settingsOf({ settings }) {
  const { lora, strength, blocks } = settings;
  if (typeof lora !== "string" || !lora || typeof strength !== "number") return null;
  return { lora, strength, blocks: typeof blocks === "string" ? blocks : "" };
}

/** The settings of a cell that differ between cells, as `[axis, label]`. @param {GridData} data @param {GridCell} cell @returns {[string, string][]} */
export const varying = (data, cell) => data.axes.flatMap(({ name, labels }, at) => (labels.length > 1 ? [/** @type {[string, string]} */ ([name, labels[cell.index[at] ?? 0] ?? ""])] : []));

/** All settings of a cell. @param {GridData} data @param {GridCell} cell @returns {[string, string][]} */
export const everySetting = (data, cell) => data.axes.map(({ name, labels }, at) => [name, labels[cell.index[at] ?? 0] ?? ""]);

/**
 * The cell beside another one on a page, or null at its edge.
 * @param {GridPage} page @param {number} cell its number @param {number} across @param {number} down
 */
export function neighbour(page, cell, across, down) {
  const row = page.cells.findIndex((each) => each.includes(cell));
  const column = page.cells[row]?.indexOf(cell) ?? -1;
  return page.cells[row + down]?.[column + across] ?? null;
}

/** Cells in each state. @param {GridData} data */
export function counted({ cells }) {
  const count = (/** @type {string} */ state) => cells.filter((cell) => cell.state === state).length;
  return { all: cells.length, made: count("made") + count("kept"), kept: count("kept"), missing: count("missing"), failed: count("failed") };
}

/** Whether a difference is no larger than that of two equal runs. @param {GridData} data @param {GridCell} cell */
export function withinFloor({ floor }, { metrics }) {
  const mae = floor?.metrics?.mae;
  return metrics !== null && !metrics.identical && typeof mae === "number" && mae > 0 && typeof metrics.mae === "number" && metrics.mae <= mae;
}

/** Whether other cells are compared with this one. @param {GridData} data @param {GridCell} cell */
export const isReference = (data, cell) => data.cells.some(({ reference, metrics }) => metrics !== null && reference === cell.label);
