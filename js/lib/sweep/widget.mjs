// A sweep as a part of its node: pictures while it runs, then what they say.

import { collectArrivals } from "../comfyui/arrivals.mjs";
import { arrivalsView } from "../report/arrivals.mjs";
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
  const panel = createPanel(host, { name: "sweep", label: "sweep.label", empty: "sweep.empty" }, (output) => asSweep(first(output.patchbay_sweep)), (data, language, copy, _render, say) =>
    sweepView(data, language, { copy, copyStrengths: async (text, said) => say(said, await copyText(text)) }),
  );
  const render = () => {
    if (arrivals.shown().length > 0) host.root.replaceChildren(arrivalsView(arrivals.shown(), host.language(), host.viewUrl));
    else panel.languageChanged();
  };
  const arrivals = collectArrivals(host.node, render);
  return {
    ...panel,
    show(output) {
      const arrived = arrivals.end();
      panel.show(output);
      if (arrived) render();
    },
    languageChanged: render,
    dispose() {
      arrivals.dispose();
      panel.dispose();
    },
  };
}
