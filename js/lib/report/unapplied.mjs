// The layers that change nothing: by state, then by reason, with the layers each reason holds for.

import { layerName } from "./blocks.mjs";
import { foreignKey, foreignText, h } from "../ui/dom.mjs";
import { formatCount, plainText } from "../ui/format.mjs";
import { stateName } from "../words/i18n.mjs";
import { stateIcon } from "../ui/icons.mjs";
import { reportWords } from "../words/report_words.mjs";

/**
 * @typedef {ReturnType<typeof import("./blocks.mjs").unappliedByReason>} UnappliedGroups
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

const MOST_REASONS = 40;
const MOST_LAYERS = 24;

/** @param {UnappliedGroups} groups @param {Language} language */
export function renderUnapplied(groups, language) {
  return h("div", { class: "patchbay-unapplied" }, ...groups.map((group) => stateGroup(group, language)));
}

/** @param {UnappliedGroups[number]} group @param {Language} language */
function stateGroup(group, language) {
  const { t, locale } = language;
  const shown = group.reasons.slice(0, MOST_REASONS);
  const rest = group.reasons.slice(MOST_REASONS).reduce((sum, reason) => sum + reason.layers.length, 0);
  return h(
    "section",
    {},
    h("h4", {}, stateIcon(group.state), `${formatCount(group.count, locale)} ${stateName(group.state, t)}`),
    ...shown.map((reason) => reasonGroup(reason, language)),
    rest > 0 && h("p", { class: "patchbay-muted" }, t("card.more", { n: formatCount(rest, locale) })),
  );
}

/** @param {UnappliedGroups[number]["reasons"][number]} group @param {Language} language */
function reasonGroup({ reason, layers }, { t, locale }) {
  const names = layers.slice(0, MOST_LAYERS).map((layer) => h("li", {}, foreignKey(plainText(layerName(layer), 160))));
  const rest = layers.length - names.length;
  return h(
    "div",
    { class: "patchbay-reason" },
    reason && h("p", {}, foreignText(plainText(reportWords(reason, locale), 600))),
    h(
      "ul",
      { class: "patchbay-names" },
      ...names,
      rest > 0 && h("li", { class: "patchbay-muted" }, t("card.more", { n: formatCount(rest, locale) })),
    ),
  );
}
