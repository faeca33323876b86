// The pictures of a run that goes on, as elements.

import { foreignText, h } from "../ui/dom.mjs";
import { plainText } from "../ui/format.mjs";
import { reportWords } from "../words/report_words.mjs";

/** @typedef {import("../comfyui/arrivals.mjs").Arrival} Arrival */

/**
 * The newest picture comes last.
 * @param {Arrival[]} arrivals
 * @param {import("../words/i18n.mjs").Language} language
 * @param {(image: import("../../types/compare").ImageRef) => string} urlOf
 * @returns {HTMLElement}
 */
export function arrivalsView(arrivals, { t, locale }, urlOf) {
  const { value = 0, max = 0 } = arrivals[arrivals.length - 1] ?? {};
  const picture = (/** @type {Arrival} */ { picture: image, label }) =>
    h("figure", { class: "patchbay-arrival" }, h("img", { src: urlOf(image), alt: "", draggable: "false" }), h("figcaption", {}, foreignText(reportWords(plainText(label, 120), locale))));
  return h(
    "div",
    { class: "patchbay-arrivals", lang: locale },
    h("div", { class: "patchbay-header", role: "status" }, max > 0 ? t("grid.some", { made: value, all: max }) : t("grid.soFar", { n: value })),
    h("div", { class: "patchbay-arrivals-scroll" }, ...arrivals.map(picture)),
  );
}
