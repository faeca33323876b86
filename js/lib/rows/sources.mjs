// What is known of a LoRA, in words: its verdict for the model that leads to the node, and for a line of the list.

import { formatShare } from "../ui/format.mjs";
import { reportWords } from "../words/report_words.mjs";
import { noteOf } from "./notes.mjs";
import { askLines, isJudged, knownFacts, knownVerdict, loraNames, previewUrl } from "./facts.mjs";

/**
 * @typedef {import("../../types/editor_app").ModelFile} ModelFile
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

/** @param {string} lora @param {ModelFile | null} model @param {Language} language */
export function verdictText(lora, model, { t, locale }) {
  const facts = knownFacts(lora);
  const words = facts && !(facts instanceof Error) ? facts.trigger_words : [];
  const found = knownVerdict(lora, model);
  if (found === null) return { level: "", verdict: lora && !model ? t("verdict.unknown") : "", short: "", words };
  if (found instanceof Error) return { level: "error", verdict: reportWords(found.message, locale), short: "", words };
  const short = t(`verdict.${found.fit}`);
  const share = found.share === null ? short : t("verdict.share", { verdict: short, share: formatShare(found.share, locale) });
  const sentences = [share, found.summary, ...found.doubts, found.advice].filter(Boolean).map((text) => reportWords(text, locale));
  return { level: found.level, verdict: sentences.join("\n"), short: share, words };
}

/**
 * @param {ModelFile | null} model
 * @param {(text: string) => boolean} typed
 * @param {Language} language
 * @returns {import("../picker/picker.mjs").PickerSource}
 */
export const pickerSource = (model, typed, language) => ({
  names: loraNames,
  typed,
  isKnown: (name) => knownFacts(name) !== null && (model === null || isJudged(name, model)),
  level(name) {
    const found = knownVerdict(name, model);
    return found instanceof Error ? "error" : found?.level;
  },
  words(name) {
    const facts = knownFacts(name);
    return `${facts && !(facts instanceof Error) ? facts.trigger_words.join(" ") : ""} ${noteOf(name).text}`;
  },
  ask: (names) => askLines(names, model),
  known(name) {
    const facts = knownFacts(name);
    if (facts === null || (model && !isJudged(name, model))) return null;
    const { level, short, words, verdict } = verdictText(name, model, language);
    if (facts instanceof Error) return { level: "error", verdict: "", reason: verdict || facts.message, words, ranks: "", preview: "" };
    const reason = level === "error" && facts.architecture ? language.t("picker.madeFor", { name: facts.architecture }) : "";
    return { level, verdict: short, reason, words, ranks: ranksText(facts.ranks), preview: facts.preview ? previewUrl(name) : "", note: noteOf(name).text };
  },
});

/** @param {number[]} ranks */
function ranksText(ranks) {
  const [low, high] = [Math.min(...ranks), Math.max(...ranks)];
  if (ranks.length === 0) return "";
  return low === high ? String(low) : `${low}–${high}`;
}
