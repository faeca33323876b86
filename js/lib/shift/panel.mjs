// A part of a node that shows one result: it keeps what was unfolded and focused when it renders again.

import { alike } from "../ui/alike.mjs";
import { h, setAttributes } from "../ui/dom.mjs";
import { copyText } from "../ui/save_file.mjs";
import { takeWheel } from "../ui/wheel.mjs";
import { hiddenPixels } from "../ui/out_of_sight.mjs";

/**
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 * @typedef {import("../comfyui/node_panels.mjs").PanelHost} PanelHost
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

const SAID_MILLISECONDS = 1600;

/**
 * @template T
 * @param {PanelHost} host
 * @param {{name: string, label: string, empty: string}} words its name, and the keys of what it says
 * @param {(output: import("../../types/app").NodeOutput) => T | null} read
 * @param {(data: T, language: Language, copy: (what: "text" | "json") => void, render: () => void, say: (said: Element | null, copied: boolean) => void) => HTMLElement} draw
 * @returns {Panel}
 */
export function createPanel(host, words, read, draw) {
  const { root } = host;
  setAttributes(root, { class: `patchbay-panel patchbay-card patchbay-shift patchbay-shift-of-${words.name}`, "data-capture-wheel": "true", tabindex: -1, role: "region" });
  /** @type {T | null} */
  let data = null;
  let text = "";
  /** @type {Set<string>} */
  const open = new Set();

  function render() {
    const language = host.language();
    const focused = focusedPlace(root);
    const scrolled = root.scrollTop;
    root.lang = language.locale;
    root.setAttribute("aria-label", language.t(words.label));
    root.replaceChildren(data === null ? h("p", { class: "patchbay-empty" }, language.t(words.empty)) : draw(data, language, copy, render, say));
    for (const part of root.querySelectorAll("details")) {
      const foldName = part.getAttribute("data-fold") ?? "";
      part.open = open.has(foldName);
      part.addEventListener("toggle", () => onToggle(foldName, part.open));
    }
    root.scrollTop = scrolled;
    if (focused) /** @type {HTMLElement | null} */ (root.querySelector(focused))?.focus({ preventScroll: true });
  }

  /** @param {string} part @param {boolean} isOpen */
  function onToggle(part, isOpen) {
    if (open.has(part) === isOpen) return;
    open[isOpen ? "add" : "delete"](part);
    host.contentChanged(hiddenPixels(root), open.size > 0);
  }

  /** @param {"text" | "json"} what */
  async function copy(what) {
    say(root.querySelector(".patchbay-shift-copy .patchbay-said"), await copyText(what === "json" ? `${JSON.stringify(data, null, 2)}\n` : text));
  }

  /** @param {Element | null} said @param {boolean} copied */
  function say(said, copied) {
    if (!said) return;
    said.textContent = host.language().t(copied ? "card.copied" : "card.copyFailed");
    setTimeout(() => (said.textContent = ""), SAID_MILLISECONDS);
  }

  takeWheel(root, () => root, host.forwardWheel);
  render();
  return {
    isResult: true,
    show(output) {
      const shown = read(output);
      if (shown === null || alike(shown, data)) return;
      data = shown;
      text = String(first(output.text) ?? "");
      render();
    },
    languageChanged: render,
    dispose() {},
  };
}

/** How to find what has the focus again after everything was made anew. @param {HTMLElement} root */
function focusedPlace(root) {
  const element = root.contains(document.activeElement) ? document.activeElement : null;
  const row = element?.closest("[data-method]")?.getAttribute("data-method");
  if (row) return `[data-method="${CSS.escape(row)}"] button`;
  return element?.getAttribute("role") === "slider" ? "[role=slider]" : null;
}

/** Every value of `ui` is a list. @param {unknown} value */
export const first = (value) => (Array.isArray(value) ? value[0] : undefined);
