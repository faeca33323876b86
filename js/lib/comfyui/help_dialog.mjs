// The side bar's help page in a window of its own.

import { h } from "../ui/dom.mjs";
import { renderHelp } from "../ui/help_page.mjs";
import { language } from "./page_language.mjs";
import { panelIcon } from "../ui/icons.mjs";

const FOLDER = new URL("../../help/", import.meta.url);

/** Opens the page in the language of ComfyUI. */
export async function openHelp() {
  if (document.querySelector("dialog.patchbay-help")) return;
  const { t, locale } = language();
  const body = h("div", { class: "patchbay-help-body", lang: locale });
  const dialog = h("dialog", { class: "patchbay-dialog patchbay-help", "aria-label": t("panel.help") });
  const close = h("button", { type: "button", class: "patchbay-button patchbay-icon-button patchbay-help-close", "aria-label": t("lora.close"), title: t("lora.close"), on: { click: () => dialog.close() } }, panelIcon("close"));
  dialog.append(close, body);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(dialog);
  dialog.showModal();
  try {
    const answer = await fetch(new URL(`side_bar.${locale}.md`, FOLDER));
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    body.replaceChildren(...renderHelp(await answer.text(), (picture) => new URL(picture, FOLDER).href));
  } catch (error) {
    body.replaceChildren(h("p", { role: "alert" }, t("help.failed", { reason: error instanceof Error ? error.message : String(error) })));
  }
}
