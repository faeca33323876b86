// The layers of one block: keys, shapes, rank, where the scale comes from, strengths.

import { foreignKey, foreignText, h, setStyle } from "../ui/dom.mjs";
import { formatCount, formatNumber, formatRatio, plainText } from "../ui/format.mjs";
import { stateName } from "../words/i18n.mjs";
import { actionIcon, panelIcon, stateIcon } from "../ui/icons.mjs";
import { OTHER_NODE } from "./figures.mjs";
import { reportWords } from "../words/report_words.mjs";
import { ratioColour } from "../ui/scale.mjs";

/**
 * @typedef {import("../../types/report").LayerReport} LayerReport
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

/** A block with more layers than this shows the first ones; the whole of it is in the CSV. */
const MOST_LAYERS = 240;

/**
 * @param {string} title
 * @param {LayerReport[]} layers
 * @param {Language} language
 * @param {{close: () => void, copy: () => void, csv: () => void}} actions
 */
export function renderBlockTable(title, layers, language, { close, copy, csv }) {
  const { t, locale } = language;
  const shown = layers.slice(0, MOST_LAYERS);
  const rest = layers.length - shown.length;
  const n = formatCount(layers.length, locale);
  return h(
    "section",
    { class: "patchbay-block", "aria-label": title, tabindex: -1, "data-key": "block" },
    h(
      "header",
      {},
      h("h4", {}, foreignText(title), h("small", {}, ` ${t("block.layers", { n })}`)),
      iconButton("block copy", t("block.copy"), copy, actionIcon("text")),
      h("button", { type: "button", class: "patchbay-button", title: t("block.csv"), "aria-label": t("block.csv"), "data-key": "block csv", on: { click: csv } }, "CSV"),
      iconButton("block close", t("block.close"), close, panelIcon("close")),
    ),
    layers.length === 0 ? h("p", { class: "patchbay-muted" }, t("cell.untouched")) : h("ul", { class: "patchbay-block-layers" }, ...shown.map((layer) => layerItem(layer, language))),
    rest > 0 && h("p", { class: "patchbay-muted" }, t("block.more", { n: formatCount(rest, locale) })),
  );
}

/** @param {string} key @param {string} label @param {() => void} click @param {Node} icon */
const iconButton = (key, label, click, icon) => h("button", { type: "button", class: "patchbay-button patchbay-icon-button", "aria-label": label, title: label, "data-key": key, on: { click } }, icon);

/** @param {LayerReport} layer @param {Language} language */
function layerItem(layer, language) {
  const { t, locale } = language;
  const changed = layer.state === "applied" && layer.norm_ratio !== null;
  const swatch = h("i", { class: "patchbay-swatch" });
  if (changed) setStyle(swatch, { background: ratioColour(layer.norm_ratio ?? 0) });
  return h(
    "li",
    { class: `patchbay-block-layer patchbay-layer-${layer.state}` },
    h(
      "div",
      { class: "patchbay-block-line" },
      stateIcon(layer.state),
      h("strong", {}, foreignText(plainText(layer.layer || layer.lora_key || layer.model_key, 120))),
      h("span", { class: "patchbay-figure" }, changed && swatch, changed ? formatRatio(layer.norm_ratio, locale) : stateName(layer.state, t)),
    ),
    h("dl", { class: "patchbay-block-facts" }, ...facts(layer, language).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, foreignKey(plainText(value, 300)))])),
    layer.reason && h("p", { class: "patchbay-block-reason" }, foreignText(plainText(reportWords(layer.reason, locale), 400))),
  );
}

/** @param {LayerReport} layer @param {Language} language @returns {[string, string][]} */
function facts(layer, { t, locale }) {
  const strength = layer.strength === null ? "" : formatNumber(layer.strength, locale);
  const block = layer.block_strength !== null && layer.block_strength !== 1 ? ` (${t("table.blockStrength", { strength: formatNumber(layer.block_strength, locale) })})` : "";
  const scale = layer.scale === null ? "" : [formatNumber(layer.scale, locale), layer.scale_source].filter(Boolean).join(" · ");
  const slice = layer.slice ? ` [${layer.slice[1]}–${layer.slice[1] + layer.slice[2] - 1}]` : "";
  /** @type {[string, string][]} */
  const all = [
    [t("table.owner"), ownerName(layer.owner, t)],
    [t("table.modelKey"), layer.model_key && `${layer.model_key}${slice}`],
    [t("table.loraKey"), layer.lora_key],
    [t("table.shape"), layer.shape ? layer.shape.join(" × ") : ""],
    [t("fact.stored"), layer.stored ?? ""],
    [t("table.format"), [layer.format, layer.rank === null ? "" : t("card.rank", { rank: layer.rank })].filter(Boolean).join(" · ")],
    [t("table.scale"), scale],
    [t("table.strength"), layer.state === "applied" || layer.state === "skipped" ? strength + block : ""],
    [t("table.deltaNorm"), normsText(layer, t, locale)],
    [t("table.weightNorm"), layer.weight_norm === null ? "" : formatNumber(layer.weight_norm, locale)],
    [t("table.notMeasured"), reportWords(layer.not_measured, locale)],
  ];
  return all.filter(([, value]) => value !== "");
}

/** The change at strength 1, and its largest singular value where that is known. @param {LayerReport} layer @param {Language["t"]} t @param {string} locale */
function normsText(layer, t, locale) {
  if (layer.delta_norm === null) return "";
  const spectral = typeof layer.spectral_norm === "number" ? ` (${t("table.spectral", { norm: formatNumber(layer.spectral_norm, locale) })})` : "";
  return formatNumber(layer.delta_norm, locale) + spectral;
}

/** @param {string} owner @param {Language["t"]} t */
const ownerName = (owner, t) => (owner === OTHER_NODE ? t("map.foreign") : owner);
