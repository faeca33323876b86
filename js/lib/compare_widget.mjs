// The compare viewer as a part of a node.

import { listenToStage, sizeOf } from "./compare_input.mjs";
import { asPayload, FIT, initialState, withMode, withPayload, withScale, withStep } from "./compare_state.mjs";
import { buildCompareView, renderCompare } from "./compare_view.mjs";
import { h } from "./dom.mjs";

/**
 * @typedef {import("../types/compare").CompareState} CompareState
 * @typedef {import("./node_panels.mjs").Panel} Panel
 */

/** Each picture is shown this long: slower than three flashes a second, which can trigger seizures. */
const BLINK_MILLISECONDS = 700;

/**
 * @param {import("./node_panels.mjs").PanelHost} host
 * @param {unknown} firstMode
 * @returns {Panel}
 */
export function createComparePanel(host, firstMode) {
  const root = h("div", { class: "patchbay-panel patchbay-compare", role: "region" });
  let state = initialState(firstMode);
  let run = "";
  let view = build();
  const observer = new ResizeObserver(() => render());
  observer.observe(view.stage);
  const timer = setInterval(tick, BLINK_MILLISECONDS);
  let grid = 0;

  /** @param {CompareState} next */
  function set(next) {
    state = next;
    render();
  }

  function togglePlay() {
    if (state.mode === "blink") set({ ...state, blinkPaused: !state.blinkPaused, blinkShowsB: !state.blinkShowsB });
  }

  function build() {
    const language = host.language();
    root.setAttribute("aria-label", language.t("compare.label"));
    const built = buildCompareView(
      {
        mode: (mode) => set({ ...withMode(state, mode), blinkPaused: mode === "blink" && prefersStill() }),
        step: (step) => set(withStep(state, step)),
        fit: () => set({ ...state, view: FIT }),
        pixels: () => set(withScale(state)),
        togglePlay,
        imageChanged: () => render(),
      },
      language,
    );
    listenToStage(built.stage, built.handle, { get: () => state, set, forwardWheel: host.forwardWheel, togglePlay });
    root.replaceChildren(built.root);
    return built;
  }

  function render() {
    const stage = sizeOf(view.stage);
    grid = stage.grid;
    renderCompare(view, state, { language: host.language(), urlOf: (image) => host.viewUrl(image, run), stage });
  }

  /** The next picture of a blinking pair; also the moment to see that the canvas was zoomed, which no event tells. */
  function tick() {
    if (!root.isConnected || document.hidden) return;
    if (state.mode === "blink" && !state.blinkPaused) return set({ ...state, blinkShowsB: !state.blinkShowsB });
    if (state.payload && sizeOf(view.stage).grid !== grid) render();
  }

  render();
  return {
    root,
    show(output) {
      const payload = asPayload(Array.isArray(output.patchbay_compare) ? output.patchbay_compare[0] : null);
      if (!payload || JSON.stringify(payload) === JSON.stringify(state.payload)) return;
      run = Math.random().toString(36).slice(2, 10);
      set(withPayload(state, payload));
    },
    languageChanged() {
      observer.disconnect();
      view = build();
      observer.observe(view.stage);
      render();
    },
    dispose() {
      observer.disconnect();
      clearInterval(timer);
    },
  };
}

/** Somebody who asked for less motion steps by hand. */
const prefersStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
