// Where what arrives at an input comes from: the way that ComfyUI itself takes when it queues the canvas. Pure.

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/editor_app").EditorGraph} EditorGraph
 * @typedef {import("../../types/editor_app").EditorLink} EditorLink
 * @typedef {(graph: EditorGraph) => EditorNode | null | undefined} HostOf the node that stands for a subgraph
 *
 * @typedef {{node: EditorNode, slot: number} | {value: unknown, rolling: boolean}} Origin a node's output, or a value that a
 *   widget gives
 */

/** Ids of the nodes that stand for a subgraph's inputs and outputs. */
const SUBGRAPH_INPUT = -10;
export const SUBGRAPH_OUTPUT = -20;
const [MUTED, BYPASSED] = [2, 4];
const MOST_STEPS = 200;

/**
 * @param {EditorNode} node
 * @param {number} slot
 * @returns {EditorLink | null}
 */
export function linkInto(node, slot) {
  if (slot < 0 || !node.graph || slot >= (node.inputs?.length ?? 0)) return null;
  // A node that stands for a subgraph answers with a link inside of it.
  if (node.getInputLink && !node.subgraph) return node.getInputLink(slot) ?? null;
  for (const link of node.graph.links?.values() ?? []) {
    if (link.target_slot === slot && String(link.target_id) === String(node.id)) return link;
  }
  return null;
}

/**
 * @param {EditorNode} node
 * @param {number} slot
 * @param {HostOf} hostOf
 * @returns {Origin | null | undefined} null where nothing arrives, undefined where this page cannot tell
 */
export const originOf = (node, slot, hostOf) => back(node, slot, hostOf, MOST_STEPS);

/**
 * @param {EditorNode} node
 * @param {number} slot
 * @param {HostOf} hostOf
 * @param {number} steps
 * @returns {Origin | null | undefined}
 */
function back(node, slot, hostOf, steps) {
  const { graph } = node;
  const link = linkInto(node, slot);
  if (!graph || !link) return null;
  if (steps <= 0) return undefined;
  if (Number(link.origin_id) !== SUBGRAPH_INPUT) return through(graph.getNodeById?.(link.origin_id), link.origin_slot, hostOf, steps - 1);
  const host = hostOf(graph);
  if (!host) return undefined;
  return back(host, link.origin_slot, hostOf, steps - 1) ?? ownValue(host, link.origin_slot);
}

/** What an input's own widget gives. @param {EditorNode} node @param {number} slot @returns {Origin | null} */
function ownValue(node, slot) {
  const input = node.inputs?.[slot];
  const name = input?.widget?.name ?? input?.name;
  return name === undefined ? null : widgetOrigin(node, name);
}

/**
 * The value of a widget, and whether ComfyUI gives it a new one after each run.
 * @param {EditorNode} node
 * @param {string} name
 * @returns {{value: unknown, rolling: boolean} | null}
 */
export function widgetOrigin(node, name) {
  const at = node.widgets?.findIndex((widget) => widget.name === name) ?? -1;
  const widget = node.widgets?.[at];
  if (!widget) return null;
  const control = [...(widget.linkedWidgets ?? []), node.widgets?.[at + 1]].find((each) => /^control_(after|before)_generate$/.test(each?.name ?? ""));
  return { value: widget.value, rolling: control !== undefined && control.value !== "fixed" };
}

/**
 * @param {EditorNode | null | undefined} node
 * @param {number} slot
 * @param {HostOf} hostOf
 * @param {number} steps
 * @returns {Origin | null | undefined}
 */
function through(node, slot, hostOf, steps) {
  if (!node || node.mode === MUTED) return null;
  if (node.mode === BYPASSED) return back(node, passedSlot(node, slot), hostOf, steps);
  const inner = node.subgraph;
  if (inner) {
    const id = inner.outputs?.[slot]?.linkIds?.[0];
    const link = id === undefined ? null : inner.getLink?.(id);
    if (!link) return null;
    if (Number(link.origin_id) === SUBGRAPH_INPUT) return back(node, link.origin_slot, hostOf, steps) ?? ownValue(node, link.origin_slot);
    return through(inner.getNodeById?.(link.origin_id), link.origin_slot, hostOf, steps - 1);
  }
  if (!node.isVirtualNode) return { node, slot };
  const first = node.widgets?.[0];
  if (node.type === "PrimitiveNode" && first?.name !== undefined) return widgetOrigin(node, first.name);
  return node.inputs?.length === 1 ? back(node, 0, hostOf, steps) : undefined;
}

/** The input whose value a bypassed node hands on: that beside the output, or the first of its type. @param {EditorNode} node @param {number} slot */
function passedSlot(node, slot) {
  const type = node.outputs?.[slot]?.type;
  if (node.inputs?.[slot]?.type === type) return slot;
  return node.inputs?.findIndex((input) => input.type === type) ?? -1;
}
