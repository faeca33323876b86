// What an inspected file says about itself.

import { foreignText, h } from "../ui/dom.mjs";
import { formatBytes, formatCount, plainText, shortKind } from "../ui/format.mjs";
import { reportWords } from "../words/report_words.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

/**
 * Only for a file that was inspected: beside a verdict on a model they would be noise.
 * @param {Report} report
 * @param {Language} language
 */
export function renderFacts(report, language) {
  if (report.kind !== "inspect") return null;
  const facts = [...loraFacts(report, language), ...modelFacts(report, language)].filter(([, value]) => value !== "");
  return facts.length > 0 ? factList(facts.map(([key, value]) => [language.t(key), value])) : null;
}

/** @param {[string, string][]} facts */
export function factList(facts) {
  const rows = facts.flatMap(([name, value]) => [h("dt", {}, foreignText(plainText(name, 80))), h("dd", {}, foreignText(plainText(value, 300)))]);
  return h("dl", { class: "patchbay-facts" }, ...rows);
}

/** @param {Report} report @param {Language} language @returns {[string, string][]} */
function loraFacts({ lora }, { locale }) {
  if (!lora) return [];
  const formats = Object.entries(lora.formats).map(([format, n]) => `${format} × ${formatCount(n, locale)}`);
  return [
    ["fact.madeFor", reportWords(lora.architecture, locale)],
    ["fact.base", lora.base_model],
    ["fact.writer", [reportWords(lora.writer, locale), lora.key_style].filter(Boolean).join(" · ")],
    ["fact.formats", formats.join(", ")],
    ["fact.triggers", lora.trigger_words.slice(0, 20).join(", ")],
    ["fact.size", lora.size_bytes > 0 ? formatBytes(lora.size_bytes, locale) : ""],
  ];
}

/** @param {Report} report @param {Language} language @returns {[string, string][]} */
function modelFacts({ model }, { locale }) {
  if (!model) return [];
  const blocks = model.blocks.map(({ kind, first, count }) => `${shortKind(kind)} ${first}–${first + count - 1}`);
  return [
    ["fact.parameters", model.parameter_count > 0 ? formatCount(model.parameter_count, locale) : ""],
    ["fact.stored", model.dtype],
    ["fact.blocks", blocks.join(", ")],
  ];
}
