// The map of a model on the page. A grid for each container: a row for each block, a cell for each layer.

import { foreignText, h, setStyle } from "../ui/dom.mjs";
import { endOfText, formatCount, plainText } from "../ui/format.mjs";
import { isTextEncoder } from "./encoders.mjs";
import { drawsAsList, drawsWholeBlocks, shownRows } from "./figures.mjs";
import { colourOf } from "./scale.mjs";
import { asLine, describe, groupTitle, rowValue } from "./words.mjs";
import { ownerColour } from "../ui/owner_colours.mjs";

/**
 * @typedef {import("../../types/map").ModelMap} ModelMap
 * @typedef {import("../../types/map").MapGroup} MapGroup
 * @typedef {import("../../types/map").MapRow} MapRow
 * @typedef {import("../../types/map").MapCell} MapCell
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} MapActions
 * @property {(address: string) => void} open shows a block's layers
 * @property {(told: import("./tip.mjs").Told | null, at: Element | null) => void} tell what lies under the pointer or the focus
 *
 * @typedef {object} MapPlace
 * @property {Language} language
 * @property {string} label name of the whole map
 * @property {string | null} selected address of the block whose layers are shown
 */

/** Height of a row where there are many; rows outside of blocks have it in any case. */
export const ROW_PIXELS = 18;

/** A model with few blocks has room for larger cells: blocks of the longest column, at most. */
const FEW_ROWS = 8;

/** Columns of a map that has one figure for each block: all its bars are equally long. */
const WHOLE_COLUMNS = 5;

/** Pixels of a character of an upright heading, of its room, and of the longest heading, which has so many characters. */
const HEADING = { character: 5, room: 8, most: 104, characters: 17 };

/** Pixels of a digit of a block's index, and of its room. */
const INDEX = { digit: 6.5, room: 7 };

/** Beyond this many blocks of one kind, only the rows in view exist. */
const VIRTUAL_FROM = 160;
const ROWS_IN_VIEW = 36;
const SPARE_ROWS = 8;

/**
 * @param {ModelMap} map
 * @param {MapPlace} place
 * @param {MapActions} actions
 */
export function renderMap(map, place, actions) {
  const groups = map.groups.filter((group) => shownRows(map, group).length > 0 || (group.rows.length > 0 && !drawsWholeBlocks(map)));
  const head = headRoom(groups);
  const classes = `patchbay-map${hasFewRows(groups) && !drawsWholeBlocks(map) ? " patchbay-map-few" : ""}`;
  const root = h("div", { class: classes, role: "group", "aria-label": place.label, style: { "--patchbay-heading": `${head.pixels}px` } }, ...groups.map((group) => groupElement(map, group, place, head.bands)));
  followPointer(root, map, place, actions);
  root.querySelector(".patchbay-map-row")?.setAttribute("tabindex", "0");
  return root;
}

/** @param {MapGroup[]} groups */
const hasFewRows = (groups) => groups.every(({ columns, rows }) => columns.length === 0 || rows.length <= FEW_ROWS);

/** What the headings of the model's blocks need, so that the rows of containers side by side are level. @param {MapGroup[]} groups */
function headRoom(groups) {
  const columns = groups.filter(({ kind }) => !isTextEncoder(kind)).flatMap((group) => group.columns);
  const longest = Math.max(0, ...columns.map(({ label }) => label.length));
  return { bands: columns.some(({ band }) => band), pixels: Math.min(HEADING.most, Math.ceil(longest * HEADING.character + HEADING.room)) };
}

/** @param {ModelMap} map @param {MapGroup} group @param {MapPlace} place @param {boolean} bands some container has streams */
function groupElement(map, group, place, bands) {
  const list = drawsAsList(map, group);
  const title = groupTitle(group.kind, place.language.t);
  const rows = h("div", { class: "patchbay-map-rows", role: "rowgroup" });
  const grid = h(
    "div",
    { class: "patchbay-map-grid", role: "grid", "aria-label": title, "aria-rowcount": group.rows.length, "aria-colcount": group.columns.length + 1 },
    list || drawsWholeBlocks(map) ? null : headings(group, bands && !isTextEncoder(group.kind)),
    rows,
  );
  const shown = shownRows(map, group);
  fillRows(rows, { ...group, rows: shown }, map, place);
  const rest = drawsWholeBlocks(map) ? [] : group.rows.filter((row) => !shown.includes(row));
  const classes = `patchbay-map-group${list ? " patchbay-map-list" : ""}`;
  const digits = Math.max(1, ...group.rows.map(({ label }) => label.length));
  const style = { "--patchbay-columns": drawsWholeBlocks(map) ? WHOLE_COLUMNS : group.columns.length, "--patchbay-index": `${Math.ceil(digits * INDEX.digit + INDEX.room)}px` };
  return h("section", { class: classes, "data-kind": group.kind, style }, h("h4", {}, foreignText(title)), shown.length > 0 && grid, rest.length > 0 && untouched(rest, place.language));
}

/** Layers outside of blocks are many and seldom touched: those that are not share one line. @param {MapRow[]} rows @param {Language} language */
function untouched(rows, { t, locale }) {
  const names = rows.map((row) => plainText(row.label, 80)).join("\n");
  return h("p", { class: "patchbay-muted patchbay-map-rest", title: names.slice(0, 4000) }, t("map.rest", { n: formatCount(rows.length, locale) }));
}

/** Streams over the columns, and under them the layers' names, upright. @param {MapGroup} group @param {boolean} bandLine */
function headings({ columns }, bandLine) {
  /** @type {{band: string, count: number}[]} */
  const bands = [];
  for (const { band } of columns) {
    const last = bands.at(-1);
    if (last?.band === band) last.count += 1;
    else bands.push({ band, count: 1 });
  }
  const streams = bands.map(({ band, count }) => h("span", { class: "patchbay-map-band", "data-band": band, style: { "grid-column": `span ${count}` } }, band));
  const names = columns.map(({ label, key }, at) =>
    h("span", { class: "patchbay-map-column", role: "columnheader", title: plainText(key, 120), "data-first": startsBand(columns, at) }, h("span", {}, foreignText(endOfText(label, HEADING.characters)))),
  );
  return h(
    "div",
    { class: "patchbay-map-head", role: "row" },
    (bandLine || bands.some(({ band }) => band)) && h("div", { class: `patchbay-map-line${bands.some(({ band }) => band) ? "" : " patchbay-map-level"}`, "aria-hidden": "true" }, h("span", {}), ...streams),
    h("div", { class: "patchbay-map-line", role: "presentation" }, h("span", { class: "patchbay-map-corner" }), ...names),
  );
}

/** @param {MapGroup["columns"]} columns @param {number} at */
const startsBand = (columns, at) => at > 0 && columns[at - 1]?.band !== columns[at]?.band;

/**
 * All rows, or where there are very many a scroller in which the rows in view exist.
 * @param {HTMLElement} rows
 * @param {MapGroup} group
 * @param {ModelMap} map
 * @param {MapPlace} place
 */
function fillRows(rows, group, map, place) {
  const make = (/** @type {number} */ at) => rowElement(map, group, /** @type {MapRow} */ (group.rows[at]), at, place);
  if (group.rows.length <= VIRTUAL_FROM) {
    rows.append(...group.rows.map((_, at) => make(at)));
    return;
  }
  const inner = h("div", { class: "patchbay-map-virtual", role: "presentation", style: { height: `${group.rows.length * ROW_PIXELS}px` } });
  rows.classList.add("patchbay-map-scroller", "patchbay-scroller");
  setStyle(rows, { "--patchbay-rows-height": `${ROWS_IN_VIEW * ROW_PIXELS}px` });
  rows.append(inner);
  /** Rows that exist now, by place: those that stay in view are kept. @type {Map<number, HTMLElement>} */
  const made = new Map();
  let shown = "";
  const show = () => {
    const from = Math.max(0, Math.floor((rows.scrollTop || 0) / ROW_PIXELS) - SPARE_ROWS);
    const to = Math.min(group.rows.length, from + ROWS_IN_VIEW + 2 * SPARE_ROWS);
    if (shown === `${from}-${to}`) return;
    shown = `${from}-${to}`;
    for (const [at, row] of made) {
      if (at >= from && at < to) continue;
      row.remove();
      made.delete(at);
    }
    /** @type {HTMLElement | null} */
    let before = null;
    for (let at = to - 1; at >= from; at -= 1) {
      const known = made.get(at);
      const row = known ?? make(at);
      if (!known) {
        setStyle(row, { top: `${at * ROW_PIXELS}px` });
        inner.insertBefore(row, before);
      }
      made.set(at, row);
      before = row;
    }
  };
  rows.addEventListener("scroll", show, { passive: true });
  show();
}

/** @param {ModelMap} map @param {MapGroup} group @param {MapRow} row @param {number} at @param {MapPlace} place */
function rowElement(map, group, row, at, { language, selected }) {
  const list = drawsAsList(map, group);
  const whole = !list && drawsWholeBlocks(map);
  const cells = list || whole ? [cellElement(map, row, row, false)] : row.cells.map((cell, i) => cellElement(map, row, cell, startsBand(group.columns, i)));
  if (whole && cells[0]) setStyle(cells[0], { "grid-column": `span ${WHOLE_COLUMNS}` });
  const label = row.address === "" ? language.t("block.layers", { n: formatCount(row.layers.length, language.locale) }) : row.label;
  const classes = ["patchbay-map-row", `patchbay-map-is-${row.status}`];
  if (row.stranger) classes.push("patchbay-map-stranger");
  return h(
    "div",
    {
      class: classes.join(" "),
      role: "row",
      tabindex: -1,
      "aria-rowindex": at + 1,
      "aria-selected": row.address === selected ? "true" : null,
      "aria-label": asLine(describe(map, row, null, language)),
      "data-address": row.address,
      "data-key": `row ${group.kind} ${row.address}`,
    },
    h("span", { class: "patchbay-map-index", role: "rowheader", title: list ? plainText(label, 160) : null }, foreignText(plainText(label, 60))),
    ...cells,
    h("span", { class: "patchbay-map-value", role: "gridcell" }, rowValue(map, row, language.locale)),
  );
}

/** @param {ModelMap} map @param {MapRow} row @param {MapCell | MapRow} cell @param {boolean} first */
function cellElement(map, row, cell, first) {
  const column = "column" in cell ? cell.column : "";
  const classes = ["patchbay-map-cell", `patchbay-map-is-${cell.status}`];
  if (cell.foreign) classes.push("patchbay-map-foreign");
  const element = h("span", { class: classes.join(" "), role: "gridcell", "data-column": column, "data-first": first });
  const parts = "parts" in cell ? cell.parts : [];
  if (parts.length > 0) setStyle(element, { "--patchbay-fill": partsGradient(map, parts) });
  else if (cell.value !== null) setStyle(element, { "--patchbay-fill": colourOf(map.scale, cell.value) });
  if (cell.value !== null) element.classList.add("patchbay-map-coloured");
  if ("shares" in cell && cell.shares.length > 0) {
    element.append(h("span", { class: "patchbay-map-shares" }, ...cell.shares.map(({ owner, share }) => h("i", { style: { flex: share, background: ownerColour(owner) } }))));
  }
  return element;
}

/** @param {ModelMap} map @param {MapCell["parts"]} parts */
function partsGradient(map, parts) {
  const stops = parts.map(({ from, to, value }) => {
    const colour = value === null ? "transparent" : colourOf(map.scale, value);
    return `${colour} ${(from * 100).toFixed(1)}% ${(to * 100).toFixed(1)}%`;
  });
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}

/**
 * One set of listeners for the whole map, however many cells it has.
 * @param {HTMLElement} root
 * @param {ModelMap} map
 * @param {MapPlace} place
 * @param {MapActions} actions
 */
function followPointer(root, map, { language }, actions) {
  const rows = new Map(map.groups.flatMap((group) => group.rows.map((row) => [`${group.kind} ${row.address}`, row])));
  const found = (/** @type {EventTarget | null} */ target) => {
    const element = target instanceof Element ? target.closest(".patchbay-map-row") : null;
    const row = rows.get(element?.getAttribute("data-key")?.slice("row ".length) ?? "");
    if (!element || !row) return null;
    const cell = target instanceof Element ? target.closest(".patchbay-map-cell[data-column]") : null;
    const of = cell ? row.cells.find((each) => each.column === cell.getAttribute("data-column")) ?? null : null;
    const told = describe(map, row, of, language);
    if (of && cell) cell.setAttribute("aria-label", asLine(told));
    return { row, element: of && cell ? cell : element, told };
  };
  const tell = (/** @type {Event} */ event) => {
    const hit = found(event.target);
    actions.tell(hit?.told ?? null, hit?.element ?? null);
  };
  root.addEventListener("pointerover", tell);
  root.addEventListener("focusin", tell);
  root.addEventListener("pointerleave", () => actions.tell(null, null));
  root.addEventListener("focusout", () => actions.tell(null, null));
  root.addEventListener("click", (event) => {
    const hit = found(event.target);
    if (hit) actions.open(hit.row.address);
  });
  root.addEventListener("keydown", (event) => onKey(root, event, (target) => {
    const hit = found(target);
    if (hit) actions.open(hit.row.address);
  }));
}

/**
 * Up, down, Home and End go from block to block, right and left into its cells; Enter and space open a block. One row is
 * in the tab order.
 * @param {HTMLElement} root
 * @param {KeyboardEvent} event
 * @param {(target: Element) => void} open
 */
function onKey(root, event, open) {
  const from = event.target instanceof Element ? event.target : null;
  const row = /** @type {HTMLElement | null} */ (from?.closest(".patchbay-map-row") ?? null);
  if (!from || !row) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    open(from);
    return;
  }
  const all = /** @type {HTMLElement[]} */ ([...root.querySelectorAll(".patchbay-map-row")]);
  const stops = /** @type {HTMLElement[]} */ ([row, ...row.querySelectorAll(".patchbay-map-cell")]);
  const [at, column] = [all.indexOf(row), stops.indexOf(/** @type {HTMLElement} */ (from))];
  const targets = {
    ArrowDown: all[at + 1],
    ArrowUp: all[at - 1],
    Home: all[0],
    End: all.at(-1),
    ArrowRight: stops[column + 1],
    ArrowLeft: stops[column - 1],
  };
  const target = targets[/** @type {keyof typeof targets} */ (event.key)];
  if (!target) return;
  event.preventDefault();
  event.stopPropagation();
  for (const each of all) each.setAttribute("tabindex", "-1");
  (target.closest(".patchbay-map-row") ?? target).setAttribute("tabindex", "0");
  if (!target.hasAttribute("tabindex")) target.setAttribute("tabindex", "-1");
  target.focus();
}
