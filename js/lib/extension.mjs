// What the pack does on ComfyUI's page, from the first node on.

import { allNodes, app, setting, showOpeningView, workflowOnPage } from "./comfyui/app.mjs";
import { attachedPanels, attachPanel, detachPanels, hasPanel, showKnownOutputs, takePlaces } from "./comfyui/node_panels.mjs";
import { loadPart, prefetchPart, whenIdle } from "./parts.mjs";

/**
 * @typedef {import("../types/app").ComfyNode} ComfyNode
 * @typedef {import("./comfyui/node_panels.mjs").PanelKind} PanelKind
 * @typedef {import("./parts.mjs").PartName} PartName
 */

export const SHOW_CARDS = "LoraPatchbay.Nodes.ShowReportCards";
export const SHOW_EDITOR = "LoraPatchbay.Nodes.ShowStrengthEditor";
export const SHOW_VERDICTS = "LoraPatchbay.Nodes.ShowVerdicts";
const COMPARE_MODE = "LoraPatchbay.Compare.StartMode";

/**
 * @param {PartName} part
 * @param {string} create name of the function that makes the panel
 * @param {() => unknown} [more] what else it is given
 * @returns {PanelKind["load"]}
 */
const panelOf = (part, create, more) => async () => {
  const [{ hostFor }, made] = await Promise.all([loadPart("host"), loadPart(part)]);
  return (entry) => made[create](hostFor(entry), more?.());
};

/** @type {PanelKind} */
const REPORT_CARD = { name: "patchbay_report", type: "PATCHBAY_REPORT_CARD", minHeight: 66, initialSize: [420, 0], load: panelOf("report", "createReportPanel") };

/** @type {PanelKind} */
const STRENGTH_EDITOR = { name: "patchbay_strengths", type: "PATCHBAY_STRENGTH_EDITOR", minHeight: 256, initialSize: [420, 0], load: panelOf("editor", "createStrengthEditor") };

/** Nodes whose text `blocks` is edited. */
const EDITED_NODES = new Set(["PatchbayApplyLora", "PatchbayBlockStrengths"]);

/** @type {PanelKind} */
const COMPARE_VIEWER = {
  name: "patchbay_compare", type: "PATCHBAY_COMPARE", minHeight: 220, initialSize: [480, 520],
  load: panelOf("compare", "createComparePanel", () => setting(COMPARE_MODE)),
};

/** @type {PanelKind} */
const MEASUREMENT = { name: "patchbay_measurement", type: "PATCHBAY_MEASUREMENT", minHeight: 300, initialSize: [560, 0], load: panelOf("measure", "createMeasurePanel") };

/** @type {PanelKind} */
const PICTURE_GRID = { name: "patchbay_grid", type: "PATCHBAY_GRID", minHeight: 420, initialSize: [640, 0], load: panelOf("grid", "createGridPanel") };

/** A text field above the panel would take half of the room that is free: there is none. @type {PanelKind} */
const BENCHMARK = { ...MEASUREMENT, minHeight: 600, initialSize: [620, 0] };

/** While it runs, ComfyUI puts a text below the panel, which takes half of the room that is free. @type {PanelKind} */
const FEATURE_SHIFT = { name: "patchbay_shift", type: "PATCHBAY_SHIFT", minHeight: 600, initialSize: [560, 0], load: panelOf("shift", "createShiftPanel") };

/** @type {PanelKind} */
const FITTED_STRENGTHS = { name: "patchbay_fit", type: "PATCHBAY_FIT", minHeight: 560, initialSize: [560, 0], load: panelOf("shift", "createFitPanel") };

/** @type {PanelKind} */
const SWEEP = { name: "patchbay_sweep", type: "PATCHBAY_SWEEP", minHeight: 640, initialSize: [600, 0], load: panelOf("sweep", "createSweepPanel") };

/** Its height follows its rows, and it holds the report too. @type {PanelKind} */
const LORA_ROWS = { name: "patchbay_rows", type: "PATCHBAY_ROWS", minHeight: 34, initialSize: [400, 0], margin: 3, hides: ["rows", "method", "as_stock"], load: panelOf("rows", "createRowsPanel") };

/** Panels of nodes whose report is no list of layers. @type {Record<string, PanelKind>} */
const OWN_PANELS = {
  PatchbayApplyLoras: LORA_ROWS,
  PatchbayCompareImages: COMPARE_VIEWER,
  PatchbayMeasureReport: MEASUREMENT,
  PatchbayBenchmark: BENCHMARK,
  PatchbayLoraGrid: PICTURE_GRID,
  PatchbayFeatureShift: FEATURE_SHIFT,
  PatchbayFitStrengths: FITTED_STRENGTHS,
  PatchbayBlockSweep: SWEEP,
};

/** Our nodes that say above them whether their LoRA fits; other nodes with a LoRA do by a setting. */
const JUDGED_NODES = new Set(["PatchbayApplyLora", "PatchbayCheckLora", "PatchbayScheduleLora"]);

/** @param {ComfyNode} node */
const isOurs = (node) => (node.comfyClass ?? "").startsWith("Patchbay");

/** @param {ComfyNode} node */
const isOtherLoader = (node) => !isOurs(node) && Boolean(node.widgets?.some(({ name }) => name === "lora_name"));

/** @param {ComfyNode} node */
const wearPill = (node) => void loadPart("pill").then(({ addPill }) => addPill(node));

/** @param {ComfyNode} node */
function judge(node) {
  if (JUDGED_NODES.has(node.comfyClass ?? "") || (isOtherLoader(node) && setting(SHOW_VERDICTS) === true)) wearPill(node);
}

/** Obeys a switch at once: what the settings say changes after it. @param {boolean} wanted */
export function showVerdicts(wanted) {
  if (wanted) allNodes().filter(isOtherLoader).forEach(wearPill);
  else void loadPart("pill").then(({ removePills }) => removePills(isOtherLoader));
}

/** Names of the nodes with a `PATCHBAY_REPORT` output. @type {ReadonlySet<string>} */
let reportNodes = new Set();

/** @param {ComfyNode} node */
const hasReport = (node) => reportNodes.has(node.comfyClass ?? "") && !OWN_PANELS[node.comfyClass ?? ""];

/** @param {ComfyNode} node */
const hasStrengths = (node) => EDITED_NODES.has(node.comfyClass ?? "");

/** The side bar, once something needed it. @type {typeof import("./side_bar/extension.mjs") | null} */
let side = null;

/** @returns {Promise<typeof import("./side_bar/extension.mjs")>} */
export async function sideBar() {
  side ??= await loadPart("side_bar");
  return /** @type {typeof import("./side_bar/extension.mjs")} */ (side);
}

/**
 * @param {ComfyNode} node
 * @param {ReadonlySet<string>} withReports names of the nodes with a report
 * @param {boolean} isNew whether no workflow gave it a size
 */
export function nodeCreated(node, withReports, isNew) {
  reportNodes = withReports;
  if (hasStrengths(node) && setting(SHOW_EDITOR) !== false) attachPanel(node, STRENGTH_EDITOR, isNew);
  const own = OWN_PANELS[node.comfyClass ?? ""];
  if (own) attachPanel(node, own, isNew);
  else if (hasReport(node) && setting(SHOW_CARDS) !== false) attachPanel(node, REPORT_CARD, isNew);
  loraIsNear(node);
}

/** A node that has a LoRA, ours or not: its card and the side bar may be asked for. @param {ComfyNode} node */
export function loraIsNear(node) {
  judge(node);
  if (!side) whenIdle(() => void sideBar());
}

/** Somebody uses the page. */
export function pageIsUsed() {
  if (!side) whenIdle(() => prefetchPart("side_bar"));
}

/** Obeys a switch at once, on every node of the workflow. @param {boolean} wanted */
export const showCards = (wanted) => showPanels(REPORT_CARD, wanted, hasReport);

/** @param {boolean} wanted */
export const showEditors = (wanted) => showPanels(STRENGTH_EDITOR, wanted, hasStrengths);

/**
 * @param {PanelKind} kind
 * @param {boolean} wanted
 * @param {(node: ComfyNode) => boolean} fits
 */
function showPanels(kind, wanted, fits) {
  if (!wanted) return detachPanels(kind);
  for (const node of allNodes()) {
    if (fits(node) && !hasPanel(node, kind)) attachPanel(node, kind);
  }
}

/** @param {ComfyNode} node */
export const nodeMenuItems = (node) => side?.nodeMenuItems(node, (at) => void loadPart("choose").then(({ chooseLora }) => chooseLora(at))) ?? [];

export function namesRefreshed() {
  side?.refreshLoraNames();
}

export function outputsUpdated() {
  showKnownOutputs();
  side?.refreshPanel();
}

export async function graphConfigured() {
  showOpeningView();
  takePlaces();
  showKnownOutputs();
  side?.workflowChanged(workflowOnPage());
  if (attachedPanels().length === 0) return;
  const [{ showPastResults }] = await Promise.all([loadPart("host"), ...attachedPanels().map(({ kind }) => kind.load())]);
  if (app.rootGraph) await showPastResults(workflowOnPage());
}
