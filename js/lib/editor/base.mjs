// What a node puts before its own text: a preset, and another program's block weights (nodes/host/apply/block_strengths.py, compose).

import { canvasMayHaveChanged } from "../comfyui/canvas_watch.mjs";
import { requestJson } from "../comfyui/editor.mjs";
import { widgetText } from "../comfyui/links.mjs";

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/presets").PresetList} PresetList
 * @typedef {import("../../types/presets").FormatList} FormatList
 * @typedef {import("../../types/presets").Converted} Converted
 */

const NONE = "none";
const FRESH_MILLISECONDS = 60_000;
const MOST_KEPT = 32;

/** @type {Map<string, {at: number, text: string}>} */
const known = new Map();

/** Whether a node has a text before its own. @param {EditorNode} node */
export const hasBase = (node) => presetOf(node) !== "" || importOf(node) !== null;

/**
 * The text that stands before the node's own; empty until the server has told it. Asks for it anew once a minute.
 * @param {EditorNode} node
 */
export function baseText(node) {
  const preset = presetOf(node);
  const other = importOf(node);
  const texts = [];
  if (preset) texts.push(remembered(`preset ${preset}`, () => presetText(preset)));
  if (other) texts.push(remembered(`import ${JSON.stringify(other)}`, () => importText(other)));
  return joinTexts(...texts);
}

/** Texts one after the other, as the node joins them: the later item wins. @param {string[]} texts */
export const joinTexts = (...texts) => texts.map((text) => text.trim()).filter(Boolean).join("\n");

/** @param {EditorNode} node */
function presetOf(node) {
  const preset = widgetText(node, "preset") ?? "";
  return preset === NONE ? "" : preset;
}

/** @param {EditorNode} node */
function importOf(node) {
  const label = widgetText(node, "import_format") ?? NONE;
  const text = widgetText(node, "import_text") ?? "";
  return label && label !== NONE && text.trim() ? { label, text } : null;
}

/** @param {string} key @param {() => Promise<string>} ask */
function remembered(key, ask) {
  const entry = known.get(key);
  if (entry && Date.now() - entry.at < FRESH_MILLISECONDS) return entry.text;
  const asked = { at: Date.now(), text: entry?.text ?? "" };
  known.delete(key);
  known.set(key, asked);
  for (const oldest of known.keys()) {
    if (known.size <= MOST_KEPT) break;
    known.delete(oldest);
  }
  // What cannot be had counts as empty: the node itself says what is wrong with it.
  ask().then((text) => (asked.text = text), () => (asked.text = "")).then(canvasMayHaveChanged);
  return asked.text;
}

/** @param {string} value */
async function presetText(value) {
  const list = /** @type {PresetList} */ (await requestJson("/patchbay/presets"));
  return list.presets.find((preset) => preset.value === value)?.blocks ?? "";
}

/** @param {{label: string, text: string}} other */
async function importText({ label, text }) {
  const list = /** @type {FormatList} */ (await requestJson("/patchbay/strengths/formats"));
  const format = list.formats.find((candidate) => candidate.label === label);
  if (!format) return "";
  const body = { text, from: format.id };
  return /** @type {Converted} */ (await requestJson("/patchbay/strengths/convert", { method: "POST", body })).text;
}
