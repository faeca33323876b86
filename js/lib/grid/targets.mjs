// The nodes that a cell's settings can be put on: those of the same graph that apply a LoRA.

import { changeBegins, changeEnds, say, writeWidget } from "../comfyui/editor.mjs";

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/grid").GridSettings} GridSettings
 */

const APPLIES = "PatchbayApplyLora";

/** @param {EditorNode} node @returns {EditorNode[]} */
export const targetsOf = (node) => (node.graph?.nodes ?? []).filter((each) => each.comfyClass === APPLIES);

/** What a node is called in a list. @param {EditorNode} node */
export const nameOfTarget = (node) => `${node.title || APPLIES} (${node.id})`;

/**
 * Writes a cell's settings as one step of undo.
 * @param {EditorNode} target @param {GridSettings} settings @param {import("../words/i18n.mjs").Language} language
 */
export function useSettings(target, { lora, strength, blocks }, { t }) {
  changeBegins();
  writeWidget(target, "lora_name", lora);
  for (const name of ["strength_model", "strength_clip"]) writeWidget(target, name, /** @type {any} */ (strength));
  writeWidget(target, "blocks", blocks);
  changeEnds();
  say("info", t("grid.used", { name: nameOfTarget(target) }));
}
