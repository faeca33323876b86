// The LoRA card in a window of its own, and the ways to it: right-click menu and command.

import { h } from "../ui/dom.mjs";
import { setting } from "../comfyui/app.mjs";
import { modelFile } from "../comfyui/editor.mjs";
import { language } from "../comfyui/page_language.mjs";
import { renderLoraCard } from "./lora_card.mjs";
import { lorasOf } from "./lora_names.mjs";
import { showFile } from "./panel.mjs";
import { ask } from "../comfyui/app.mjs";
import { loraNames, openSidebar } from "./host.mjs";
import { asReport } from "../report/widget.mjs";
import { copyText } from "../ui/save_file.mjs";

/**
 * @typedef {import("../../types/app").ComfyNode} ComfyNode
 * @typedef {import("../../types/app").ComfyMenuItem} ComfyMenuItem
 * @typedef {import("./lora_card.mjs").LoraCardState} LoraCardState
 */

export const MENU_SETTING = "LoraPatchbay.Panel.LoraMenu";

const SAID_MILLISECONDS = 1600;

/** Names of the LoRA files of this ComfyUI. @type {Set<string>} */
let listed = new Set();

/** Asks for the list again: at the start, and when the user refreshes the node definitions. */
export async function refreshLoraNames() {
  listed = new Set(await loraNames().catch(() => []));
}

/** @param {ComfyNode} node */
export const lorasOfNode = (node) => lorasOf(node, listed);

/** Entries for the right-click menu of any node that names a LoRA. @param {ComfyNode} node @returns {ComfyMenuItem[]} */
export function loraMenuItems(node) {
  if (setting(MENU_SETTING) === false) return [];
  const loras = lorasOfNode(node);
  const { t } = language();
  if (loras.length === 0) return [];
  const open = (/** @type {string} */ name) => () => void openLoraCard(node, name);
  const [only] = loras;
  if (loras.length === 1 && only) return [{ content: t("lora.menu"), callback: open(only.name) }];
  return [{ content: t("lora.menu"), submenu: { options: loras.map(({ name }) => ({ content: baseName(name), callback: open(name) })) } }];
}

/** Menus of the classic canvas take markup, so a name goes in without what would make one. @param {string} name */
const baseName = (name) => (name.split(/[\\/]/).pop() ?? name).replace(/[<>&"]/g, "").slice(0, 80);

/**
 * @param {ComfyNode} node
 * @param {string} name
 */
export async function openLoraCard(node, name) {
  const model = modelFile(/** @type {import("../../types/editor_app").EditorNode} */ (node));
  /** @type {LoraCardState} */
  const state = { name, report: null, fit: null, hasModel: model !== null, error: "" };
  const dialog = h("dialog", { class: "patchbay-dialog", "aria-labelledby": "patchbay-lora-name", tabindex: -1 });
  let text = "";
  const render = () => {
    dialog.replaceChildren(...renderLoraCard(state, language(), actions));
    // Without the focus inside of it, Escape would go to the canvas.
    if (dialog.open) dialog.focus();
  };
  const actions = {
    close: () => dialog.close(),
    async copy(/** @type {string} */ word) {
      const { t } = language();
      say(dialog, t((await copyText(word)) ? "card.copied" : "card.copyFailed"));
    },
    async show() {
      dialog.close();
      openSidebar();
      const measured = await ask(`/patchbay/lora?name=${encodeURIComponent(name)}&measure=1`).catch(() => null);
      const report = asReport(measured?.report) ?? state.report;
      if (report) showFile({ key: `file ${name}`, title: language().t("panel.file", { name: baseName(name) }), report, text: measured?.text ?? text });
    },
  };
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  render();
  document.body.append(dialog);
  dialog.showModal();
  try {
    const [answer, fit] = await Promise.all([
      ask(`/patchbay/lora?name=${encodeURIComponent(name)}`),
      model ? ask(`/patchbay/fit?${new URLSearchParams({ lora: name, folder: model.folder, model: model.name })}`).catch((error) => unknownFit(error)) : null,
    ]);
    Object.assign(state, { report: asReport(answer.report), fit });
    text = String(answer.text ?? "");
  } catch (error) {
    state.error = error instanceof Error ? error.message : String(error);
  }
  render();
}

/** A model file that is missing or cannot be read is a reason, not a verdict. @param {unknown} error */
const unknownFit = (error) => ({ verdict: "not known", lora: "", model: "", reason: error instanceof Error ? error.message : String(error) });

/** @param {HTMLElement} dialog @param {string} text */
function say(dialog, text) {
  const said = dialog.querySelector(".patchbay-said");
  if (!said) return;
  said.textContent = text;
  setTimeout(() => (said.textContent = ""), SAID_MILLISECONDS);
}
