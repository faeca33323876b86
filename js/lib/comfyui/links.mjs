// Which files a node's links lead to. Knows graphs only as data.

import { originOf, SUBGRAPH_OUTPUT, linkInto } from "./origins.mjs";

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/editor_app").EditorGraph} EditorGraph
 * @typedef {import("../../types/editor_app").EditorLink} EditorLink
 * @typedef {import("../../types/editor_app").ModelFile} ModelFile
 * @typedef {import("./origins.mjs").HostOf} HostOf
 */

/**
 * Widgets in which loaders keep the name of their model file: ComfyUI's own and those of other packs.
 * @type {[string, ModelFile["folder"]][]}
 */
const LOADER_WIDGETS = [
  ["unet_name", "diffusion_models"], ["ckpt_name", "checkpoints"], ["model_name", "diffusion_models"], ["gguf_name", "unet_gguf"],
  ["source.model_name", "diffusion_models"], ["source.ckpt_name", "checkpoints"],
];
const GGUF = /\.gguf$/i;

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
export const slotNamed = (node, name) => node.inputs?.findIndex((input) => input.name === name || input.widget?.name === name) ?? -1;

/** Whether a widget's value comes in through a link. @param {EditorNode} node @param {string} name */
export const isLinked = (node, name) => linkInto(node, slotNamed(node, name)) !== null;

/**
 * Follows the model back to the loader that it comes from, through other nodes and in and out of subgraphs.
 * @param {EditorNode} node
 * @param {HostOf} hostOf the node that stands for a subgraph
 * @returns {ModelFile | null} null where no loader with a file is found
 */
export function modelFileOf(node, hostOf) {
  /** @type {EditorNode | null | undefined} */
  let at = node;
  for (let steps = 0; at && steps < LONGEST_WAY; steps += 1) {
    const file = at === node && takesModel(at) ? null : namedFile(at);
    if (file) return file;
    const origin = originOf(at, modelSlot(at), hostOf);
    at = origin && "node" in origin ? origin.node : null;
  }
  return null;
}

/** The file that a loader names. @param {EditorNode} node @returns {ModelFile | null} */
function namedFile(node) {
  for (const [name, folder] of LOADER_WIDGETS) {
    const value = widgetText(node, name);
    if (value) return { folder: GGUF.test(value) ? "unet_gguf" : folder, name: value };
  }
  return null;
}

/** A node that loads a model and its LoRA takes none. @param {EditorNode} node */
const takesModel = (node) => slotNamed(node, "model") >= 0 || Boolean(node.inputs?.some(({ type }) => type === "MODEL"));

/** The input at which a node's model comes in; -1 for none. @param {EditorNode} node */
export function modelSlot(node) {
  const named = slotNamed(node, "model");
  if (named >= 0) return named;
  const typed = node.inputs?.findIndex(({ type }) => type === "MODEL") ?? -1;
  return typed < 0 && hasOneInput(node) ? 0 : typed;
}

/** A reroute has one input of any type. @param {EditorNode} node */
const hasOneInput = (node) => node.inputs?.length === 1;

/**
 * The node whose LoRA a text of block strengths is for: the node itself, or the first one that its output leads to.
 * @param {EditorNode} node
 * @param {HostOf} hostOf
 * @returns {EditorNode | null}
 */
export function loraNodeOf(node, hostOf) {
  if (widgetText(node, "lora_name") !== null) return node;
  return readersOf(node, hostOf).find((reader) => widgetText(reader, "lora_name") !== null) ?? null;
}

/**
 * The nodes that a node's outputs lead to, through reroutes and in and out of subgraphs.
 * @param {EditorNode} node
 * @param {HostOf} hostOf
 * @returns {EditorNode[]}
 */
export function readersOf(node, hostOf) {
  /** @type {Set<EditorNode>} */
  const found = new Set();
  let steps = 0;
  /** @param {EditorGraph | null | undefined} graph @param {EditorLink[]} links */
  const follow = (graph, links) => {
    for (const link of links) {
      if (!graph || (steps += 1) > LONGEST_WAY) continue;
      const host = Number(link.target_id) === SUBGRAPH_OUTPUT ? hostOf(graph) : null;
      if (host) follow(host.graph, linksFrom(host, link.target_slot));
      else arrive(graph.getNodeById?.(link.target_id), link.target_slot);
    }
  };
  /** @param {EditorNode | null | undefined} at @param {number} slot */
  const arrive = (at, slot) => {
    if (!at) return;
    found.add(at);
    const inner = at.subgraph;
    if (inner) follow(inner, (inner.inputs?.[slot]?.linkIds ?? []).flatMap((id) => inner.getLink?.(id) ?? []));
    else if (hasOneInput(at) && !at.widgets?.length) follow(at.graph, linksFrom(at));
  };
  follow(node.graph, linksFrom(node));
  return [...found];
}

/**
 * The links that leave a node, read from the graph: the list on an output is deprecated in the frontend.
 * @param {EditorNode} node
 * @param {number} [slot] of all outputs where it is left out
 * @returns {EditorLink[]}
 */
function linksFrom(node, slot) {
  const links = [...(node.graph?.links?.values() ?? [])];
  return links.filter((link) => String(link.origin_id) === String(node.id) && (slot === undefined || link.origin_slot === slot));
}

/** The node at the other end of an input's link. @param {EditorNode} node @param {string} name @returns {EditorNode | null} */
export function linkedNode(node, name) {
  const link = linkInto(node, slotNamed(node, name));
  return (link && node.graph?.getNodeById?.(link.origin_id)) || null;
}
