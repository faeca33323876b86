// The language of the widgets.

import { plainText } from "../ui/format.mjs";
import { STRINGS } from "./strings.mjs";

/**
 * @typedef {object} Language
 * @property {string} locale for `Intl` and `lang`
 * @property {(key: string, values?: Record<string, string | number>) => string} t
 */

/**
 * The language for a locale of ComfyUI; English where there is no translation.
 * @param {unknown} locale
 * @returns {Language}
 */
export function languageFor(locale) {
  const wanted = typeof locale === "string" ? locale.toLowerCase().split("-")[0] ?? "" : "";
  const code = Object.hasOwn(STRINGS, wanted) ? wanted : "en";
  return { locale: code, t: (key, values = {}) => fill(lookUp(code, key, values), values) };
}

/**
 * The words for a layer's state; a state that this page does not know goes by its own name.
 * @param {string} state
 * @param {Language["t"]} t
 */
export function stateName(state, t) {
  const key = `state.${state}`;
  const text = t(key);
  return text === key ? plainText(state, 40) : text;
}

/** @param {string} code @param {string} key @param {Record<string, string | number>} values */
function lookUp(code, key, values) {
  const strings = STRINGS[code] ?? {};
  const one = values.n === 1 || values.n === "1" ? strings[`${key}.one`] : undefined;
  return one ?? strings[key] ?? STRINGS.en?.[key] ?? key;
}

/** @param {string} text @param {Record<string, string | number>} values */
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}
