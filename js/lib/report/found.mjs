// LoRAs that were looked for in a model: which are there, how strongly, and in which blocks.

import { barCell, barStrip } from "./bar_strip.mjs";
import { foreignText, h } from "../ui/dom.mjs";
import { formatCount, formatNumber, formatRatio, plainText } from "../ui/format.mjs";
import { levelIcon, stateIcon } from "../ui/icons.mjs";
import { reportWords } from "../words/report_words.mjs";

/**
 * @typedef {import("../../types/report").FoundLora} FoundLora
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

/** The strength in each block: the fullest cell is the strongest, patterned ones are negative. @param {FoundLora} lora @param {number} strongest @param {Language} language */
function strip(lora, strongest, language) {
  const { t, locale } = language;
  const cells = lora.blocks.map(({ block, strength, rest }) => {
    const words = [strength === null ? t("found.untouched") : t("found.cell", { strength: signed(strength, locale) })];
    if (rest !== null) words.push(t("found.rest", { rest: formatRatio(rest, locale) }));
    return { block, cell: barCell(block, strongest > 0 ? Math.abs(strength ?? 0) / strongest : 0, (strength ?? 0) < 0, words, language) };
  });
  return barStrip(cells, t("found.strip"), language);
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
