// The report card as a part of a node: keeps the state, renders it again when it changes.

import { alike } from "../ui/alike.mjs";
import { setAttributes } from "../ui/dom.mjs";
import { fileOf, isHealthy, renderReportCard } from "./card.mjs";
import { copyText } from "../ui/save_file.mjs";
import { askSizes } from "./sizes.mjs";
import { hiddenPixels } from "../ui/out_of_sight.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("./card.mjs").CardState} CardState
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 */

const COPIED_MILLISECONDS = 1600;

/**
 * @param {import("../comfyui/node_panels.mjs").PanelHost} host
 * @returns {Panel}
 */
export function createReportPanel(host) {
  const { root } = host;
  setAttributes(root, { class: "patchbay-panel patchbay-card", "data-capture-wheel": "true", tabindex: -1 });
  /** @type {CardState} */
  const state = { report: null, text: "", language: host.language(), open: new Set() };
  /** By the user. */
  let unfolded = false;
  /** What the node sent last; `state` holds it with its sizes, once they are known. @type {Report | null} */
  let sent = null;
  /** The sizes that the node left out, as soon as there is something of them to see. */
  const completeSizes = async () => {
    const waiting = state.report;
    if (!waiting?.sizes) return;
    const found = await askSizes(waiting, host.ask);
    if (!found || state.report !== waiting) return;
    Object.assign(state, found);
    render();
  };
  const actions = {
    /** @param {"text" | "json"} what */
    copy: async (what) => {
      await completeSizes();
      showCopied((await copyReport(state, what)) ? what : "failed");
    },
    /** @param {number} energy */
    saveSmaller: async (energy) => {
      if (!state.report) return;
      /** @type {import("./rank_curves.mjs").Saving} */
      const mine = { state: "busy", energy };
      state.saving = mine;
      render();
      const saving = await smaller(fileOf(state.report), energy);
      if (state.saving !== mine) return;
      state.saving = saving;
      render();
    },
    /** @param {string} name @param {boolean} open @param {HTMLElement} element */
    fold: (name, open, element) => {
      const changed = state.open.has(name) !== open;
      state.open[open ? "add" : "delete"](name);
      if (!changed) return;
      unfolded = state.open.size > 0;
      host.contentChanged(hiddenPixels(root), state.open.size > 0);
      if (open) setTimeout(() => scrollTo(root, element), 60);
      if (open) void completeSizes();
    },
  };
  const render = () => renderReportCard(root, state, actions);
  /** @param {"text" | "json" | "failed"} copied */
  const showCopied = (copied) => {
    const said = root.querySelector(".patchbay-said");
    if (said) said.textContent = host.language().t(copied === "failed" ? "card.copyFailed" : "card.copied");
    setTimeout(() => said && (said.textContent = ""), COPIED_MILLISECONDS);
  };
  root.addEventListener("wheel", (event) => onWheel(root, event, host), { passive: false });
  render();
  return {
    isResult: true,
    show(output) {
      const report = asReport(first(output.patchbay_report));
      if (!report || alike(report, sent)) return;
      sent = report;
      // What the strengths mean for the model stands in the notes: there is nothing else to see.
      if (!state.report && report.kind === "strengths") state.open.add("notes");
      state.report = report;
      state.saving = null;
      state.text = String(first(output.text) ?? "");
      render();
      if (!isHealthy(report) || state.open.size > 0) void completeSizes();
      // What is wrong is to be seen without scrolling. One line needs no room, and strengths that are all right give a node that
      // stands above others none by themselves: only a hand that unfolds something does.
      const calm = isHealthy(report) || (report.kind === "strengths" && report.level === "ok");
      requestAnimationFrame(() => host.contentChanged(hiddenPixels(root), !calm || unfolded));
    },
    languageChanged() {
      state.language = host.language();
      render();
    },
    dispose() {},
  };
}

/**
 * Scrolls the card, and nothing around it, until an unfolded part is in view. `scrollIntoView` would move the canvas.
 * @param {HTMLElement} root
 * @param {HTMLElement} element
 */
function scrollTo(root, element) {
  const hidden = element.offsetTop + element.offsetHeight - root.scrollTop - root.clientHeight;
  if (hidden > 0) root.scrollTop += Math.min(hidden, element.offsetTop - root.scrollTop);
}

/** Every value of `ui` is a list. @param {unknown} value */
const first = (value) => (Array.isArray(value) ? value[0] : undefined);

/**
 * @param {unknown} value
 * @returns {Report | null}
 */
export function asReport(value) {
  if (typeof value !== "object" || value === null) return null;
  const report = /** @type {Report} */ (value);
  return report.schema === "patchbay.report" && Array.isArray(report.layers) ? report : null;
}

/**
 * @param {HTMLElement} root
 * @param {WheelEvent} event
 * @param {import("../comfyui/node_panels.mjs").PanelHost} host
 */
function onWheel(root, event, host) {
  const inner = event.target instanceof Element ? event.target.closest(".patchbay-scroller") : null;
  const scrolls = [inner, root].some((element) => element && element.scrollHeight > element.clientHeight + 1);
  if (scrolls && !event.ctrlKey && !event.metaKey) event.stopPropagation();
  else host.forwardWheel(event);
}

/** @param {string} name @param {number} energy @returns {Promise<import("./rank_curves.mjs").Saving>} */
async function smaller(name, energy) {
  try {
    const { requestJson } = await import("../comfyui/editor.mjs");
    const made = await requestJson("/patchbay/resize", { method: "POST", body: { name, energy } });
    return { state: "done", energy, made: /** @type {import("../../types/report").Resized} */ (made) };
  } catch (error) {
    return { state: "failed", energy, problem: error instanceof Error ? error.message : String(error) };
  }
}

/** @param {CardState} state @param {"text" | "json"} what */
const copyReport = (state, what) => copyText(what === "json" ? `${JSON.stringify(state.report, null, 2)}\n` : state.text);
