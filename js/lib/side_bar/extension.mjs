// The side bar and the LoRA card as ComfyUI registers them: settings, commands, keys, menus, events.

import { openHelp } from "../comfyui/help_dialog.mjs";
import { language, nodeByExecutionId, onLanguageChange, outputKey, setting } from "../comfyui/app.mjs";
import { languageFor } from "../words/i18n.mjs";
import { loraMenuItems, lorasOfNode, MENU_SETTING, openLoraCard, refreshLoraNames } from "./lora_dialog.mjs";
import { mountPanel, nodeFinished, refreshPanel, runEnded, setProgress, shownReport, showNode, unmountPanel, workflowChanged } from "./panel.mjs";
import { onServerEvent, openSidebar, selectedNode, setSidebar, SIDEBAR_ID, titleOfExecution, toast, toggleSidebar } from "./host.mjs";
import { copyText } from "../ui/save_file.mjs";

/** @typedef {import("../../types/app").ComfyExtension} ComfyExtension */

const SIDEBAR_SETTING = "LoraPatchbay.Panel.ShowSidebar";
const LIVE_SETTING = "LoraPatchbay.Panel.LiveProgress";

const { t } = languageFor("en");

let registered = false;
let ready = false;

/** @type {Required<Pick<ComfyExtension, "commands" | "keybindings" | "menuCommands" | "settings">>} */
export const panelExtension = {
  settings: [
    {
      id: SIDEBAR_SETTING,
      category: ["LoRA Patchbay", "Side bar", "Show side bar"],
      name: t("setting.sidebar"),
      tooltip: t("setting.sidebar.hint"),
      type: "boolean",
      defaultValue: true,
      onChange: (value) => ready && showSidebar(value !== false),
    },
    {
      id: LIVE_SETTING,
      category: ["LoRA Patchbay", "Side bar", "Show progress"],
      name: t("setting.live"),
      tooltip: t("setting.live.hint"),
      type: "boolean",
      defaultValue: true,
      onChange: (value) => value === false && setProgress(null),
    },
    {
      id: MENU_SETTING,
      category: ["LoRA Patchbay", "Side bar", "LoRA card in menus"],
      name: t("setting.menu"),
      tooltip: t("setting.menu.hint"),
      type: "boolean",
      defaultValue: true,
    },
  ],
  commands: [
    { id: "Patchbay.ToggleSidebar", label: t("command.toggle"), icon: "pi pi-sliders-h", function: toggleSidebar },
    { id: "Patchbay.ShowSelected", label: t("command.show"), icon: "pi pi-sliders-h", function: showSelected },
    { id: "Patchbay.LoraCard", label: t("command.card"), icon: "pi pi-id-card", function: cardOfSelected },
    { id: "Patchbay.CopyReport", label: t("command.copy"), icon: "pi pi-copy", function: copyShown },
    { id: "Patchbay.Help", label: t("command.help"), icon: "pi pi-question-circle", function: () => void openHelp() },
  ],
  // The second of each pair is what the same keys write on a Mac.
  keybindings: [
    { commandId: "Patchbay.ToggleSidebar", combo: { key: "p", alt: true } },
    { commandId: "Patchbay.ToggleSidebar", combo: { key: "π", alt: true } },
    { commandId: "Patchbay.LoraCard", combo: { key: "l", alt: true } },
    { commandId: "Patchbay.LoraCard", combo: { key: "¬", alt: true } },
  ],
  menuCommands: [{ path: ["Extensions", "LoRA Patchbay"], commands: ["Patchbay.ToggleSidebar", "Patchbay.ShowSelected", "Patchbay.LoraCard", "Patchbay.CopyReport", "Patchbay.Help"] }],
};

/** Once ComfyUI's page stands. */
export function setUpPanel() {
  ready = true;
  showSidebar(setting(SIDEBAR_SETTING) !== false);
  onLanguageChange(refreshPanel);
  refreshLoraNames();
}

/** @param {import("../../types/app").ComfyNode} node */
export function nodeMenuItems(node) {
  const key = outputKey(node);
  const hasReport = key !== undefined && (node.comfyClass ?? "").startsWith("Patchbay");
  const show = { content: language().t("lora.menuShow"), callback: () => revealNode(node) };
  const items = [...loraMenuItems(node), ...(hasReport && setting(MENU_SETTING) !== false ? [show] : [])];
  return items.length > 0 ? [null, ...items] : [];
}

export { refreshLoraNames, refreshPanel, workflowChanged };

/** @param {boolean} wanted */
function showSidebar(wanted) {
  if (wanted === registered) return;
  registered = wanted;
  const words = language();
  setSidebar(wanted ? { id: SIDEBAR_ID, icon: "pi pi-sliders-h", title: words.t("panel.title"), tooltip: words.t("panel.tooltip"), type: "custom", render: mountPanel, destroy: unmountPanel } : null);
}

/** @param {import("../../types/app").ComfyNode} node */
function revealNode(node) {
  const key = outputKey(node);
  if (key === undefined) return;
  openSidebar();
  showNode(key);
}

function showSelected() {
  const node = selectedNode();
  if (node) revealNode(node);
  else openSidebar();
}

function cardOfSelected() {
  const node = selectedNode();
  const [lora] = node ? lorasOfNode(node) : [];
  if (node && lora) void openLoraCard(node, lora.name);
  else toast("info", language().t("command.none"));
}

async function copyShown() {
  const words = language();
  const shown = shownReport();
  if (!shown) return;
  const copied = await copyText(shown.text || shown.report.summary);
  toast(copied ? "success" : "error", words.t(copied ? "card.copied" : "card.copyFailed"));
}

/** Whether what runs is shown. */
const live = () => setting(LIVE_SETTING) !== false;

/** @param {string} id @param {number} value @param {number} max */
function showProgress(id, value, max, stage = "") {
  if (live()) setProgress({ title: nodeByExecutionId(id) ? titleOfExecution(id) : "", stage, value, max });
}

/** Nodes of the run that did not have to run again. @type {Set<string>} */
const cached = new Set();

// At load, not at set-up: the frontend complains of a message that nobody listens to.
onServerEvent("patchbay.progress", ({ node, stage, value, max }) => {
  const key = `stage.${stage}`;
  const text = language().t(key);
  showProgress(String(node), Number(value), Number(max), text === key ? "" : text);
});
onServerEvent("progress_state", ({ nodes }) => {
  const running = Object.values(nodes ?? {}).filter((node) => node.state === "running").pop();
  if (running) showProgress(String(running.display_node_id ?? running.node_id), running.value, running.max);
});
onServerEvent("execution_start", () => {
  cached.clear();
  if (live()) setProgress({ title: "", stage: "", value: 0, max: 0 });
});
onServerEvent("execution_cached", ({ nodes }) => {
  for (const id of nodes ?? []) cached.add(String(id));
});
onServerEvent("executed", ({ node, display_node: shown, output }) => {
  const id = String(node ?? shown);
  nodeFinished(id, output ?? {}, cached.has(id));
});
for (const end of ["execution_success", "execution_error", "execution_interrupted"]) onServerEvent(end, runEnded);
