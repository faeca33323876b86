// What the side bar and the LoRA card need of ComfyUI's frontend and server.

import { api } from "../../../../scripts/api.js";
import { extrasOf, measurementOf, reportOfMeasurement } from "../measure/block_figures.mjs";
import { allNodes, app, lastOutput, nodeByExecutionId, outputKey, setting, workflowOnPage } from "../comfyui/app.mjs";
import * as history from "../comfyui/history.mjs";
import { earlierLine } from "../comfyui/panel_host.mjs";
import { asReport } from "../report/widget.mjs";

/**
 * @typedef {import("../../types/app").ComfyNode} ComfyNode
 * @typedef {import("../../types/app").NodeOutput} NodeOutput
 * @typedef {import("./sources.mjs").Source} Source
 */

const SIDEBAR_ID = "lora-patchbay";

const [MUTED, BYPASSED] = [2, 4];

/** Every value of `ui` is a list. @param {unknown} value */
const first = (value) => (Array.isArray(value) ? value[0] : undefined);

/**
 * The report in a node's result, where there is one.
 * @param {NodeOutput | undefined} output
 */
export function reportOf(output) {
  const measurement = measurementOf(output);
  const report = asReport(first(output?.patchbay_report)) ?? (measurement && reportOfMeasurement(measurement));
  return report ? { report, text: String(first(output?.text) ?? ""), measurement, extras: extrasOf(output) } : null;
}

/**
 * The reports of the workflow that is open, those inside subgraphs too.
 * @param {Map<string, NodeOutput>} earlier results from the server's history by output key, for nodes that this page has not seen run
 * @returns {Source[]}
 */
export function reportSources(earlier) {
  return allNodes().flatMap((node) => {
    const key = outputKey(node);
    if (key === undefined) return [];
    const output = lastOutput(node) ?? earlier.get(key);
    const found = reportOf(output);
    if (!found) return [];
    return [{ key, title: node.title || node.comfyClass || "", ...found, earlier: earlierLine(node, output), idle: node.mode === MUTED || node.mode === BYPASSED, nodeId: node.id }];
  });
}

/** Which nodes are bypassed or muted now, as one text. */
export const idleNodes = () =>
  allNodes()
    .filter(({ mode }) => mode === MUTED || mode === BYPASSED)
    .map(outputKey)
    .join();

/** Whether the workflow has a node that will report on a model. */
export const willReport = () => allNodes().some((node) => /** @type {import("../../types/editor_app").EditorNode} */ (node).outputs?.some(({ type }) => type === "PATCHBAY_REPORT"));

/** @param {string} executionId */
export function keyOfExecution(executionId) {
  const node = nodeByExecutionId(executionId);
  return node ? outputKey(node) ?? null : null;
}

/** @param {string} executionId */
export const titleOfExecution = (executionId) => nodeByExecutionId(executionId)?.title ?? "";

/** The first selected node. @returns {ComfyNode | null} */
export function selectedNode() {
  for (const item of app.canvas?.selectedItems ?? []) {
    const node = /** @type {ComfyNode} */ (item);
    if (node?.comfyClass !== undefined) return node;
  }
  return null;
}

/** @param {string} key */
export function goToNode(key) {
  const node = allNodes().find((each) => outputKey(each) === key);
  if (!node) return;
  if (node.graph && app.canvas.graph !== node.graph) app.canvas.setGraph?.(node.graph);
  app.canvas.selectNode?.(node);
  app.canvas.centerOnNode?.(node);
}

/** Runs of the open workflow that the server remembers, oldest first. */
export async function pastRuns() {
  const workflow = workflowOnPage();
  const runs = workflow ? await history.pastRuns() : [];
  return runs.filter((run) => run.workflow === workflow);
}

/** Names of the LoRA files, as ComfyUI lists them. @returns {Promise<string[]>} */
export async function loraNames() {
  const response = await api.fetchApi("/models/loras");
  return response.ok ? response.json() : [];
}

/** @param {string} type @param {(detail: any) => void} listener */
export const onServerEvent = (type, listener) => api.addEventListener(type, (event) => listener(event.detail));

export const sidebarIsOpen = () => app.extensionManager.sidebarTab?.activeSidebarTabId === SIDEBAR_ID;

export function openSidebar() {
  if (!sidebarIsOpen()) app.extensionManager.sidebarTab?.toggleSidebarTab?.(SIDEBAR_ID);
}

/** @param {"info" | "success" | "warn" | "error"} severity @param {string} summary */
export function toast(severity, summary) {
  app.extensionManager.toast?.add({ severity, summary, life: 3000 });
}

/** Whether the page is light or dark, as ComfyUI's palette says. @returns {"dark" | "light"} */
export function pageTheme() {
  const palette = String(setting("Comfy.ColorPalette") ?? "");
  if (/light/i.test(palette)) return "light";
  const ground = getComputedStyle(document.body).getPropertyValue("--comfy-menu-bg").trim();
  const channels = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})/i.exec(ground)?.slice(1).map((value) => Number.parseInt(value, 16)) ?? [0];
  return Math.max(...channels) > 160 ? "light" : "dark";
}
