// What the pack registers with ComfyUI's frontend.

import { createComparePanel } from "./compare_widget.mjs";
import { useStyleSheet } from "./dom.mjs";
import { allNodes, lastRunOutputs, onLanguageChange, setting } from "./host.mjs";
import { languageFor } from "./i18n.mjs";
import { attachPanel, detachPanels, hasPanel, languageChanged, showKnownOutputs, showMissingOutputs, wantsOutputs } from "./node_panels.mjs";
import { createReportPanel } from "./report_widget.mjs";

/**
 * @typedef {import("../types/app").ComfyExtension} ComfyExtension
 * @typedef {import("./node_panels.mjs").PanelKind} PanelKind
 */

const SHOW_CARDS = "LoraPatchbay.Nodes.ShowReportCards";
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
const COMPARE_VIEWER = {
  name: "patchbay_compare",
  type: "PATCHBAY_COMPARE",
  minHeight: 220,
  initialSize: [480, 520],
  create: (host) => createComparePanel(host, setting(COMPARE_MODE)),
};

/** Names of the nodes with a `PATCHBAY_REPORT` output. @type {Set<string>} */
const reportNodes = new Set();

const { t } = languageFor("en");

/** @param {import("../types/app").ComfyNode} node */
const hasReport = (node) => reportNodes.has(node.comfyClass ?? "");

let ready = false;

/** Obeys the switch at once, on every node of the workflow. @param {boolean} wanted */
function showCards(wanted) {
  if (!ready) return;
  if (!wanted) return detachPanels(REPORT_CARD);
  for (const node of allNodes()) {
    if (hasReport(node) && !hasPanel(node, REPORT_CARD)) attachPanel(node, REPORT_CARD);
  }
}

/** @type {ComfyExtension} */
export const extension = {
  name: "lora-patchbay.main",
  aboutPageBadges: [{ label: "LoRA Patchbay", url: "https://github.com/lora-patchbay/lora-patchbay", icon: "pi pi-sliders-h" }],
  settings: [
    {
      id: SHOW_CARDS,
      category: ["LoRA Patchbay", "Nodes", "Show report cards"],
      name: t("setting.cards"),
      tooltip: t("setting.cards.hint"),
      type: "boolean",
      defaultValue: true,
      onChange: (value) => showCards(value !== false),
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
    for (const name of ["panel", "report_card", "compare"]) {
      useStyleSheet(new URL(`../css/${name}.css`, import.meta.url).href);
    }
    onLanguageChange(languageChanged);
  },

  beforeRegisterNodeDef(_nodeType, definition) {
    if (definition.output?.includes("PATCHBAY_REPORT")) reportNodes.add(definition.name);
  },

  nodeCreated(node) {
    if (node.comfyClass === "PatchbayCompareImages") attachPanel(node, COMPARE_VIEWER);
    else if (hasReport(node) && setting(SHOW_CARDS) !== false) attachPanel(node, REPORT_CARD);
  },

  onNodeOutputsUpdated: showKnownOutputs,

  async afterConfigureGraph() {
    showKnownOutputs();
    if (wantsOutputs()) showMissingOutputs(await lastRunOutputs());
  },
};
