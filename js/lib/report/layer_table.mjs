// All layers of a report. Only the rows in view exist, so that ten thousand layers open at once.

import { layerName, shortLayerName } from "./blocks.mjs";
import { foreignText, h, setStyle } from "../ui/dom.mjs";
import { formatNumber, formatRatio, plainText } from "../ui/format.mjs";
import { stateName } from "../words/i18n.mjs";
import { stateIcon } from "../ui/icons.mjs";
import { ratioColour } from "../ui/scale.mjs";
import { reportWords } from "../words/report_words.mjs";

/**
 * @typedef {import("../../types/report").LayerReport} LayerReport
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

const ROW_PIXELS = 22;
const ROWS_IN_VIEW = 11;
const SPARE_ROWS = 6;

/** Up to here all rows exist: the page's own search finds them. */
const VIRTUAL_FROM = 300;



/** @param {LayerReport[]} layers @param {Language} language */
export function renderLayerTable(layers, language) {
  const figure = layers.some((layer) => layer.state === "in_file") ? "norm" : "change";
  const columns = ["state", "layer", figure, "strength", "rank"];
  const heading = h(
    "div",
    { class: "patchbay-row patchbay-row-head", role: "row" },
    ...columns.map((name) => h("span", { role: "columnheader" }, columnTitle(name, language))),
  );
  const rows = h("div", { class: "patchbay-layer-rows", role: "rowgroup", style: { height: `${layers.length * ROW_PIXELS}px` } });
  const height = Math.min(layers.length, ROWS_IN_VIEW) * ROW_PIXELS;
  const scroller = h(
    "div",
    { class: "patchbay-scroller", tabindex: 0, "data-capture-wheel": "true", style: { "--patchbay-rows-height": `${height}px` } },
    rows,
  );
  const show = () => showRows(rows, scroller, layers, language);
  scroller.addEventListener("scroll", show, { passive: true });
  show();
  return h("div", { class: "patchbay-table", role: "table", "aria-rowcount": layers.length + 1 }, heading, scroller);
}

/** The narrow first column has a title only for screen readers. @param {string} name @param {Language} language */
function columnTitle(name, { t }) {
  return name === "state" ? h("span", { class: "patchbay-unseen" }, t("table.state")) : t(`table.${name}`);
}

/**
 * Which rows have to exist.
 * @param {number} count
 * @param {number} scrollTop
 * @param {number} height
 */
export function visibleRows(count, scrollTop, height) {
  if (count <= VIRTUAL_FROM) return { from: 0, to: count };
  const from = Math.max(0, Math.floor(scrollTop / ROW_PIXELS) - SPARE_ROWS);
  const inView = Math.ceil((height || ROWS_IN_VIEW * ROW_PIXELS) / ROW_PIXELS);
  return { from, to: Math.min(count, from + inView + 2 * SPARE_ROWS) };
}

/**
 * @param {HTMLElement} rows
 * @param {HTMLElement} scroller
 * @param {LayerReport[]} layers
 * @param {Language} language
 */
function showRows(rows, scroller, layers, language) {
  const { from, to } = visibleRows(layers.length, scroller.scrollTop || 0, scroller.clientHeight || 0);
  const shown = `${from}-${to}`;
  if (rows.getAttribute("data-shown") === shown) return;
  rows.setAttribute("data-shown", shown);
  rows.replaceChildren(...layers.slice(from, to).map((layer, i) => rowElement(layer, from + i, language)));
}

/** @param {LayerReport} layer @param {number} index @param {Language} language */
function rowElement(layer, index, { t, locale }) {
  const swatch = h("i", { class: "patchbay-swatch" });
  const changed = layer.state === "applied" && layer.norm_ratio !== null;
  if (changed) setStyle(swatch, { background: ratioColour(layer.norm_ratio ?? 0) });
  const row = h(
    "div",
    { class: "patchbay-row", role: "row", "aria-rowindex": index + 2, title: rowTitle(layer, [layerName(layer), stateName(layer.state, t)], locale) },
    h("span", { role: "cell" }, stateIcon(layer.state), h("span", { class: "patchbay-unseen" }, stateName(layer.state, t))),
    h("span", { role: "cell", class: "patchbay-cell-name" }, foreignText(plainText(shortLayerName(layer), 120))),
    h("span", { role: "cell", class: "patchbay-figure" }, changed && swatch, figureText(layer, locale)),
    h("span", { role: "cell", class: "patchbay-figure" }, formatNumber(layer.strength, locale)),
    h("span", { role: "cell", class: "patchbay-figure" }, formatNumber(layer.rank, locale, 6)),
  );
  setStyle(row, { transform: `translateY(${index * ROW_PIXELS}px)` });
  return row;
}

/** How strongly the layer was changed; in a file that was only inspected how large its delta is. @param {LayerReport} layer @param {string} locale */
function figureText(layer, locale) {
  if (layer.state === "in_file") return formatNumber(layer.delta_norm, locale);
  return layer.state === "applied" ? formatRatio(layer.norm_ratio, locale) : "–";
}

/** @param {LayerReport} layer @param {string[]} head @param {string} locale */
function rowTitle(layer, head, locale) {
  const facts = [...head, layer.model_key, layer.lora_key, layer.owner, reportWords(layer.reason, locale), reportWords(layer.not_measured, locale)];
  return [...new Set(facts.filter(Boolean).map((fact) => plainText(fact, 300)))].join("\n");
}
