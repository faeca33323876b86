// LoRAs that were looked for in a model: which are there, how strongly, and in which blocks.

import { blockName, splitAddress } from "./blocks.mjs";
import { foreignText, h, setStyle } from "../ui/dom.mjs";
import { formatCount, formatNumber, formatRatio, plainText, shortKind } from "../ui/format.mjs";
import { levelIcon, stateIcon } from "../ui/icons.mjs";
import { reportWords } from "../words/report_words.mjs";

/**
 * @typedef {import("../../types/report").FoundLora} FoundLora
 * @typedef {import("../../types/report").BlockStrength} BlockStrength
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

/** Smaller strengths are none. */
const NOTHING = 5e-5;
const MOST = 40;

/**
 * @param {{found?: FoundLora[]}} report
 * @param {Language} language
 */
export function renderFound({ found }, language) {
  if (!found?.length) return null;
  const strongest = Math.max(...found.flatMap((lora) => lora.blocks.map(({ strength }) => Math.abs(strength ?? 0))));
  return h("ul", { class: "patchbay-found", "aria-label": language.t("found.label") }, ...found.slice(0, MOST).map((lora) => rowElement(lora, strongest, language)));
}

/** @param {FoundLora} lora @param {number} strongest @param {Language} language */
function rowElement(lora, strongest, language) {
  const { t, locale } = language;
  const there = lora.verdict === "verified" || lora.verdict === "partly";
  const head = h(
    "div",
    { class: "patchbay-found-head" },
    h("span", { class: `patchbay-found-verdict patchbay-found-${lora.verdict.replace(" ", "-")}` }, iconOf(lora.verdict), t(`found.is.${lora.verdict}`)),
    foreignText(plainText(lora.name, 120), { class: "patchbay-found-name", title: plainText(lora.name, 300) }),
    there && h("strong", { class: "patchbay-found-strength", title: t("found.error", { error: formatNumber(lora.error, locale, 2) }) }, signed(lora.strength, locale)),
  );
  const reason = lora.reason && (lora.verdict !== "verified") ? h("p", { class: "patchbay-muted" }, foreignText(plainText(reportWords(lora.reason, locale), 400))) : "";
  const exact = there && h("p", { class: "patchbay-muted" }, t("found.exact", { n: formatCount(lora.exact, locale), layers: formatCount(lora.layers, locale) }));
  return h("li", {}, head, there && strip(lora, strongest, language), reason, exact);
}

/** The strength in each block: the fullest cell is the strongest, hatched ones are negative. @param {FoundLora} lora @param {number} strongest @param {Language} language */
function strip(lora, strongest, { t, locale }) {
  /** @type {Map<string, HTMLElement[]>} */
  const groups = new Map();
  for (const block of lora.blocks) {
    const { kind } = splitAddress(block.block);
    const cells = groups.get(kind) ?? [];
    cells.push(cellElement(block, strongest, t, locale));
    groups.set(kind, cells);
  }
  const elements = [...groups].map(([kind, cells]) =>
    h(
      "div",
      { class: "patchbay-strip-group", style: { "--patchbay-count": cells.length } },
      h("span", { class: "patchbay-strip-kind" }, kind === "other" ? t("column.other") : plainText(shortKind(kind), 24)),
      h("div", { class: "patchbay-strip-cells" }, ...cells),
    ),
  );
  return h("div", { class: "patchbay-strip", role: "group", "aria-label": t("found.strip") }, ...elements);
}

/** @param {BlockStrength} block @param {number} strongest @param {Language["t"]} t @param {string} locale */
function cellElement({ block, strength, rest }, strongest, t, locale) {
  const name = block === "other" ? t("column.other") : plainText(blockName(block), 60);
  const words = [name, strength === null ? t("found.untouched") : t("found.cell", { strength: signed(strength, locale) })];
  if (rest !== null) words.push(t("found.rest", { rest: formatRatio(rest, locale) }));
  const text = words.join(" · ");
  const element = h("span", { class: `patchbay-cell patchbay-cell-present${(strength ?? 0) < 0 ? " patchbay-cell-negative" : ""}`, role: "img", "aria-label": text, title: text });
  setStyle(element, { "--patchbay-fill": `${strongest > 0 ? Math.round((100 * Math.abs(strength ?? 0)) / strongest) : 0}%` });
  return element;
}

/** @param {string} verdict */
function iconOf(verdict) {
  if (verdict === "verified") return stateIcon("applied");
  if (verdict === "not") return stateIcon("skipped");
  return verdict === "partly" ? levelIcon("warning") : stateIcon("not_understood");
}

/** @param {number | null} value @param {string} locale */
function signed(value, locale) {
  if (value === null || Math.abs(value) < NOTHING) return value === null ? "–" : "0";
  return `${value < 0 ? "−" : ""}${formatNumber(Math.abs(value), locale)}`;
}
