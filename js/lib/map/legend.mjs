// What the colours, hatches and outlines of the map mean. Only what occurs in the map is explained.

import { foreignText, h } from "../ui/dom.mjs";
import { formatCount, plainText } from "../ui/format.mjs";
import { drawsAsList, drawsWholeBlocks, shownRows } from "./figures.mjs";
import { SCALES, scaleStops } from "./scale.mjs";
import { ownerColour } from "../ui/owner_colours.mjs";

/**
 * @typedef {import("../../types/map").ModelMap} ModelMap
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

/** Statuses that the legend explains, in order. */
const EXPLAINED = /** @type {const} */ (["untouched", "skipped", "dead", "unmeasured", "partial", "missed"]);

/** @param {ModelMap} map @param {Language} language */
export function renderLegend(map, language) {
  const { t } = language;
  const keys = legendStatuses(map).map((status) => key(`patchbay-map-is-${status}`, t(`legend.${status}`)));
  if (map.foreign) keys.push(key("patchbay-map-foreign patchbay-map-coloured", t("legend.foreign")));
  return h("div", { class: "patchbay-map-legend" }, ramp(map, language), keys.length > 0 && h("ul", { class: "patchbay-map-keys" }, ...keys));
}

/** Those that need a word, in order. @param {ModelMap} map */
export const legendStatuses = (map) => EXPLAINED.filter((status) => shownStatuses(map).includes(status));

/** Statuses that can be seen: a block with a figure of its own shows nothing of its layers. @param {ModelMap} map */
function shownStatuses(map) {
  if (!drawsWholeBlocks(map)) return map.statuses;
  return map.groups.filter((group) => !drawsAsList(map, group)).flatMap((group) => shownRows(map, group)).filter((row) => row.value === null).map((row) => row.status);
}

/** @param {string} classes @param {string} text */
const key = (classes, text) => h("li", {}, h("i", { class: `patchbay-map-cell ${classes}`, "aria-hidden": "true" }), text);

/** @param {ModelMap} map @param {Language} language */
function ramp(map, { t, locale }) {
  const { ticks, place, format } = SCALES[map.scale];
  const stops = scaleStops(map.scale).map(([at, colour]) => `${colour} ${(at * 100).toFixed(1)}%`);
  const title = map.scale === "factor" ? t("legend.factor") : map.view === "resident" ? t("map.view.resident") : t(`metric.${map.metric.id}.hint`);
  return h(
    "div",
    { class: "patchbay-map-scale", role: "img", "aria-label": `${title}: ${ticks.map((tick) => format(tick, locale)).join(", ")}` },
    h("span", { class: "patchbay-map-scale-title" }, title),
    h("span", { class: "patchbay-map-ramp", style: { background: `linear-gradient(90deg, ${stops.join(", ")})` } }),
    h("span", { class: "patchbay-map-ticks" }, ...ticks.map((tick) => h("span", { style: { left: `${place(tick) * 100}%` } }, format(tick, locale)))),
  );
}

/**
 * Who patched, with the share of each. Pressing one shows it alone.
 * @param {ModelMap} map of all owners
 * @param {string | null} chosen
 * @param {Language} language
 * @param {(owner: string | null) => void} choose
 */
export function renderOwners(map, chosen, { t, locale }, choose) {
  if (map.owners.length < 2) return null;
  const items = map.owners.map(({ name, share, layers, foreign }, i) => {
    const pressed = chosen === name;
    const button = h(
      "button",
      { type: "button", class: "patchbay-owner", "aria-pressed": String(pressed), title: t("map.owner.hint"), "data-key": `owner ${i}`, on: { click: () => choose(pressed ? null : name) } },
      h("i", { class: `patchbay-owner-dot${foreign ? " patchbay-map-foreign" : ""}`, style: { "--patchbay-fill": ownerColour(i) } }),
      h("span", { class: "patchbay-owner-name" }, foreignText(foreign ? t("map.foreign") : plainText(name, 80))),
      h("span", { class: "patchbay-owner-share" }, share === null ? t("block.layers", { n: formatCount(layers, locale) }) : SCALES.share.format(share, locale)),
    );
    return h("li", {}, button);
  });
  const bar = map.owners.map(({ share }, i) => h("i", { style: { flex: share ?? 0, background: ownerColour(i) } }));
  return h("div", { class: "patchbay-owners", role: "group", "aria-label": t("map.owners") }, map.owners.every(({ share }) => share !== null) && h("span", { class: "patchbay-owners-bar", "aria-hidden": "true" }, ...bar), h("ul", {}, ...items));
}
