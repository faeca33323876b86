// The list of LoRAs on nodes with one LoRA: ours and ComfyUI's own, from the node's menu.

import { app } from "../comfyui/app.mjs";
import { changeBegins, changeEnds, writeWidget } from "../comfyui/editor.mjs";
import { knownModel } from "../comfyui/known_models.mjs";
import { language } from "../comfyui/page_language.mjs";
import { openPicker } from "../picker/picker.mjs";
import { loadNotes } from "./note_store.mjs";
import { pickerSource } from "./sources.mjs";

/** @typedef {import("../../types/editor_app").EditorNode} EditorNode */

const LORA_WIDGET = "lora_name";

/** Opens the list beside the node; one step of undo. @param {import("../../types/app").ComfyNode} node */
export function chooseLora(node) {
  const at = /** @type {EditorNode} */ (node);
  void loadNotes();
  openPicker(placeOf(at), pickerSource(knownModel(at), () => false, language()), language(), (name) => {
    changeBegins();
    writeWidget(at, LORA_WIDGET, name);
    changeEnds();
  });
}

/** Where the node is on the page; the canvas gets the focus back. @param {EditorNode} node @returns {import("../picker/picker.mjs").Place} */
function placeOf(node) {
  const { canvas, ds } = app.canvas;
  const [x = 0, y = 0] = Array.from(/** @type {{pos?: ArrayLike<number>}} */ (/** @type {unknown} */ (node)).pos ?? []);
  const page = canvas.getBoundingClientRect();
  const left = page.left + (x + ds.offset[0]) * ds.scale;
  const top = page.top + (y + ds.offset[1]) * ds.scale;
  return { getBoundingClientRect: () => new DOMRect(left, top, 0, 0), focus: () => canvas.focus({ preventScroll: true }) };
}
