// Blocks as small bars in the order of the model: how full a cell is, is its figure; a pattern marks negative ones.

import { blockName, splitAddress } from "./blocks.mjs";
import { h, setStyle } from "../ui/dom.mjs";
import { plainText, shortKind } from "../ui/format.mjs";

/** @typedef {import("../words/i18n.mjs").Language} Language */

/**
 * @param {string} block
 * @param {number} share 0 to 1
 * @param {boolean} negative
 * @param {string[]} words
 * @param {Language} language
 */
export function barCell(block, share, negative, words, language) {
  const text = [placeName(block, language), ...words].join(" · ");
  const element = h("span", { class: `patchbay-cell patchbay-cell-present${negative ? " patchbay-cell-negative" : ""}`, role: "img", "aria-label": text, title: text });
  setStyle(element, { "--patchbay-fill": `${Math.round(100 * Math.min(1, Math.max(0, share)))}%` });
  return element;
}

/**
 * @param {{block: string, cell: HTMLElement}[]} cells
 * @param {string} label
 * @param {Language} language
 */
export function barStrip(cells, label, language) {
  /** @type {Map<string, HTMLElement[]>} */
  const groups = new Map();
  for (const { block, cell } of cells) {
    const { kind } = splitAddress(block);
    const group = groups.get(kind);
    if (group) group.push(cell);
    else groups.set(kind, [cell]);
  }
  const elements = [...groups].map(([kind, its]) =>
    h(
      "div",
      { class: "patchbay-strip-group", style: { "--patchbay-count": its.length } },
      h("span", { class: "patchbay-strip-kind" }, kindName(kind, language)),
      h("div", { class: "patchbay-strip-cells" }, ...its),
    ),
  );
  return h("div", { class: "patchbay-strip", role: "group", "aria-label": label }, ...elements);
}

/** @param {string} kind @param {Language} language */
function kindName(kind, { t }) {
  if (kind === "other" || kind === "te") return t(`column.${kind}`);
  return kind === "" ? t("column.none") : plainText(shortKind(kind), 24);
}

/** A block as people call it. @param {string} block @param {Language} language */
export const placeName = (block, language) => (["other", "te", ""].includes(block) ? kindName(block, language) : plainText(blockName(block), 60));
