// The model that leads to a node, as the server knows it before a run: a file, or what came there in the last run.

import { allNodes, lastOutput } from "./app.mjs";
import { hostOf, modelFile } from "./editor.mjs";
import { modelSlot } from "./links.mjs";
import { attachedPanels } from "./node_panels.mjs";
import { originOf } from "./origins.mjs";
import { cameFrom, inputsOf } from "./run_inputs.mjs";

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/editor_app").ModelFile} ModelFile
 */

const LONGEST_WAY = 200;

/** @type {import("../../types/report").RunInputs[] | null} */
let results = null;

/** @param {EditorNode} node @returns {ModelFile | null} null where nothing is known of it */
export const knownModel = (node) => modelFile(node) ?? ranModel(node);

/**
 * Of a loader that names no file: what the newest result says that it gave, as long as all that leads to it is the same.
 * @param {EditorNode} node
 * @returns {ModelFile | null}
 */
function ranModel(node) {
  /** @type {EditorNode} */
  let at = node;
  const ran = ranInputs();
  for (let steps = 0; ran.length > 0 && steps < LONGEST_WAY; steps += 1) {
    const origin = originOf(at, modelSlot(at), hostOf);
    if (!origin || !("node" in origin)) return null;
    const found = ran.find((inputs) => cameFrom(inputs, "model", origin, hostOf));
    if (found) return { folder: "ran", name: found.model };
    at = origin.node;
  }
  return null;
}

/** Of the results on this page that were made of a model; read once for all nodes that ask at the same time. */
function ranInputs() {
  if (!results) {
    const outputs = new Set([...attachedPanels().map(({ output }) => output), ...allNodes().map(lastOutput)]);
    results = [...outputs].flatMap((output) => inputsOf(output) ?? []).filter(({ model }) => Boolean(model));
    queueMicrotask(() => (results = null));
  }
  return results;
}
