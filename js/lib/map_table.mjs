// The layers of one block: keys, shapes, rank, where the scale comes from, strengths.

import { foreignText, h, setStyle } from "./dom.mjs";
import { formatCount, formatNumber, formatRatio, plainText } from "./format.mjs";
import { stateName } from "./i18n.mjs";
import { panelIcon, stateIcon } from "./icons.mjs";
import { reportWords } from "./report_words.mjs";
import { ratioColour } from "./scale.mjs";

/**
 * @typedef {import("../types/report").LayerReport} LayerReport
 * @typedef {import("./i18n.mjs").Language} Language
 */

/** A block with more layers than this shows the first ones; the whole of it is in the CSV. */
const MOST_LAYERS = 240;

/**
 * @param {string} title
 * @param {LayerReport[]} layers
 * @param {Language} language
 * @param {{close: () => void, csv: () => void}} actions
 */
export function renderBlockTable(title, layers, language, { close, csv }) {
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
      h("button", { type: "button", class: "patchbay-button", "data-key": "block csv", on: { click: csv } }, "CSV"),
      h("button", { type: "button", class: "patchbay-button patchbay-icon-button", "aria-label": t("block.close"), title: t("block.close"), "data-key": "block close", on: { click: close } }, panelIcon("close")),
    ),
    layers.length === 0 ? h("p", { class: "patchbay-muted" }, t("cell.untouched")) : h("ul", { class: "patchbay-block-layers" }, ...shown.map((layer) => layerItem(layer, language))),
    rest > 0 && h("p", { class: "patchbay-muted" }, t("block.more", { n: formatCount(rest, locale) })),
  );
}

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
    h("dl", { class: "patchbay-block-facts" }, ...facts(layer, language).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, foreignText(plainText(value, 300)))])),
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
    [t("table.modelKey"), layer.model_key && `${layer.model_key}${slice}`],
    [t("table.loraKey"), layer.lora_key],
    [t("table.shape"), layer.shape ? layer.shape.join(" × ") : ""],
    [t("table.format"), [layer.format, layer.rank === null ? "" : t("card.rank", { rank: layer.rank })].filter(Boolean).join(" · ")],
    [t("table.scale"), scale],
    [t("table.strength"), layer.state === "applied" || layer.state === "skipped" ? strength + block : ""],
    [t("table.norm"), layer.delta_norm === null ? "" : `${formatNumber(layer.delta_norm, locale)}${layer.weight_norm === null ? "" : ` / ${formatNumber(layer.weight_norm, locale)}`}`],
    [t("table.owner"), layer.owner],
    [t("table.notMeasured"), reportWords(layer.not_measured, locale)],
  ];
  return all.filter(([, value]) => value !== "");
}
