// The compare viewer's elements, built once, and `render(view, state)` that brings them up to date.

import { currentPair, labelsOf, MODES, paneBoxes, placePicture, sizeMismatch, sliderRange } from "./state.mjs";
import { metricsText, sizeText, usedText, zoomText } from "./text.mjs";
import { h, setStyle } from "../ui/dom.mjs";
import { formatNumber, formatShare, plainText } from "../ui/format.mjs";

/**
 * @typedef {import("../../types/compare").CompareState} CompareState
 * @typedef {import("../../types/compare").CompareMode} CompareMode
 * @typedef {import("../../types/compare").ImageRef} ImageRef
 * @typedef {import("../../types/compare").Size} Size
 * @typedef {import("../words/i18n.mjs").Language} Language
 * @typedef {"a" | "b" | "difference"} PaneName
 *
 * @typedef {object} Pane
 * @property {HTMLElement} root
 * @property {HTMLImageElement} image
 * @property {HTMLElement} label
 * @property {HTMLElement} message
 *
 * @typedef {object} CompareView
 * @property {HTMLElement} root
 * @property {HTMLElement} stage
 * @property {Record<PaneName, Pane>} panes
 * @property {HTMLElement} handle the slider
 * @property {Record<CompareMode, HTMLButtonElement>} modes
 * @property {HTMLElement} pairs
 * @property {HTMLElement} pairText
 * @property {HTMLInputElement} seek goes through the frames of a video
 * @property {HTMLElement} zoom
 * @property {HTMLButtonElement} pixels
 * @property {HTMLButtonElement} fit
 * @property {HTMLButtonElement} play
 * @property {HTMLButtonElement} pin
 * @property {HTMLElement} metrics
 * @property {HTMLElement} remark
 * @property {HTMLElement} empty
 *
 * @typedef {object} CompareActions
 * @property {(mode: CompareMode) => void} mode
 * @property {(step: number) => void} step
 * @property {() => void} fit
 * @property {() => void} pixels
 * @property {() => void} togglePlay
 * @property {() => void} pin
 * @property {(held: boolean) => void} hold
 * @property {() => void} whole the whole screen
 * @property {() => void} imageChanged
 */

/** @type {readonly PaneName[]} */
const PANES = ["a", "b", "difference"];

/** @type {Record<CompareMode, string>} */
/** From so many pairs on they are frames to go through. */
const SEEKABLE = 4;
const MODE_KEYS = { side: "S", slider: "L", blink: "B", difference: "D" };

/**
 * @param {CompareActions} actions
 * @param {Language} language
 * @returns {CompareView}
 */
export function buildCompareView(actions, { t }) {
  const panes = { a: buildPane("a", actions), b: buildPane("b", actions), difference: buildPane("difference", actions) };
  const handle = h("div", { class: "patchbay-split", role: "slider", tabindex: 0, "aria-orientation": "horizontal", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": t("compare.split"), title: t("compare.split.hint") });
  const stage = h(
    "div",
    { class: "patchbay-stage", tabindex: 0, role: "group", "aria-label": t("compare.stage"), "data-capture-wheel": "true" },
    ...PANES.map((name) => panes[name].root),
    handle,
  );
  const modes = /** @type {Record<CompareMode, HTMLButtonElement>} */ (
    Object.fromEntries(MODES.map((mode) => [mode, button(t(`compare.${mode}`), () => actions.mode(mode), { title: t(`compare.${mode}.hint`), "aria-keyshortcuts": MODE_KEYS[mode] })]))
  );
  const pairText = h("span", { class: "patchbay-pair", role: "status" });
  const seek = h("input", { type: "range", class: "patchbay-seek", min: 0, step: 1, "aria-label": t("compare.seek"), title: t("compare.seek") });
  seek.addEventListener("input", () => actions.step(Number(seek.value) - Number(seek.dataset.at)));
  const pairs = h(
    "span",
    { class: "patchbay-pairs" },
    seek,
    button("‹", () => actions.step(-1), { title: t("compare.previous.hint"), "aria-label": t("compare.previous"), "aria-keyshortcuts": "PageUp" }),
    pairText,
    button("›", () => actions.step(1), { title: t("compare.next.hint"), "aria-label": t("compare.next"), "aria-keyshortcuts": "PageDown" }),
  );
  const play = button(t("compare.pause"), actions.togglePlay, { title: t("compare.play.hint") });
  const zoom = h("span", { class: "patchbay-zoom", title: t("compare.zoom.hint") });
  const pixels = button(t("compare.pixels"), actions.pixels, { title: t("compare.pixels.hint"), "aria-keyshortcuts": "1" });
  const fit = button(t("compare.fit"), actions.fit, { title: t("compare.fit.hint"), "aria-keyshortcuts": "0" });
  const pin = button(t("compare.pin"), actions.pin, { title: t("compare.pin.hint"), "aria-keyshortcuts": "P" });
  const swap = button(t("compare.swap"), () => {}, { title: t("compare.swap.hint"), "aria-keyshortcuts": "X" });
  swap.addEventListener("pointerdown", (event) => {
    swap.setPointerCapture(event.pointerId);
    actions.hold(true);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) swap.addEventListener(end, () => actions.hold(false));
  const whole = button("⛶", actions.whole, { title: t("compare.whole"), "aria-label": t("compare.whole"), "aria-keyshortcuts": "F" });
  const metrics = h("span", { class: "patchbay-metrics", role: "status", title: t("compare.metrics.hint") });
  const remark = h("p", { class: "patchbay-remark" });
  const empty = h("p", { class: "patchbay-empty" });
  const root = h(
    "div",
    { class: "patchbay-compare-body" },
    h("div", { class: "patchbay-tools" }, h("div", { class: "patchbay-modes", role: "group", "aria-label": t("compare.mode") }, ...MODES.map((mode) => modes[mode])), pairs),
    stage,
    empty,
    remark,
    h("div", { class: "patchbay-foot" }, metrics, play, swap, pin, zoom, pixels, fit, whole),
  );
  return { root, stage, panes, handle, modes, pairs, pairText, seek, zoom, pixels, fit, play, pin, metrics, remark, empty };
}

/** @param {string} text @param {() => void} act @param {import("../ui/dom.mjs").Props} props */
function button(text, act, props) {
  return h("button", { type: "button", class: "patchbay-button", ...props, on: { click: act } }, text);
}

/** @param {PaneName} name @param {CompareActions} actions @returns {Pane} */
function buildPane(name, { imageChanged }) {
  const image = h("img", { class: "patchbay-picture", alt: "", draggable: "false", decoding: "async" });
  const message = h("span", { class: "patchbay-pane-message" });
  const label = h("span", { class: "patchbay-pane-label" });
  image.addEventListener("load", () => (image.setAttribute("data-state", "loaded"), imageChanged()));
  image.addEventListener("error", () => (image.setAttribute("data-state", "failed"), imageChanged()));
  return { root: h("div", { class: `patchbay-pane patchbay-pane-${name}` }, image, message, label), image, label, message };
}

/**
 * @param {CompareView} view
 * @param {CompareState} state
 * @param {{language: Language, urlOf: (image: ImageRef) => string, stage: import("./state.mjs").Pane}} context
 */
export function renderCompare(view, state, context) {
  const { t } = context.language;
  const pair = currentPair(state);
  view.root.lang = context.language.locale;
  view.root.classList.toggle("patchbay-is-empty", !pair);
  view.empty.textContent = pair ? "" : t(state.payload ? "compare.noPairs" : "compare.empty");
  for (const mode of MODES) view.modes[mode].setAttribute("aria-pressed", String(mode === state.mode));
  const count = state.payload?.pairs.length ?? 0;
  view.pairs.hidden = count < 2;
  view.pairText.textContent = t("compare.pair", { at: state.index + 1, of: count });
  view.seek.hidden = count < SEEKABLE;
  view.seek.max = String(Math.max(0, count - 1));
  view.seek.value = view.seek.dataset.at = String(state.index);
  view.play.hidden = !pair || state.mode !== "blink";
  view.play.textContent = t(state.blinkPaused ? "compare.play" : "compare.pause");
  view.pin.hidden = !pair;
  view.pin.setAttribute("aria-pressed", String(state.pinned !== null));
  view.modes.difference.disabled = state.pinned !== null;
  if (pair) {
    renderLabels(view, state, context.language);
    renderPictures(view, state, pair, context);
    view.metrics.textContent = state.pinned ? t("compare.pinned.metrics") : metricsText(pair.metrics, context.language);
    view.metrics.classList.toggle("patchbay-identical", pair.metrics.identical && !state.pinned);
  }
}

/** @param {CompareView} view @param {CompareState} state @param {Language} language */
function renderLabels(view, state, { t, locale }) {
  const payload = state.payload;
  if (!payload) return;
  const gain = formatNumber(payload.gain, locale);
  for (const [at, { text, loras, earlier }] of labelsOf(state).entries()) {
    const letter = (at === 0) === state.held ? "B" : "A";
    setLabel(at === 0 ? view.panes.a : view.panes.b, letter, earlier ? t("compare.pinned", { label: text }) : text, usedText(loras, locale));
  }
  const { label, image } = view.panes.difference;
  const compared = `${view.panes.a.image.alt} ↔ ${view.panes.b.image.alt}`;
  image.alt = t("compare.gain", { gain });
  label.replaceChildren(h("span", {}, image.alt), h("bdi", { class: "patchbay-used" }, compared));
  label.title = `${t("compare.gainHint")}\n${compared}`;
}

/** @param {Pane} pane @param {string} letter @param {string} text @param {string} used */
function setLabel(pane, letter, text, used) {
  const shown = plainText(text, 200);
  const whole = [shown, used].filter(Boolean).join("\n");
  if (pane.label.title !== whole || !pane.label.firstChild) {
    pane.label.replaceChildren(h("b", {}, letter), shown && h("bdi", {}, shown), used && h("bdi", { class: "patchbay-used" }, used));
  }
  pane.label.title = whole;
  pane.image.alt = whole ? `${letter}: ${whole.replace("\n", ", ")}` : letter;
}

/**
 * @param {CompareView} view
 * @param {CompareState} state
 * @param {import("../../types/compare").ComparePair} pair
 * @param {{language: Language, urlOf: (image: ImageRef) => string, stage: import("./state.mjs").Pane}} context
 */
function renderPictures(view, state, pair, { language, urlOf, stage }) {
  const picture = { width: pair.width || 1, height: pair.height || 1 };
  const boxes = paneBoxes(state.mode, picture, stage);
  const first = boxes[0] ?? { left: 0, top: 0, ...stage };
  const placed = placePicture(state.view, picture, first);
  const shown = shownPanes(state);
  for (const name of PANES) {
    const pane = view.panes[name];
    const box = name === "b" ? boxes[1] ?? first : first;
    pane.root.hidden = !shown.includes(name);
    load(pane, urlOf(pair[name]), language);
    setStyle(pane.root, { left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px`, "clip-path": "none" });
    // By a transform: browsers round a place and a size that are laid out, which at 1:1 would be another scale.
    const transform = `translate(${placed.left}px, ${placed.top}px) scale(${placed.width / picture.width})`;
    setStyle(pane.image, { width: `${picture.width}px`, height: `${picture.height}px`, transform });
    pane.image.classList.toggle("patchbay-pixelated", placed.scale >= 1);
  }
  renderSplit(view, state, placed, first, language);
  view.zoom.textContent = zoomText(placed.scale, language.locale);
  view.fit.setAttribute("aria-pressed", String(state.view.scale === null));
  view.pixels.setAttribute("aria-pressed", String(placed.scale === 1));
  view.stage.classList.toggle("patchbay-is-zoomed", state.view.scale !== null);
  renderRemark(view, picture, state.payload?.notes ?? [], language);
}

/** @param {CompareState} state @returns {PaneName[]} */
function shownPanes({ mode, blinkShowsB }) {
  if (mode === "difference") return ["difference"];
  if (mode === "blink") return [blinkShowsB ? "b" : "a"];
  return ["a", "b"];
}

/** @param {Pane} pane @param {string} url @param {Language} language */
function load(pane, url, { t }) {
  if (pane.image.getAttribute("src") !== url) {
    pane.image.setAttribute("data-state", "loading");
    pane.image.setAttribute("src", url);
  }
  const state = pane.image.getAttribute("data-state");
  const text = state === "failed" ? t("compare.failed") : state === "loading" ? t("compare.loading") : "";
  if (pane.message.textContent !== text) pane.message.textContent = text;
}

/**
 * @param {CompareView} view
 * @param {CompareState} state
 * @param {import("./state.mjs").Box} placed
 * @param {Size} pane
 * @param {Language} language
 */
function renderSplit(view, state, placed, pane, { t, locale }) {
  view.handle.hidden = state.mode !== "slider";
  view.panes.b.root.classList.toggle("patchbay-label-end", state.mode === "slider");
  if (state.mode !== "slider") return;
  const range = sliderRange(placed, pane);
  const at = range.left + state.split * range.width;
  setStyle(view.panes.b.root, { "clip-path": `inset(0 0 0 ${at}px)` });
  setStyle(view.handle, { left: `${at}px` });
  view.handle.setAttribute("aria-valuenow", String(Math.round(state.split * 100)));
  view.handle.setAttribute("aria-valuetext", t("compare.splitValue", { percent: formatShare(state.split, locale), label: view.panes.a.image.alt }));
}

/** @param {CompareView} view @param {Size} picture @param {string[]} notes @param {Language} language */
function renderRemark(view, picture, notes, { t }) {
  const mismatch = sizeMismatch(picture, loadedSize(view.panes.a.image), loadedSize(view.panes.b.image));
  const sizes = mismatch && t("compare.sizes", { a: sizeText(mismatch.a), b: sizeText(mismatch.b), shown: sizeText(mismatch.shown) });
  view.remark.textContent = [sizes, ...notes.slice(0, 5).map((note) => plainText(note, 300))].filter(Boolean).join(" ");
}

/** @param {HTMLImageElement} image @returns {Size | null} */
const loadedSize = (image) =>
  image.getAttribute("data-state") === "loaded" && image.naturalWidth ? { width: image.naturalWidth, height: image.naturalHeight } : null;
