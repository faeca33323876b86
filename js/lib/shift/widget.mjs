// Feature shifts and fitted strengths as parts of a node: keep what was chosen and unfolded when they render again.

import { alike } from "../ui/alike.mjs";
import { h, setAttributes } from "../ui/dom.mjs";
import { takeWheel } from "../ui/wheel.mjs";
import { fitView } from "./fit_view.mjs";
import { copyText } from "../ui/save_file.mjs";
import { asFit, asShift } from "./model.mjs";
import { shiftView } from "./view.mjs";

/**
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 * @typedef {import("../comfyui/node_panels.mjs").PanelHost} PanelHost
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

const SAID_MILLISECONDS = 1600;

/** @param {PanelHost} host @returns {Panel} */
export function createShiftPanel(host) {
  /** @type {string | null} */
  let block = null;
  return createPanel(host, "shift", (output) => asShift(first(output.patchbay_shift)), (data, language, copy) =>
    shiftView(data, language, {
      block,
      choose: (chosen) => {
        block = chosen;
      },
      copy,
    }),
  );
}

/** @param {PanelHost} host @returns {Panel} */
export function createFitPanel(host) {
  /** @type {string | null} */
  let shown = null;
  return createPanel(host, "fit", (output) => asFit(first(output.patchbay_fit)), (data, language, copy, render, say) =>
    fitView(data, language, {
      shown,
      show: (name) => {
        shown = name;
        render();
      },
      copy,
      copyStrengths: async (text, said) => say(said, await copyText(text)),
    }),
  );
}

/**
 * @template T
 * @param {PanelHost} host
 * @param {"shift" | "fit"} name
 * @param {(output: import("../../types/app").NodeOutput) => T | null} read
 * @param {(data: T, language: Language, copy: (what: "text" | "json") => void, render: () => void, say: (said: Element | null, copied: boolean) => void) => HTMLElement} draw
 * @returns {Panel}
 */
function createPanel(host, name, read, draw) {
  const { root } = host;
  setAttributes(root, { class: `patchbay-panel patchbay-card patchbay-shift patchbay-shift-of-${name}`, "data-capture-wheel": "true", tabindex: -1, role: "region" });
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
    root.setAttribute("aria-label", language.t(name === "fit" ? "fit.label" : "shift.label"));
    root.replaceChildren(data === null ? h("p", { class: "patchbay-empty" }, language.t(name === "fit" ? "fit.empty" : "shift.empty")) : draw(data, language, copy, render, say));
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
    host.contentChanged(root.scrollHeight - root.clientHeight, open.size > 0);
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
const first = (value) => (Array.isArray(value) ? value[0] : undefined);
