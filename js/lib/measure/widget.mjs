// The measurement as a part of a node: keeps what was unfolded when it renders again.

import { alike } from "../ui/alike.mjs";
import { h, setAttributes } from "../ui/dom.mjs";
import { takeWheel } from "../ui/wheel.mjs";
import { asMeasurement, measurementView } from "./view.mjs";
import { hiddenPixels } from "../ui/out_of_sight.mjs";

/**
 * @typedef {import("../../types/measurement").Measurement} Measurement
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 */

/**
 * @param {import("../comfyui/node_panels.mjs").PanelHost} host
 * @returns {Panel}
 */
export function createMeasurePanel(host) {
  const { root } = host;
  setAttributes(root, { class: "patchbay-panel patchbay-card patchbay-measure", "data-capture-wheel": "true", tabindex: -1, role: "region" });
  /** @type {Measurement | null} */
  let measurement = null;
  /** @type {Set<string>} */
  const open = new Set();

  function render() {
    const language = host.language();
    root.setAttribute("aria-label", language.t("measure.label"));
    root.replaceChildren(measurement ? measurementView(measurement, language) : h("p", { class: "patchbay-empty" }, language.t("measure.empty")));
    for (const fold of root.querySelectorAll("details")) {
      const name = fold.getAttribute("data-fold") ?? "";
      fold.open = open.has(name);
      fold.addEventListener("toggle", () => onToggle(name, fold.open));
    }
  }

  /** @param {string} name @param {boolean} isOpen */
  function onToggle(name, isOpen) {
    if (open.has(name) === isOpen) return;
    open[isOpen ? "add" : "delete"](name);
    host.contentChanged(hiddenPixels(root), open.size > 0);
  }

  takeWheel(root, () => root, host.forwardWheel);
  render();
  return {
    isResult: true,
    show(output) {
      const shown = asMeasurement(Array.isArray(output.patchbay_measurement) ? output.patchbay_measurement[0] : null);
      if (!shown || alike(shown, measurement)) return;
      measurement = shown;
      render();
    },
    languageChanged: render,
    dispose() {},
  };
}
