// A sweep as a part of its node.

import { createPanel, first } from "../shift/panel.mjs";
import { copyText } from "../ui/save_file.mjs";
import { asSweep } from "./model.mjs";
import { sweepView } from "./view.mjs";

/**
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 * @typedef {import("../comfyui/node_panels.mjs").PanelHost} PanelHost
 */

/** @param {PanelHost} host @returns {Panel} */
export function createSweepPanel(host) {
  return createPanel(host, { name: "sweep", label: "sweep.label", empty: "sweep.empty" }, (output) => asSweep(first(output.patchbay_sweep)), (data, language, copy, _render, say) =>
    sweepView(data, language, { copy, copyStrengths: async (text, said) => say(said, await copyText(text)) }),
  );
}
