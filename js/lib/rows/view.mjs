// The elements of the rows: made anew where the rows are others, so that nothing has to be kept in step.

import { h, svg } from "../ui/dom.mjs";
import { levelIcon } from "../ui/icons.mjs";
import { formatStrength } from "../editor/text.mjs";
import { shortName } from "./model.mjs";
import { isOutside, noteOf } from "./notes.mjs";

/**
 * @typedef {import("./model.mjs").Row} Row
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} RowLook what is shown of a row beside its own values
 * @property {string} level `ok`, `warning`, `error` or empty
 * @property {string} verdict the sentences to it
 * @property {string} words trigger words
 * @property {{value: number, low: number, high: number}[]} bars one for each block; none where they are not known
 *
 * @typedef {object} RowsShown
 * @property {Row[]} rows
 * @property {RowLook[]} looks
 * @property {string} status
 * @property {string} statusLevel
 * @property {boolean} earlier
 * @property {boolean} reportOpen
 * @property {number} edited row whose bars are open; -1 for none
 * @property {string} said
 */

export const LINE_PIXELS = 20;
const TALLEST = 1.5;

/** @param {RowsShown} shown @param {Language} language @returns {HTMLElement[]} */
export function rowElements(shown, language) {
  return [headElement(shown, language), ...shown.rows.map((row, at) => rowElement(row, at, shown, language))];
}

/** @param {RowsShown} shown @param {Language} language */
function headElement({ rows, status, statusLevel, earlier, reportOpen, said }, { t }) {
  const on = rows.filter((row) => row.on).length;
  const all = h("input", { type: "checkbox", class: "patchbay-row-box", "data-act": "all", "aria-label": t("rows.all"), title: t("rows.all"), checked: on > 0 && on === rows.length, disabled: rows.length === 0 });
  all.indeterminate = on > 0 && on < rows.length;
  const words = said || status || (rows.length > 0 ? t("rows.count", { on, n: rows.length }) : t("rows.none"));
  return h(
    "div",
    { class: "patchbay-rows-head" },
    all,
    h(
      "button",
      { type: "button", class: `patchbay-rows-status${earlier ? " patchbay-is-earlier" : ""}`, "data-act": "report", "aria-expanded": String(reportOpen), title: words },
      statusLevel && h("span", { class: `patchbay-dot patchbay-dot-${statusLevel}` }, levelIcon(statusLevel)),
      h("bdi", {}, words),
    ),
    h("button", { type: "button", class: "patchbay-button patchbay-rows-add", "data-act": "add", "aria-haspopup": "dialog" }, `+ ${t("rows.add")}`),
    h("button", { type: "button", class: "patchbay-row-menu", "data-act": "options", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": t("rows.options"), title: t("rows.options") }, "⋯"),
  );
}

/** @param {Row} row @param {number} at @param {RowsShown} shown @param {Language} language */
function rowElement(row, at, shown, { t }) {
  const look = shown.looks[at] ?? { level: "", verdict: "", words: "", bars: [] };
  const name = shortName(row.lora) || t("rows.choose");
  const hint = [row.lora, look.words && t("rows.words", { words: look.words }), noteOf(row.lora).text].filter(Boolean).join("\n");
  return h(
    "div",
    { class: `patchbay-lora-row${row.on ? "" : " patchbay-is-off"}`, role: "group", "aria-label": name, "data-row": at },
    h("button", { type: "button", class: "patchbay-row-handle", "data-act": "handle", "aria-label": t("rows.move", { name }), title: t("rows.move", { name }) }, "⠿"),
    h("input", { type: "checkbox", class: "patchbay-row-box", "data-act": "on", checked: row.on, "aria-label": t("rows.on", { name }), title: t("rows.on", { name }) }),
    h("span", { class: `patchbay-dot patchbay-dot-${look.level || "unknown"}`, role: "img", "aria-label": look.verdict, title: look.verdict }, look.level ? levelIcon(look.level) : "○"),
    h("button", { type: "button", class: "patchbay-row-name", "data-act": "name", "aria-haspopup": "dialog", "aria-label": t("rows.change", { name }), title: hint || null }, h("bdi", {}, name), look.words && h("bdi", { class: "patchbay-row-words" }, look.words), noteOf(row.lora).text && h("span", { class: "patchbay-row-words", "aria-label": t("notes.text") }, "✎")),
    h("button", { type: "button", class: "patchbay-row-strip", "data-act": "blocks", "aria-expanded": String(shown.edited === at), "aria-label": t("rows.blocks", { name }), title: t("rows.blocks", { name }), disabled: !row.lora }, stripElement(look.bars)),
    numberElement("strength", row.strength, strengthLabel(row, name, t), isOutside(row.strength, noteOf(row.lora))),
    row.clip !== null && numberElement("clip", row.clip, t("rows.clip", { name })),
    h("button", { type: "button", class: "patchbay-row-menu", "data-act": "menu", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": t("rows.menu", { name }), title: t("rows.menu", { name }) }, "⋯"),
  );
}

/** With the user's own range, where there is one. @param {Row} row @param {string} name @param {Language["t"]} t */
function strengthLabel(row, name, t) {
  const { least, most } = noteOf(row.lora);
  const label = t("rows.strength", { name });
  return least === null && most === null ? label : `${label} · ${t("notes.own", { least: least ?? "", most: most ?? "" })}`;
}

/** @param {string} field @param {number} value @param {string} label @param {boolean} [outside] of the user's range */
function numberElement(field, value, label, outside = false) {
  return h("input", { type: "text", inputmode: "decimal", class: `patchbay-row-number${outside ? " patchbay-is-outside" : ""}`, "data-act": field, value: formatStrength(value), "aria-label": label, title: label, autocomplete: "off", spellcheck: "false" });
}

/** Small bars, one for each block; the full height is one and a half. @param {RowLook["bars"]} bars */
function stripElement(bars) {
  const count = Math.max(1, bars.length);
  const width = 48 / count;
  const marks = bars.map(({ low, high, value }, at) => {
    const tallest = Math.max(Math.abs(low), Math.abs(high), Math.abs(value));
    const height = Math.max(0.6, (Math.min(tallest, TALLEST) / TALLEST) * 12);
    const kind = low < 0 ? "patchbay-is-minus" : tallest === 0 ? "patchbay-is-zero" : "";
    return svg("rect", { class: kind || null, x: (at * width).toFixed(2), y: (12 - height).toFixed(2), width: Math.max(0.5, width - (count > 30 ? 0.2 : 0.8)).toFixed(2), height: height.toFixed(2) });
  });
  return svg("svg", { viewBox: "0 0 48 12", preserveAspectRatio: "none", "aria-hidden": "true" }, ...(bars.length > 0 ? marks : [svg("path", { d: "M0 8H48" })]));
}
