// A grid as a part of a node: the sheet, or one of its pictures enlarged.

import { collectArrivals } from "../comfyui/arrivals.mjs";
import { arrivalsView } from "../report/arrivals.mjs";
import { alike } from "../ui/alike.mjs";
import { h, setAttributes } from "../ui/dom.mjs";
import { openMenu } from "../ui/menu.mjs";
import { takeWheel } from "../ui/wheel.mjs";
import { largeView } from "./large.mjs";
import { asGrid, neighbour, pageOf, settingsOf } from "./model.mjs";
import { nameOfTarget, targetsOf, useSettings } from "./targets.mjs";
import { detail, gridView, hint } from "./view.mjs";

/**
 * @typedef {import("../../types/grid").GridData} GridData
 * @typedef {import("../../types/grid").GridSettings} GridSettings
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 */

/** @param {import("../comfyui/node_panels.mjs").PanelHost} host @returns {Panel} */
export function createGridPanel(host) {
  const { root } = host;
  setAttributes(root, { class: "patchbay-panel patchbay-grid", "data-capture-wheel": "true", tabindex: -1, role: "region" });
  /** @type {GridData | null} */
  let data = null;
  let page = 0;
  /** Number of the cell that is enlarged. @type {number | null} */
  let opened = null;
  const arrivals = collectArrivals(host.node, render);

  function render() {
    const language = host.language();
    root.lang = language.locale;
    root.setAttribute("aria-label", language.t("grid.label"));
    if (arrivals.shown().length > 0) return root.replaceChildren(arrivalsView(arrivals.shown(), language, host.viewUrl));
    root.replaceChildren(data ? content(data) : h("p", { class: "patchbay-empty" }, language.t("grid.empty")));
  }

  /** @param {GridData} shown */
  function content(shown) {
    const language = host.language();
    const cell = opened === null ? undefined : shown.cells[opened];
    if (!cell) return gridView(shown, page, language, { turn, open, point, urlOf: host.viewUrl });
    const settings = settingsOf(cell);
    return largeView(shown, cell, language, { close, step, use: settings && ((button) => use(button, settings)), urlOf: host.viewUrl });
  }

  /** @param {number} number */
  function turn(number) {
    page = number;
    render();
  }

  /** @param {number} number */
  function open(number) {
    opened = number;
    render();
    /** @type {HTMLElement | null} */ (root.querySelector(".patchbay-grid-stage"))?.focus({ preventScroll: true });
  }

  function close() {
    const number = opened;
    opened = null;
    render();
    /** @type {HTMLElement | null} */ (root.querySelector(`[data-cell="${number}"]`))?.focus({ preventScroll: true });
  }

  /** @param {number} across @param {number} down */
  function step(across, down) {
    const next = data && opened !== null ? neighbour(pageOf(data, page), opened, across, down) : null;
    if (next !== null && data?.cells[next]?.picture) open(next);
  }

  /** @param {number | null} number */
  function point(number) {
    const place = root.querySelector(".patchbay-grid-detail");
    const cell = number === null ? undefined : data?.cells[number];
    if (data && place) place.replaceChildren(cell ? detail(data, cell, host.language()) : hint(data, host.language()));
  }

  /** @param {HTMLElement} button @param {GridSettings} settings */
  function use(button, settings) {
    const language = host.language();
    const targets = targetsOf(/** @type {import("../../types/editor_app").EditorNode} */ (host.node));
    if (targets.length === 1 && targets[0]) return useSettings(targets[0], settings, language);
    const entries = targets.map((target) => ({ text: nameOfTarget(target), act: () => useSettings(target, settings, language) }));
    const none = { text: language.t("grid.noTarget"), hint: language.t("grid.noTarget.hint"), act: () => {} };
    openMenu(button, [{ title: language.t("grid.use"), entries: entries.length > 0 ? entries : [none] }], language.locale);
  }

  takeWheel(root, () => /** @type {HTMLElement} */ (root.querySelector(".patchbay-grid-scroll") ?? root), host.forwardWheel);
  render();
  return {
    isResult: true,
    show(output) {
      const arrived = arrivals.end();
      const shown = asGrid(Array.isArray(output.patchbay_grid) ? output.patchbay_grid[0] : null);
      if (!shown || alike(shown, data)) return arrived ? render() : undefined;
      data = shown;
      page = Math.min(page, shown.pages.length - 1);
      opened = null;
      render();
    },
    languageChanged: render,
    dispose: arrivals.dispose,
  };
}
