// A second LoRA file beside the one that is inspected: the same or another, and how alike in each block.

import { foreignText, h } from "../ui/dom.mjs";
import { formatCount, formatNumber, formatShare, plainText } from "../ui/format.mjs";
import { levelIcon, stateIcon } from "../ui/icons.mjs";
import { reportWords } from "../words/report_words.mjs";
import { barCell, barStrip } from "./bar_strip.mjs";

/**
 * @typedef {import("../../types/report").ComparedFile} ComparedFile
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

const MOST_NAMES = 12;

/**
 * @param {{compared?: ComparedFile | null}} report
 * @param {Language} language
 */
export function renderCompared({ compared }, language) {
  if (!compared) return null;
  const { t, locale } = language;
  const name = foreignText(plainText(compared.name, 120), { class: "patchbay-found-name", title: plainText(compared.name, 300) });
  if (compared.not_compared) {
    const why = h("p", { class: "patchbay-muted" }, foreignText(plainText(reportWords(compared.not_compared, locale), 400)));
    return h("div", { class: "patchbay-pair" }, h("div", { class: "patchbay-found-head" }, levelIcon("warning"), name), why);
  }
  const words = compared.same ? t("pair.same", { factor: formatNumber(compared.factor, locale, 6) }) : t("pair.cosine", { cosine: formatNumber(compared.cosine, locale, 4) });
  const head = h("div", { class: "patchbay-found-head" }, h("span", { class: "patchbay-found-verdict" }, stateIcon(compared.same ? "applied" : "shape_mismatch"), words), name);
  const cells = compared.blocks.map(({ block, cosine, share_a, share_b }) => {
    const shares = t("pair.shares", { a: formatShare(share_a, locale), b: formatShare(share_b, locale) });
    return { block, cell: barCell(block, Math.abs(cosine ?? 0), (cosine ?? 0) < 0, [cosine === null ? t("pair.single") : t("pair.cell", { cosine: formatNumber(cosine, locale, 4) }), shares], language) };
  });
  return h("div", { class: "patchbay-pair" }, head, barStrip(cells, t("pair.strip"), language), h("p", { class: "patchbay-muted patchbay-caption" }, t("pair.strip")), ...alone(compared.only_first, "pair.onlyFirst", language), ...alone(compared.only_second, "pair.onlySecond", language));
}

/** Layers that only one of the files has. @param {string[]} names @param {"pair.onlyFirst" | "pair.onlySecond"} key @param {Language} language */
function alone(names, key, { t, locale }) {
  if (names.length === 0) return [];
  const shown = names.slice(0, MOST_NAMES).map((name) => plainText(name, 100)).join("\n");
  return [h("p", { class: "patchbay-muted", title: shown }, t(key, { n: formatCount(names.length, locale) }))];
}
