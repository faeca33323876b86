// What the pictures of a feature shift and of fitted strengths have in common.

import { foreignText, h } from "../ui/dom.mjs";
import { plainText } from "../ui/format.mjs";
import { actionIcon, levelIcon } from "../ui/icons.mjs";
import { reportWords } from "../words/report_words.mjs";

/**
 * @typedef {import("../words/i18n.mjs").Language} Language
 * @typedef {{copy: (what: "text" | "json") => void}} ViewActions
 */

/**
 * Level, subject, the verdict in one sentence, and what to do.
 * @param {import("../../types/shift").Words} words @param {Language} language @param {ViewActions} actions
 */
export function wordsHeader(words, language, actions) {
  const { t, locale } = language;
  const level = ["ok", "warning", "error"].includes(words.level) ? words.level : "warning";
  const title = plainText(reportWords(words.title, locale), 200);
  return h(
    "div",
    { class: "patchbay-shift-words" },
    h(
      "div",
      { class: "patchbay-header" },
      h("span", { class: `patchbay-level patchbay-level-${level}` }, levelIcon(level), reportWords(plainText(words.verdict, 60), locale) || t(`level.${level}`)),
      h("span", { class: "patchbay-subject", title }, foreignText(title)),
      copyButtons(language, actions),
    ),
    h("p", { class: "patchbay-shift-summary" }, foreignText(plainText(reportWords(words.summary, locale), 800))),
    words.advice && h("p", { class: "patchbay-shift-advice" }, foreignText(plainText(reportWords(words.advice, locale), 400))),
  );
}

/** @param {Language} language @param {ViewActions} actions */
function copyButtons({ t }, actions) {
  const button = (/** @type {"text" | "json"} */ what, /** @type {string} */ hint) =>
    h("button", { type: "button", class: "patchbay-button patchbay-icon-button", title: hint, "aria-label": hint, on: { click: () => actions.copy(what) } }, actionIcon(what));
  return h("span", { class: "patchbay-copy patchbay-shift-copy" }, h("span", { class: "patchbay-said", role: "status" }), button("text", t("card.copyText")), button("json", t("card.copyJson")));
}

/** @param {string} title @param {...(Node | null | false)} children */
export const section = (title, ...children) => h("section", { class: "patchbay-shift-section" }, h("h4", {}, title), ...children);

/** @param {string} name @param {string} title @param {...(Node | null)} children */
export const fold = (name, title, ...children) =>
  h("details", { class: "patchbay-fold", "data-fold": name }, h("summary", {}, title), h("div", { class: "patchbay-fold-body" }, ...children));

/** @param {string} sign @param {string} words */
export const legendEntry = (sign, words) => h("span", { class: "patchbay-shift-entry" }, h("i", { class: `patchbay-shift-swatch ${sign}` }), words);

/** @typedef {{copyStrengths: (text: string, said: HTMLElement) => void}} CopyStrengths */

/**
 * What the node returns, to be read and copied.
 * @param {string} blocks @param {Language} language @param {CopyStrengths} actions
 */
export function textToUse(blocks, language, actions) {
  return section(language.t("fit.blocks"), h("div", { class: "patchbay-fit-text" }, h("code", {}, plainText(blocks, 4000)), copyButton(blocks, language, actions)));
}

/** @param {string} text @param {Language} language @param {CopyStrengths} actions */
export function copyButton(text, { t }, actions) {
  const said = h("span", { class: "patchbay-said", role: "status" });
  const click = () => actions.copyStrengths(text, said);
  return h("span", { class: "patchbay-copy" }, said, h("button", { type: "button", class: "patchbay-button", title: t("fit.copy.hint"), on: { click } }, t("fit.copy")));
}
