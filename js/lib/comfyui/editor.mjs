// What the strength editor asks of ComfyUI's frontend: the text widget, undo, the graph, our routes.

import { api } from "../../../../scripts/api.js";
import { app } from "../../../../scripts/app.js";
import { loraNodeOf, modelFileOf, readersOf, slotNamed } from "./links.mjs";
import { originOf } from "./origins.mjs";
import { allNodes, redraw } from "./app.mjs";

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/editor_app").EditorGraph} EditorGraph
 * @typedef {import("../../types/strengths").StrengthLayout} StrengthLayout
 */

/**
 * Writes a widget as if the user had typed it.
 * @param {EditorNode} node
 * @param {string} name
 * @param {string} text
 */
export function writeWidget(node, name, text) {
  const widget = node.widgets?.find((candidate) => candidate.name === name);
  if (!widget || widget.value === text) return;
  widget.value = text;
  widget.callback?.(text);
  redraw();
}

/** What follows, up to `changeEnds`, is one step of undo. */
export const changeBegins = () => app.canvas.emitBeforeChange?.();

export const changeEnds = () => app.canvas.emitAfterChange?.();

/** The node whose LoRA a node's text is for. @param {EditorNode} node */
export const loraNode = (node) => loraNodeOf(node, hostOf);

/** The file of the model that a node's text is for: that of the LoRA's node, its own, or that of a node that reads it. @param {EditorNode} node */
export function modelFile(node) {
  for (const each of [loraNode(node) ?? node, node, ...readersOf(node, hostOf)]) {
    const file = modelFileOf(each, hostOf);
    if (file) return file;
  }
  return null;
}

/**
 * The text that a linked widget gets from another widget: of a primitive, or of the node that stands for the subgraph.
 * @param {EditorNode} node
 * @param {string} name
 * @returns {string | null} null where a node makes it
 */
export function promotedText(node, name) {
  const origin = originOf(node, slotNamed(node, name), hostOf);
  return origin && "value" in origin ? String(origin.value ?? "") : null;
}

/** @param {EditorGraph} graph @returns {EditorNode | undefined} */
export const hostOf = (graph) => /** @type {EditorNode[]} */ (allNodes()).find((node) => node.subgraph === graph);

/** @type {Map<string, {at: number, answer: Promise<unknown>}>} */
const asked = new Map();
const FRESH_MILLISECONDS = 60_000;
const MOST_KEPT = 24;

/**
 * The answer of one of our routes, or the sentence that says why there is none; asked at most once a minute.
 * @param {string} route
 * @returns {Promise<{layout: StrengthLayout | null, problem: string}>}
 */
export async function askLayout(route) {
  const known = asked.get(route);
  if (known && Date.now() - known.at < FRESH_MILLISECONDS) return asLayout(await known.answer);
  const answer = requestJson(route).catch((error) => error);
  asked.delete(route);
  asked.set(route, { at: Date.now(), answer });
  for (const oldest of asked.keys()) {
    if (asked.size <= MOST_KEPT) break;
    asked.delete(oldest);
  }
  return asLayout(await answer);
}

/** @param {unknown} value @returns {{layout: StrengthLayout | null, problem: string}} */
function asLayout(value) {
  if (value instanceof Error) return { layout: null, problem: value.message };
  const layout = /** @type {StrengthLayout | null} */ (value);
  const fits = layout?.schema === "patchbay.blocks" && layout.version === 1 && Array.isArray(layout.containers);
  return { layout: fits ? layout : null, problem: "" };
}

/** Address of one of our routes. @param {string} route */
export const routeUrl = (route) => api.apiURL(route);

/**
 * JSON of one of our routes.
 * @param {string} route
 * @param {{method: string, body?: unknown}} [request]
 * @returns {Promise<unknown>}
 * @throws {Error} the server's own sentence
 */
export async function requestJson(route, request) {
  const body = request?.body === undefined ? undefined : JSON.stringify(request.body);
  const response = await api.fetchApi(route, request && { method: request.method, body, headers: { "Content-Type": "application/json" } });
  const answer = /** @type {{error?: unknown}} */ (await response.json().catch(() => ({})));
  // A file that is not there is answered with 200 and a sentence (nodes/host/routes/routes.py).
  if (typeof answer.error === "string") throw new Error(answer.error);
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return answer;
}

/**
 * Asks for a line of text in ComfyUI's own dialog.
 * @param {string} title
 * @param {string} message
 * @param {string} [value]
 * @returns {Promise<string | null>} null where the user gave up
 */
export async function askText(title, message, value = "") {
  const dialog = app.extensionManager.dialog;
  return (await dialog?.prompt({ title, message, defaultValue: value })) ?? null;
}

/** @param {string} title @param {string} message @returns {Promise<boolean>} */
export async function askYes(title, message) {
  return (await app.extensionManager.dialog?.confirm({ title, message })) === true;
}

/** @param {"info" | "error"} severity @param {string} summary @param {string} [detail] */
export function say(severity, summary, detail) {
  app.extensionManager.toast?.add({ severity, summary, detail, life: 5000 });
}
