// What the web side asks of ComfyUI's frontend from the first moment on.

import { api } from "../../../../scripts/api.js";
import { app } from "../../../../scripts/app.js";

export { app };

/**
 * @typedef {import("../../types/app").ComfyNode} ComfyNode
 * @typedef {import("../../types/app").NodeOutput} NodeOutput
 */

/** @param {string} id */
export function setting(id) {
  return app.extensionManager?.setting?.get(id);
}

/** Draws the canvas again: the classic one does not see that a node changed by itself. */
export const redraw = () => app.canvas.setDirty(true, true);

/** What ComfyUI's menus cover of the canvas, and some air, in pixels of the page. */
const COVERED = { left: 70, top: 90, right: 20, bottom: 45 };

/**
 * Shows the part of a bundled workflow that matters, as large as can be: ComfyUI shows all of a template, with much air
 * around it, and then nothing can be read. Once for each opening: a copy that somebody saves has a view of its own.
 */
export function showOpeningView() {
  const { rootGraph, canvas } = app;
  const view = rootGraph?.extra?.patchbay_view;
  if (rootGraph?.extra) delete rootGraph.extra.patchbay_view;
  if (!Array.isArray(view) || view.length !== 4 || setting("Comfy.EnableWorkflowViewRestore") === false) return;
  const [x = 0, y = 0, width = 1, height = 1] = view.map(Number);
  const { ds } = canvas;
  const show = () => {
    const { clientWidth, clientHeight } = canvas.canvas;
    const [wide, high] = [clientWidth - COVERED.left - COVERED.right, clientHeight - COVERED.top - COVERED.bottom];
    const scale = Math.min(wide / width, high / height, 1);
    if (!(scale > 0)) return;
    ds.scale = scale;
    ds.offset[0] = (COVERED.left + (wide - width * scale) / 2) / scale - x;
    ds.offset[1] = (COVERED.top + (high - height * scale) / 2) / scale - y;
    redraw();
  };
  show();
  // Newer frontends place a template in the next frame.
  requestAnimationFrame(() => requestAnimationFrame(show));
}

/**
 * Id of the workflow that is open; empty where it has none of its own. A graph that was never given one carries zeros,
 * which every other such graph carries too: by that, one would show the results of another.
 */
export const workflowOnPage = () => ownId(app.rootGraph?.id) ?? "";

/** @param {string | undefined} id */
const ownId = (id) => (/[1-9a-f]/i.test(id ?? "") ? id : undefined);

/** The nodes of the workflow, those inside subgraphs too. @returns {ComfyNode[]} */
export function allNodes() {
  const root = app.rootGraph;
  return [root, ...(root?.subgraphs?.values() ?? [])].flatMap((graph) => graph?.nodes ?? []);
}

/**
 * JSON of one of our routes.
 * @param {string} route
 * @returns {Promise<any>}
 * @throws {Error} the server's own sentence
 */
export async function ask(route) {
  const response = await api.fetchApi(route);
  const answer = await response.json().catch(() => null);
  // A file that is not there is answered with 200 and a sentence (nodes/host/routes/routes.py).
  if (!response.ok || answer === null || typeof answer.error === "string") throw new Error(answer?.error ?? `HTTP ${response.status}`);
  return answer;
}

/** @param {import("../../types/compare").ImageRef} image */
export function viewUrl(image) {
  const query = Object.entries({ filename: image.filename, subfolder: image.subfolder, type: image.type });
  return api.apiURL(`/view?${query.map(([name, value]) => `${name}=${encodeURIComponent(value ?? "")}`).join("&")}`);
}

/**
 * Gives the canvas a wheel turn over a widget. In Nodes 2.0 the event reaches the canvas by itself.
 * @param {WheelEvent} event
 */
export function forwardWheel(event) {
  const target = event.target;
  if (target instanceof Element && target.closest("[data-node-id]")) return;
  event.preventDefault();
  event.stopPropagation();
  app.canvas.processMouseWheel(event);
}

/**
 * The last result of a node that this page knows of.
 * @param {ComfyNode} node
 * @returns {NodeOutput | undefined}
 */
export function lastOutput(node) {
  const key = outputKey(node);
  return key === undefined ? undefined : app.nodeOutputs?.[key];
}

/**
 * Results are kept by node id, inside a subgraph by `<subgraph id>:<node id>`.
 * @param {ComfyNode} node
 */
export function outputKey(node) {
  const graph = node.graph;
  if (!graph) return undefined;
  return graph === app.rootGraph || graph.isRootGraph ? String(node.id) : `${graph.id}:${node.id}`;
}

/**
 * A node by the id it runs under: `7`, or inside subgraphs the way down, `21:2`.
 * @param {string} executionId
 * @returns {ComfyNode | null | undefined}
 */
export function nodeByExecutionId(executionId) {
  const way = executionId.split(":");
  const last = way.pop() ?? "";
  const graph = way.reduce((inside, id) => inside?.getNodeById?.(id)?.subgraph, app.rootGraph);
  return graph?.getNodeById?.(last);
}

/**
 * A run's `prompt` is `[number, id, nodes, {extra_pnginfo: {workflow}}, outputs]`.
 * @param {unknown[] | undefined} prompt
 */
export function workflowId(prompt) {
  const extra = /** @type {{extra_pnginfo?: {workflow?: {id?: string}}} | undefined} */ (prompt?.[3]);
  return ownId(extra?.extra_pnginfo?.workflow?.id);
}
