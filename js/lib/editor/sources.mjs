// Where the editor's bars and its text come from: the headers of the files, and what a link brings.

import { askLayout, promotedText } from "../comfyui/editor.mjs";
import { isLinked, linkedNode, widgetText } from "../comfyui/links.mjs";
import { baseText, joinTexts } from "./base.mjs";

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/strengths").StrengthLayout} StrengthLayout
 *
 * @typedef {object} Layouts
 * @property {StrengthLayout | null} model
 * @property {StrengthLayout | null} lora
 * @property {string} problem why there is none
 * @property {boolean} more whether the LoRA's energy comes later
 */

/**
 * Reads the blocks of both files, first from the headers alone, then with the LoRA's energy.
 * @param {string} lora name of the file; empty for none
 * @param {import("../../types/editor_app").ModelFile | null} file of the model
 * @param {(found: Layouts) => boolean} found whether anybody still wants to know
 */
export async function readLayouts(lora, file, found) {
  const ofLora = `/patchbay/blocks?lora=${encodeURIComponent(lora)}`;
  const asked = file ? askLayout(`/patchbay/model_blocks?folder=${file.folder}&name=${encodeURIComponent(file.name)}`) : null;
  const quick = lora ? await askLayout(ofLora) : null;
  const model = await asked;
  const layouts = { model: model?.layout ?? null, lora: quick?.layout ?? null, problem: quick?.problem || model?.problem || "" };
  if (!found({ ...layouts, more: layouts.lora !== null }) || layouts.lora === null) return;
  const measured = await askLayout(`${ofLora}&energy=1`);
  found({ ...layouts, lora: measured.layout ?? layouts.lora, more: false });
}

/**
 * The text that counts: the widget's, or what a link brings: of the node there, or of the last run.
 * @param {EditorNode} node
 * @param {string} name of the widget
 * @param {string | undefined} ran
 */
export function textInForce(node, name, ran) {
  if (!isLinked(node, name)) return widgetText(node, name) ?? "";
  const source = linkedNode(node, name);
  const made = source && widgetText(source, name);
  if (source && typeof made === "string" && !isLinked(source, name)) return joinTexts(baseText(source), made);
  return promotedText(node, name) ?? ran ?? "";
}
