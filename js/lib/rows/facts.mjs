// What the server knows of a LoRA and of a LoRA with a model: asked once, kept while the page lives.

import { requestJson, routeUrl } from "../comfyui/editor.mjs";

/**
 * @typedef {import("../../types/editor_app").ModelFile} ModelFile
 * @typedef {{fit: string, level: string, share: number | null, summary: string, doubts: string[], advice: string}} Verdict
 * @typedef {{trigger_words: string[], ranks: number[], architecture: string, preview: boolean}} Facts
 */

const MOST_KEPT = 40_000;
const FRESH_MILLISECONDS = 60_000;

/** @type {Map<string, {at: number, value: unknown}>} */
const answers = new Map();
/** @type {Map<string, Promise<unknown>>} */
const waiting = new Map();

/** @param {string} lora @param {ModelFile} model */
const verdictRoute = (lora, { folder, name }) => `/patchbay/verdict?lora=${encodeURIComponent(lora)}&folder=${encodeURIComponent(folder)}&model=${encodeURIComponent(name)}`;

/** @param {string} lora */
const factsRoute = (lora) => `/patchbay/lora_facts?name=${encodeURIComponent(lora)}`;

/** What is known now: null where it was not asked, an Error where there is none. @param {string} route */
function knownAnswer(route) {
  const found = answers.get(route);
  return found ? found.value : null;
}

/** @param {string} route @returns {Promise<unknown>} */
function ask(route) {
  const found = answers.get(route);
  if (found && Date.now() - found.at < FRESH_MILLISECONDS) return Promise.resolve(found.value);
  const running = waiting.get(route) ?? requestJson(route).catch((error) => error).then((value) => {
    waiting.delete(route);
    keep(route, Date.now(), value);
    return value;
  });
  waiting.set(route, running);
  return running;
}

/** @param {string} lora @param {ModelFile | null} model @returns {Verdict | Error | null} */
export const knownVerdict = (lora, model) => (model && lora ? unlessForgotten(model, /** @type {Verdict | Error | null} */ (knownAnswer(verdictRoute(lora, model)))) : null);

/** Whether there is an answer, be it that there is none. @param {string} lora @param {ModelFile} model */
export const isJudged = (lora, model) => knownAnswer(verdictRoute(lora, model)) !== null;

/** ComfyUI forgets what runs had when it ends, which is no fault of the LoRA's. @param {ModelFile} model @param {Verdict | Error | null} found */
const unlessForgotten = ({ folder }, found) => (folder === "ran" && found instanceof Error ? null : found);

/** @param {string} lora @returns {Facts | Error | null} */
export const knownFacts = (lora) => /** @type {Facts | Error | null} */ (knownAnswer(factsRoute(lora)));

/** @param {string} lora @param {ModelFile | null} model */
export const askVerdict = (lora, model) => (model && lora ? ask(verdictRoute(lora, model)) : Promise.resolve(null));

/** @param {string} lora */
export const askFacts = (lora) => ask(factsRoute(lora));

/**
 * Asks for many at once, those that are not known.
 * @param {string[]} names
 * @param {ModelFile | null} model
 */
export async function askLines(names, model) {
  const body = { names, folder: model?.folder ?? "", model: model?.name ?? "" };
  const { lines } = /** @type {{lines: {name: string, facts: unknown, verdict: unknown}[]}} */ (await requestJson("/patchbay/lora_lines", { method: "POST", body }));
  const at = Date.now();
  for (const { name, facts, verdict } of lines) {
    keep(factsRoute(name), at, facts);
    if (model && verdict) keep(verdictRoute(name, model), at, verdict);
  }
}

/** @param {string} route @param {number} at @param {unknown} value */
function keep(route, at, value) {
  const problem = /** @type {{error?: unknown} | null} */ (value)?.error;
  answers.delete(route);
  answers.set(route, { at, value: typeof problem === "string" ? new Error(problem) : value });
  for (const oldest of answers.keys()) {
    if (answers.size <= MOST_KEPT) break;
    answers.delete(oldest);
  }
}

/** @param {string} lora */
export const previewUrl = (lora) => routeUrl(`/patchbay/lora_preview?name=${encodeURIComponent(lora)}`);

/** The names of the user's LoRAs. @returns {Promise<string[]>} */
export async function loraNames() {
  const answer = /** @type {{names: string[]}} */ (await requestJson("/patchbay/lora_names"));
  return answer.names;
}
