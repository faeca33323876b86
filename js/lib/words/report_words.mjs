// Sentences of a report in the language of the page. Python writes them in English; the table has their patterns. Pure.

import { REPORT_SENTENCES } from "./strings_report.mjs";

/** Longer texts are not looked up: none of ours is. */
const LONGEST = 1200;

/** @typedef {{pattern: RegExp, names: string[], text: string}} Sentence */

/** @type {Map<string, Sentence[]>} */
const tables = new Map();

/**
 * A sentence that Python wrote, in the language of the page; as it is where the table does not have it.
 * Sentences after each other, and remarks joined by a semicolon, are found one by one.
 * @param {string | null | undefined} text
 * @param {string} locale
 * @returns {string}
 */
export function reportWords(text, locale) {
  const whole = text ?? "";
  if (!Object.hasOwn(REPORT_SENTENCES, locale) || whole.length > LONGEST) return whole;
  const sentences = whole.split(/(?<=\.) (?=[A-Z0-9])/);
  const each = sentences.map((part) => lookUp(part, locale));
  // First one by one: a value may be any text, also one with a sentence's end and another sentence in it.
  if (sentences.length > 1 && each.every((words) => words !== null)) return each.join("");
  const found = lookUp(whole, locale);
  if (found !== null) return found;
  if (each.some((words) => words !== null)) return each.map((words, at) => words ?? `${at > 0 ? " " : ""}${sentences[at]}`).join("");
  const remarks = whole.split("; ");
  return remarks.length > 1 ? remarks.map((part) => lookUp(part, locale) ?? part).join("; ") : whole;
}

/** @param {string} text @param {string} locale @returns {string | null} */
function lookUp(text, locale) {
  for (const { pattern, names, text: words } of tableOf(locale)) {
    const found = pattern.exec(text);
    if (!found) continue;
    const values = new Map(names.map((name, at) => [name, found[at + 1] ?? ""]));
    return words.replace(/\{(\w+|[#*]\w+)\}/g, (_, name) => (name.startsWith("*") ? reportWords(values.get(name), locale) : values.get(name) ?? ""));
  }
  return null;
}

/** @param {string} locale */
function tableOf(locale) {
  const known = tables.get(locale);
  if (known) return known;
  const made = (REPORT_SENTENCES[locale] ?? []).map(([template, text]) => compile(template, text));
  tables.set(locale, made);
  return made;
}

/**
 * `{name}` is any text, `{#name}` a number or a share, `{*name}` a text that is looked up again.
 * @param {string} template @param {string} text @returns {Sentence}
 */
function compile(template, text) {
  /** @type {string[]} */
  const names = [];
  const source = template.split(/(\{[#*]?\w+\})/).map((part) => {
    if (!/^\{.*\}$/.test(part)) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    names.push(part.slice(1, -1));
    return part[1] === "#" ? "([-+\\d.,e]+%?)" : "(.+?)";
  });
  return { pattern: new RegExp(`^${source.join("")}$`, "s"), names, text };
}
