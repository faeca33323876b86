// The side bar and the LoRA card as the page's commands, menus and the server's messages reach them.

import { openHelp } from "../comfyui/help_dialog.mjs";
import { outputKey, setting, workflowOnPage } from "../comfyui/app.mjs";
import { language, onLanguageChange } from "../comfyui/page_language.mjs";
import { loraMenuItems, lorasOfNode, MENU_SETTING, openLoraCard, refreshLoraNames } from "./lora_dialog.mjs";
import { mountPanel, nodeFinished, refreshPanel, runEnded, setProgress, shownReport, showNode, unmountPanel, workflowChanged } from "./panel.mjs";
import { onServerEvent, openSidebar, selectedNode, titleOfExecution, toast } from "./host.mjs";
import { copyText } from "../ui/save_file.mjs";

onLanguageChange(refreshPanel);
void refreshLoraNames();
workflowChanged(workflowOnPage());

/**
 * @param {import("../../types/app").ComfyNode} node
 * @param {(node: import("../../types/app").ComfyNode) => void} chooseLora opens the list of LoRAs for it
 */
export function nodeMenuItems(node, chooseLora) {
  const key = outputKey(node);
  const hasReport = key !== undefined && (node.comfyClass ?? "").startsWith("Patchbay");
  const show = { content: language().t("lora.menuShow"), callback: () => revealNode(node) };
  const takesLora = node.widgets?.some(({ name }) => name === "lora_name") && setting(MENU_SETTING) !== false;
  const choose = { content: language().t("lora.menuChoose"), callback: () => chooseLora(node) };
  const items = [...(takesLora ? [choose] : []), ...loraMenuItems(node), ...(hasReport && setting(MENU_SETTING) !== false ? [show] : [])];
  return items.length > 0 ? [null, ...items] : [];
}

export { mountPanel, openHelp, refreshLoraNames, refreshPanel, setProgress, unmountPanel, workflowChanged };

/** @param {import("../../types/app").ComfyNode} node */
function revealNode(node) {
  const key = outputKey(node);
  if (key === undefined) return;
  openSidebar();
  showNode(key);
}

export function showSelected() {
  const node = selectedNode();
  if (node) revealNode(node);
  else openSidebar();
}

export function cardOfSelected() {
  const node = selectedNode();
  const [lora] = node ? lorasOfNode(node) : [];
  if (node && lora) void openLoraCard(node, lora.name);
  else toast("info", language().t("command.none"));
}

export async function copyShown() {
  const words = language();
  const shown = shownReport();
  if (!shown) return;
  const copied = await copyText(shown.text || shown.report.summary);
  toast(copied ? "success" : "error", words.t(copied ? "card.copied" : "card.copyFailed"));
}

/** @param {string} id @param {number} value @param {number} max */
function showProgress(id, value, max, stage = "") {
  setProgress({ title: titleOfExecution(id), stage, value, max });
}

/** Nodes of the run that did not have to run again. @type {Set<string>} */
const cached = new Set();

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
  setProgress({ title: "", stage: "", value: 0, max: 0 });
});
onServerEvent("execution_cached", ({ nodes }) => {
  for (const id of nodes ?? []) cached.add(String(id));
});
onServerEvent("executed", ({ node, display_node: shown, output }) => {
  const id = String(node ?? shown);
  nodeFinished(id, output ?? {}, cached.has(id));
});
for (const end of ["execution_success", "execution_error", "execution_interrupted"]) onServerEvent(end, runEnded);
