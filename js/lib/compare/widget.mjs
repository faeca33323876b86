// The compare viewer as a part of a node.

import { listenToKeys, listenToStage, sizeOf } from "./input.mjs";
import { asPayload, FIT, initialState, sameStage, withMode, withPayload, withPin, withScale, withStep } from "./state.mjs";
import { buildCompareView, renderCompare } from "./view.mjs";
import { alike } from "../ui/alike.mjs";
import { setAttributes } from "../ui/dom.mjs";
import { onCanvasChange } from "../comfyui/canvas_watch.mjs";

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
  const { root } = host;
  setAttributes(root, { class: "patchbay-panel patchbay-compare", role: "region" });
  let state = initialState(firstMode);
  let view = build();
  const observer = new ResizeObserver(() => render());
  observer.observe(view.stage);
  const unwatch = onCanvasChange(lookAtStage);
  /** Runs only while pictures blink. @type {ReturnType<typeof setInterval> | undefined} */
  let blinking;
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
    if (state.pinned && wanted === "difference") return;
    set({ ...withMode(state, wanted), blinkPaused: wanted === "blink" && prefersStill() });
    // What had the focus may have gone with the way of comparing: the keys go on working on the pictures.
    if (before && view.root.contains(before) && before.closest("[hidden]")) view.stage.focus({ preventScroll: true });
  }

  function build() {
    const language = host.language();
    root.setAttribute("aria-label", language.t("compare.label"));
    const held = {
      pin: () => set(withPin(state)),
      hold: (/** @type {boolean} */ now) => state.held !== now && set({ ...state, held: now }),
      whole: () => void (document.fullscreenElement === root ? document.exitFullscreen() : root.requestFullscreen?.()),
    };
    const built = buildCompareView(
      {
        mode,
        step: (step) => set(withStep(state, step)),
        fit: () => set({ ...state, view: FIT }),
        pixels: () => set(withScale(state)),
        togglePlay,
        ...held,
        imageChanged: () => render(),
      },
      language,
    );
    const input = { get: () => state, set, forwardWheel: host.forwardWheel, togglePlay, mode, ...held };
    listenToStage(built.stage, built.handle, input);
    listenToKeys(built.root, built.stage, input);
    root.replaceChildren(built.root);
    return built;
  }

  function render() {
    drawnOn = sizeOf(view.stage);
    blink(state.mode === "blink" && !state.blinkPaused && state.payload !== null);
    renderCompare(view, state, { language: host.language(), urlOf: host.viewUrl, stage: drawnOn });
  }

  /** @param {boolean} wanted */
  function blink(wanted) {
    if (wanted === (blinking !== undefined)) return;
    clearInterval(blinking);
    blinking = wanted ? setInterval(nextPicture, BLINK_MILLISECONDS) : undefined;
  }

  function nextPicture() {
    if (root.isConnected && !document.hidden) set({ ...state, blinkShowsB: !state.blinkShowsB });
  }

  /** The canvas may have been moved or zoomed: the pictures lie on the screen's own pixels. */
  function lookAtStage() {
    if (root.isConnected && state.payload && !sameStage(sizeOf(view.stage), drawnOn)) render();
  }

  render();
  return {
    isResult: true,
    show(output) {
      const payload = asPayload(Array.isArray(output.patchbay_compare) ? output.patchbay_compare[0] : null);
      if (!payload || alike(payload, state.payload)) return;
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
      unwatch();
      blink(false);
    },
  };
}

/** Somebody who asked for less motion steps by hand. */
const prefersStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
