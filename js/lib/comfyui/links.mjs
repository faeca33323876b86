// Which files a node's links lead to. Knows graphs only as data.

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/editor_app").EditorGraph} EditorGraph
 * @typedef {import("../../types/editor_app").EditorLink} EditorLink
 * @typedef {import("../../types/editor_app").ModelFile} ModelFile
 */

/** Widgets in which loaders keep the name of their model file. @type {[string, ModelFile["folder"]][]} */
const LOADER_WIDGETS = [["unet_name", "diffusion_models"], ["ckpt_name", "checkpoints"], ["model_name", "diffusion_models"]];

/** Ids of the nodes that stand for a subgraph's inputs and outputs. */
const SUBGRAPH_INPUT = -10;
const SUBGRAPH_OUTPUT = -20;
const LONGEST_WAY = 200;

/**
 * The value of a widget, as text.
 * @param {EditorNode | null | undefined} node
 * @param {string} name
 * @returns {string | null} null where the node has none of this name
 */
export function widgetText(node, name) {
  const widget = node?.widgets?.find((candidate) => candidate.name === name);
  return widget === undefined ? null : String(widget.value ?? "");
}

/** @param {EditorNode} node @param {string} name */
export const inputNamed = (node, name) => node.inputs?.find((input) => input.name === name || input.widget?.name === name);

/** Whether a widget's value comes in through a link. @param {EditorNode} node @param {string} name */
export const isLinked = (node, name) => (inputNamed(node, name)?.link ?? null) !== null;

/**
 * Follows the model back to the loader that it comes from, through other nodes and in and out of subgraphs.
 * @param {EditorNode} node
 * @param {(graph: EditorGraph) => EditorNode | null | undefined} hostOf the node that stands for a subgraph
 * @returns {ModelFile | null} null where no loader with a file is found
 */
export function modelFileOf(node, hostOf) {
  /** @type {EditorNode | null | undefined} */
  let at = node;
  for (let steps = 0; at && steps < LONGEST_WAY; steps += 1) {
    for (const [name, folder] of at === node ? [] : LOADER_WIDGETS) {
      const value = widgetText(at, name);
      if (value) return { folder, name: value };
    }
    at = sourceOf(at, inputNamed(at, "model") ?? at.inputs?.find(({ type }) => type === "MODEL") ?? onlyInput(at), hostOf);
  }
  return null;
}

/** A reroute has one input of any type. @param {EditorNode} node */
const onlyInput = (node) => (node.inputs?.length === 1 ? node.inputs[0] : undefined);

/**
 * @param {EditorNode} node
 * @param {{link?: number | null} | undefined} input
 * @param {(graph: EditorGraph) => EditorNode | null | undefined} hostOf
 * @returns {EditorNode | null | undefined}
 */
function sourceOf(node, input, hostOf) {
  const { graph } = node;
  const link = graph && typeof input?.link === "number" ? graph.getLink?.(input.link) : null;
  if (!graph || !link) return null;
  if (Number(link.origin_id) === SUBGRAPH_INPUT) {
    const host = hostOf(graph);
    return host ? sourceOf(host, host.inputs?.[link.origin_slot], hostOf) : null;
  }
  return insideOf(graph.getNodeById?.(link.origin_id), link.origin_slot);
}

/**
 * A subgraph's output comes from a node inside it.
 * @param {EditorNode | null | undefined} node
 * @param {number} slot
 * @returns {EditorNode | null | undefined}
 */
function insideOf(node, slot) {
  const inner = node?.subgraph;
  const id = inner?.outputs?.[slot]?.linkIds?.[0];
  const link = inner && id !== undefined ? inner.getLink?.(id) : null;
  return link && inner ? insideOf(inner.getNodeById?.(link.origin_id), link.origin_slot) : node;
}

/**
 * The node whose LoRA a text of block strengths is for: the node itself, or the first one that its output leads to.
 * @param {EditorNode} node
 * @param {(graph: EditorGraph) => EditorNode | null | undefined} hostOf
 * @returns {EditorNode | null}
 */
export function loraNodeOf(node, hostOf) {
  if (widgetText(node, "lora_name") !== null) return node;
  return readersOf(node, hostOf).find((reader) => widgetText(reader, "lora_name") !== null) ?? null;
}

/**
 * The nodes that a node's outputs lead to, through reroutes and in and out of subgraphs.
 * @param {EditorNode} node
 * @param {(graph: EditorGraph) => EditorNode | null | undefined} hostOf
 * @returns {EditorNode[]}
 */
export function readersOf(node, hostOf) {
  /** @type {Set<EditorNode>} */
  const found = new Set();
  let steps = 0;
  /** @param {EditorGraph | null | undefined} graph @param {number[]} ids */
  const follow = (graph, ids) => {
    for (const id of ids) {
      const link = graph?.getLink?.(id);
      if (!graph || !link || (steps += 1) > LONGEST_WAY) continue;
      const host = Number(link.target_id) === SUBGRAPH_OUTPUT ? hostOf(graph) : null;
      if (host) follow(host.graph, host.outputs?.[link.target_slot]?.links ?? []);
      else arrive(graph.getNodeById?.(link.target_id), link.target_slot);
    }
  };
  /** @param {EditorNode | null | undefined} at @param {number} slot */
  const arrive = (at, slot) => {
    if (!at) return;
    found.add(at);
    if (at.subgraph) follow(at.subgraph, at.subgraph.inputs?.[slot]?.linkIds ?? []);
    else if (onlyInput(at) && !at.widgets?.length) at.outputs?.forEach(({ links }) => follow(at.graph, links ?? []));
  };
  node.outputs?.forEach(({ links }) => follow(node.graph, links ?? []));
  return [...found];
}

/** The node at the other end of an input's link. @param {EditorNode} node @param {string} name @returns {EditorNode | null} */
export function linkedNode(node, name) {
  const input = inputNamed(node, name);
  const link = typeof input?.link === "number" ? node.graph?.getLink?.(input.link) : null;
  return (link && node.graph?.getNodeById?.(link.origin_id)) || null;
}
