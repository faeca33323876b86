// What the pack registers with ComfyUI's frontend.

import { createComparePanel } from "./compare/widget.mjs";
import { useStyleSheet } from "./ui/dom.mjs";
import { createStrengthEditor } from "./editor/widget.mjs";
import { allNodes, lastRunOutputs, onLanguageChange, setting, workflowOnPage } from "./comfyui/app.mjs";
import { languageFor } from "./words/i18n.mjs";
import { createMeasurePanel } from "./measure/widget.mjs";
import { attachPanel, detachPanels, hasPanel, languageChanged, showKnownOutputs, showMissingOutputs, takePlaces, wantsOutputs } from "./comfyui/node_panels.mjs";
import { nodeMenuItems, panelExtension, refreshLoraNames, refreshPanel, setUpPanel, workflowChanged } from "./side_bar/extension.mjs";
import { createReportPanel } from "./report/widget.mjs";
import { createFitPanel, createShiftPanel } from "./shift/widget.mjs";

/**
 * @typedef {import("../types/app").ComfyExtension} ComfyExtension
 * @typedef {import("./comfyui/node_panels.mjs").PanelKind} PanelKind
 */

const SHOW_CARDS = "LoraPatchbay.Nodes.ShowReportCards";
const SHOW_EDITOR = "LoraPatchbay.Nodes.ShowStrengthEditor";
const COMPARE_MODE = "LoraPatchbay.Compare.StartMode";

/** @type {PanelKind} */
const REPORT_CARD = {
  name: "patchbay_report",
  type: "PATCHBAY_REPORT_CARD",
  minHeight: 236,
  initialSize: [420, 0],
  create: createReportPanel,
};

/** @type {PanelKind} */
const STRENGTH_EDITOR = {
  name: "patchbay_strengths",
  type: "PATCHBAY_STRENGTH_EDITOR",
  minHeight: 256,
  initialSize: [420, 0],
  create: createStrengthEditor,
};

/** Nodes whose text `blocks` is edited. */
const EDITED_NODES = new Set(["PatchbayApplyLora", "PatchbayBlockStrengths"]);

/** @type {PanelKind} */
const COMPARE_VIEWER = {
  name: "patchbay_compare",
  type: "PATCHBAY_COMPARE",
  minHeight: 220,
  initialSize: [480, 520],
  create: (host) => createComparePanel(host, setting(COMPARE_MODE)),
};

/** @type {PanelKind} */
const MEASUREMENT = {
  name: "patchbay_measurement",
  type: "PATCHBAY_MEASUREMENT",
  minHeight: 300,
  initialSize: [560, 0],
  create: createMeasurePanel,
};

/** A text field above the panel would take half of the room that is free: there is none. @type {PanelKind} */
const BENCHMARK = { ...MEASUREMENT, minHeight: 600, initialSize: [620, 0] };

/** While it runs, ComfyUI puts a text below the panel, which takes half of the room that is free. @type {PanelKind} */
const FEATURE_SHIFT = {
  name: "patchbay_shift",
  type: "PATCHBAY_SHIFT",
  minHeight: 600,
  initialSize: [560, 0],
  create: createShiftPanel,
};

/** @type {PanelKind} */
const FITTED_STRENGTHS = {
  name: "patchbay_fit",
  type: "PATCHBAY_FIT",
  minHeight: 560,
  initialSize: [560, 0],
  create: createFitPanel,
};

/** Panels of nodes whose report is no list of layers. @type {Record<string, PanelKind>} */
const OWN_PANELS = {
  PatchbayCompareImages: COMPARE_VIEWER,
  PatchbayMeasureReport: MEASUREMENT,
  PatchbayBenchmark: BENCHMARK,
  PatchbayFeatureShift: FEATURE_SHIFT,
  PatchbayFitStrengths: FITTED_STRENGTHS,
};

/** Names of the nodes with a `PATCHBAY_REPORT` output. @type {Set<string>} */
const reportNodes = new Set();

const { t } = languageFor("en");

/** @param {import("../types/app").ComfyNode} node */
const hasReport = (node) => reportNodes.has(node.comfyClass ?? "") && !OWN_PANELS[node.comfyClass ?? ""];

/** @param {import("../types/app").ComfyNode} node */
const hasStrengths = (node) => EDITED_NODES.has(node.comfyClass ?? "");

let ready = false;

/**
 * Obeys a switch at once, on every node of the workflow.
 * @param {PanelKind} kind
 * @param {boolean} wanted
 * @param {(node: import("../types/app").ComfyNode) => boolean} fits
 */
function showPanels(kind, wanted, fits) {
  if (!ready) return;
  if (!wanted) return detachPanels(kind);
  for (const node of allNodes()) {
    if (fits(node) && !hasPanel(node, kind)) attachPanel(node, kind);
  }
}

/** @type {ComfyExtension} */
export const extension = {
  name: "lora-patchbay.main",
  aboutPageBadges: [{ label: "LoRA Patchbay", url: "https://github.com/lora-patchbay/lora-patchbay", icon: "pi pi-sliders-h" }],
  ...panelExtension,
  settings: [
    ...panelExtension.settings,
    {
      id: SHOW_CARDS,
      category: ["LoRA Patchbay", "Nodes", "Show report cards"],
      name: t("setting.cards"),
      tooltip: t("setting.cards.hint"),
      type: "boolean",
      defaultValue: true,
      onChange: (value) => showPanels(REPORT_CARD, value !== false, hasReport),
    },
    {
      id: SHOW_EDITOR,
      category: ["LoRA Patchbay", "Nodes", "Show the strength editor"],
      name: t("setting.editor"),
      tooltip: t("setting.editor.hint"),
      type: "boolean",
      defaultValue: true,
      onChange: (value) => showPanels(STRENGTH_EDITOR, value !== false, hasStrengths),
    },
    {
      id: COMPARE_MODE,
      category: ["LoRA Patchbay", "Compare viewer", "Start with"],
      name: t("setting.mode"),
      tooltip: t("setting.mode.hint"),
      type: "combo",
      defaultValue: "side",
      options: ["side", "slider", "blink", "difference"].map((value) => ({ value, text: t(`compare.${value}`) })),
    },
  ],

  setup() {
    ready = true;
    for (const name of ["panel", "report_card", "strength_editor", "compare", "measure", "shift", "fit", "map", "sidebar", "lora_card"]) {
      useStyleSheet(new URL(`../css/${name}.css`, import.meta.url).href);
    }
    onLanguageChange(languageChanged);
    setUpPanel();
  },

  beforeRegisterNodeDef(_nodeType, definition) {
    if (definition.output?.includes("PATCHBAY_REPORT")) reportNodes.add(definition.name);
  },

  nodeCreated(node) {
    if (hasStrengths(node) && setting(SHOW_EDITOR) !== false) attachPanel(node, STRENGTH_EDITOR);
    const own = OWN_PANELS[node.comfyClass ?? ""];
    if (own) attachPanel(node, own);
    else if (hasReport(node) && setting(SHOW_CARDS) !== false) attachPanel(node, REPORT_CARD);
  },

  getNodeMenuItems: nodeMenuItems,
  refreshComboInNodes: refreshLoraNames,

  onNodeOutputsUpdated() {
    showKnownOutputs();
    refreshPanel();
  },

  async afterConfigureGraph() {
    takePlaces();
    showKnownOutputs();
    workflowChanged(workflowOnPage());
    if (wantsOutputs()) showMissingOutputs(await lastRunOutputs());
  },
};
