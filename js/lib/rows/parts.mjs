// What opens below the rows: the report of the last run, and the bars of one row. Each is the panel that stands on other
// nodes, given a node that has one LoRA: the row.

import { askLayout } from "../comfyui/editor.mjs";
import { createStrengthEditor } from "../editor/widget.mjs";
import { statesOf, toBoard } from "../editor/state.mjs";
import { createReportPanel } from "../report/widget.mjs";
import { h } from "../ui/dom.mjs";

/**
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 * @typedef {import("../comfyui/node_panels.mjs").PanelHost} PanelHost
 * @typedef {import("./model.mjs").Row} Row
 * @typedef {{root: HTMLElement, panel: Panel, pixels: number}} OpenPart
 */

const REPORT_PIXELS = 220;
const EDITOR_PIXELS = 256;

/** @param {PanelHost} host @returns {OpenPart} */
export function reportPart(host) {
  const root = partRoot(REPORT_PIXELS);
  return { root, panel: createReportPanel({ ...host, root, contentChanged: () => {} }), pixels: REPORT_PIXELS };
}

/**
 * @param {PanelHost} host
 * @param {() => Row | undefined} row
 * @param {(blocks: string) => void} write
 * @returns {OpenPart}
 */
export function editorPart(host, row, write) {
  const root = partRoot(EDITOR_PIXELS);
  const node = rowNode(host, row, write);
  return { root, panel: createStrengthEditor({ ...host, node, root, contentChanged: () => {} }), pixels: EDITOR_PIXELS };
}

/** @param {number} pixels */
const partRoot = (pixels) => h("div", { class: "patchbay-panel patchbay-rows-part", style: { height: `${pixels}px` } });

/** The row as a node with one LoRA, at the place of the real one. @param {PanelHost} host @param {() => Row | undefined} row @param {(blocks: string) => void} write */
function rowNode({ node }, row, write) {
  const real = /** @type {import("../../types/editor_app").EditorNode} */ (node);
  const blocks = {
    name: "blocks",
    get value() {
      return row()?.blocks ?? "";
    },
    set value(text) {
      write(String(text ?? ""));
    },
  };
  const lora = {
    name: "lora_name",
    get value() {
      return row()?.lora ?? "";
    },
  };
  return /** @type {import("../../types/app").ComfyNode} */ (/** @type {unknown} */ ({
    id: real.id, comfyClass: real.comfyClass, widgets: [blocks, lora],
    get graph() {
      return real.graph;
    },
    get inputs() {
      return real.inputs;
    },
    get outputs() {
      return real.outputs;
    },
    getInputLink: (/** @type {number} */ slot) => real.getInputLink?.(slot) ?? null,
  }));
}

/**
 * The strength of each block that a LoRA file names, under a text of strengths.
 * @param {string} lora
 * @param {string} blocks
 * @param {(key: string) => string} t
 */
export async function barsOf(lora, blocks, t) {
  const { layout } = await askLayout(`/patchbay/blocks?lora=${encodeURIComponent(lora)}`);
  if (!layout) return [];
  const board = toBoard(layout, null, t);
  const { stateOf } = statesOf(board, blocks);
  return board.groups.flatMap(({ bars }) => bars.map(({ selector }) => stateOf(selector))).map(({ value, low, high }) => ({ value: value ?? (low + high) / 2, low, high }));
}
