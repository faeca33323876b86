// The compare viewer as a part of a node.

import { listenToKeys, listenToStage, sizeOf } from "./input.mjs";
import { asPayload, FIT, initialState, sameStage, withMode, withPayload, withScale, withStep } from "./state.mjs";
import { buildCompareView, renderCompare } from "./view.mjs";
import { h } from "../ui/dom.mjs";

/**
 * @typedef {import("../../types/compare").CompareState} CompareState
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 */

/** Each picture is shown this long: slower than three flashes a second, which can trigger seizures. */
const BLINK_MILLISECONDS = 700;

/**
 * @param {import("../comfyui/node_panels.mjs").PanelHost} host
 * @param {unknown} firstMode
 * @returns {Panel}
 */
export function createComparePanel(host, firstMode) {
  const root = h("div", { class: "patchbay-panel patchbay-compare", role: "region" });
  let state = initialState(firstMode);
  let view = build();
  const observer = new ResizeObserver(() => render());
  observer.observe(view.stage);
  const timer = setInterval(tick, BLINK_MILLISECONDS);
  let drawnOn = sizeOf(view.stage);

  /** @param {CompareState} next */
  function set(next) {
    state = next;
    render();
  }

  function togglePlay() {
    if (state.mode === "blink") set({ ...state, blinkPaused: !state.blinkPaused, blinkShowsB: !state.blinkShowsB });
  }

  /** @param {import("../../types/compare").CompareMode} wanted */
  function mode(wanted) {
    const before = document.activeElement;
    set({ ...withMode(state, wanted), blinkPaused: wanted === "blink" && prefersStill() });
    // What had the focus may have gone with the way of comparing: the keys go on working on the pictures.
    if (before && view.root.contains(before) && before.closest("[hidden]")) view.stage.focus({ preventScroll: true });
  }

  function build() {
    const language = host.language();
    root.setAttribute("aria-label", language.t("compare.label"));
    const built = buildCompareView(
      {
        mode,
        step: (step) => set(withStep(state, step)),
        fit: () => set({ ...state, view: FIT }),
        pixels: () => set(withScale(state)),
        togglePlay,
        imageChanged: () => render(),
      },
      language,
    );
    const input = { get: () => state, set, forwardWheel: host.forwardWheel, togglePlay, mode };
    listenToStage(built.stage, built.handle, input);
    listenToKeys(built.root, built.stage, input);
    root.replaceChildren(built.root);
    return built;
  }

  function render() {
    drawnOn = sizeOf(view.stage);
    renderCompare(view, state, { language: host.language(), urlOf: host.viewUrl, stage: drawnOn });
  }

  /** The next picture of a blinking pair; also the moment to see that the canvas was moved, which no event tells. */
  function tick() {
    if (!root.isConnected || document.hidden) return;
    if (state.mode === "blink" && !state.blinkPaused) return set({ ...state, blinkShowsB: !state.blinkShowsB });
    if (state.payload && !sameStage(sizeOf(view.stage), drawnOn)) render();
  }

  render();
  return {
    root,
    show(output) {
      const payload = asPayload(Array.isArray(output.patchbay_compare) ? output.patchbay_compare[0] : null);
      if (!payload || JSON.stringify(payload) === JSON.stringify(state.payload)) return;
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
