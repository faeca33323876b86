// Feature shifts and fitted strengths as parts of a node: keep what was chosen and unfolded when they render again.

import { copyText } from "../ui/save_file.mjs";
import { fitView } from "./fit_view.mjs";
import { asFit, asShift } from "./model.mjs";
import { createPanel, first } from "./panel.mjs";
import { shiftView } from "./view.mjs";

/**
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 * @typedef {import("../comfyui/node_panels.mjs").PanelHost} PanelHost
 */

/** @param {PanelHost} host @returns {Panel} */
export function createShiftPanel(host) {
  /** @type {string | null} */
  let block = null;
  return createPanel(host, { name: "shift", label: "shift.label", empty: "shift.empty" }, (output) => asShift(first(output.patchbay_shift)), (data, language, copy) =>
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
  return createPanel(host, { name: "fit", label: "fit.label", empty: "fit.empty" }, (output) => asFit(first(output.patchbay_fit)), (data, language, copy, render, say) =>
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
