// The state of a compare viewer and its geometry. Pure: `(state, …) -> state`, no DOM.

/**
 * @typedef {import("../../types/compare").CompareState} CompareState
 * @typedef {import("../../types/compare").CompareMode} CompareMode
 * @typedef {import("../../types/compare").ComparePayload} ComparePayload
 * @typedef {import("../../types/compare").ComparePair} ComparePair
 * @typedef {import("../../types/compare").CompareView} CompareView
 * @typedef {import("../../types/compare").Size} Size
 * @typedef {import("../../types/compare").Point} Point
 * @typedef {{left: number, top: number, width: number, height: number}} Box
 *
 * A stage or a pane in its own pixels, and how those lie on the screen: `grid` screen pixels for one of them (the canvas
 * zoom times the device's pixel ratio), and where in a screen pixel the corner of the stage lies, 0..1.
 * @typedef {Size & {left?: number, top?: number, grid?: number, corner?: Point}} Pane
 */

/** @type {readonly CompareMode[]} */
export const MODES = ["side", "slider", "blink", "difference"];

/** Screen pixels for one picture pixel, at most: enough to count pixels. */
export const LARGEST_SCALE = 32;

/** Gap between the pictures when they stand side by side. */
export const GAP_PIXELS = 4;

/** @type {Readonly<CompareView>} */
export const FIT = Object.freeze({ scale: null, centre: Object.freeze({ x: 0.5, y: 0.5 }) });

/** @param {unknown} mode @returns {CompareState} */
export function initialState(mode) {
  return {
    payload: null,
    index: 0,
    mode: isMode(mode) ? mode : "side",
    split: 0.5,
    view: FIT,
    blinkShowsB: false,
    blinkPaused: false,
    pinned: null,
    held: false,
  };
}

/** @param {unknown} mode @returns {mode is CompareMode} */
export const isMode = (mode) => MODES.includes(/** @type {CompareMode} */ (mode));

/**
 * New pictures: the way of looking stays, the place in them only while they have the same size.
 * @param {CompareState} state
 * @param {ComparePayload | null} payload
 * @returns {CompareState}
 */
export function withPayload(state, payload) {
  const index = Math.min(state.index, Math.max(0, (payload?.pairs.length ?? 0) - 1));
  const next = { ...state, payload, index };
  return sameSize(currentPair(state), currentPair(next)) ? next : { ...next, view: FIT };
}

/** @param {CompareState} state @param {CompareMode} mode @returns {CompareState} */
export const withMode = (state, mode) => ({ ...state, mode, blinkShowsB: false, blinkPaused: false });

/**
 * The pair `step` further on, around the end.
 * @param {CompareState} state
 * @param {number} step
 * @returns {CompareState}
 */
export function withStep(state, step) {
  const count = state.payload?.pairs.length ?? 0;
  if (count === 0) return state;
  const next = { ...state, index: (((state.index + step) % count) + count) % count };
  return sameSize(currentPair(state), currentPair(next)) ? next : { ...next, view: FIT };
}

/** @param {CompareState} state @param {number} split @returns {CompareState} */
export const withSplit = (state, split) => ({ ...state, split: clamp(split, 0, 1) });

/**
 * Whether what lies on the one lies at the same screen pixels on the other.
 * @param {Pane} one
 * @param {Pane} other
 */
export function sameStage(one, other) {
  /** @param {Pane} stage */
  const numbers = ({ width, height, grid = 1, corner }) => [width, height, grid, corner?.x ?? 0, corner?.y ?? 0];
  const others = numbers(other);
  return numbers(one).every((value, index) => Math.abs(value - (others[index] ?? 0)) < 1e-3);
}

/**
 * The pictures to show: with an earlier run pinned, its second picture is the first.
 * @param {CompareState} state
 * @returns {ComparePair | null}
 */
export function currentPair({ payload, index, pinned, held }) {
  const pair = payload?.pairs[index];
  if (!pair) return null;
  const earlier = pinned?.pairs[Math.min(index, pinned.pairs.length - 1)];
  const [a, b] = [earlier?.b ?? pair.a, pair.b];
  return earlier || held ? { ...pair, a: held ? b : a, b: held ? a : b } : pair;
}

/**
 * Pins the run that is shown, or gives the pinned one up. Its difference was never measured: there is none to show.
 * @param {CompareState} state
 * @returns {CompareState}
 */
export function withPin(state) {
  const pinned = state.pinned ? null : state.payload;
  return { ...state, pinned, mode: pinned && state.mode === "difference" ? "slider" : state.mode };
}

/**
 * What stands over the two pictures.
 * @param {CompareState} state
 * @returns {{text: string, loras: import("../../types/compare").UsedLora[] | undefined, earlier: boolean}[]}
 */
export function labelsOf({ payload, pinned, held }) {
  if (!payload) return [];
  const a = pinned ? { text: pinned.label_b, loras: pinned.loras_b, earlier: true } : { text: payload.label_a, loras: payload.loras_a, earlier: false };
  const b = { text: payload.label_b, loras: payload.loras_b, earlier: false };
  return held ? [b, a] : [a, b];
}

/** @param {ComparePair | null} one @param {ComparePair | null} other */
const sameSize = (one, other) => one?.width === other?.width && one?.height === other?.height;

/**
 * The payload, or `null` for anything that is not one.
 * @param {unknown} value
 * @returns {ComparePayload | null}
 */
export function asPayload(value) {
  if (typeof value !== "object" || value === null) return null;
  const payload = /** @type {ComparePayload} */ (value);
  return payload.schema === "patchbay.compare" && Array.isArray(payload.pairs) ? payload : null;
}

/**
 * Where panes lie on the stage. Side by side they stand in a row or in a column, whichever shows the pictures larger.
 * @param {CompareMode} mode
 * @param {Size} picture
 * @param {Pane} stage
 * @returns {(Box & Pane)[]} one box, or one for A and one for B
 */
export function paneBoxes(mode, picture, stage) {
  if (mode !== "side") return [{ left: 0, top: 0, ...stage }];
  const half = { width: (stage.width - GAP_PIXELS) / 2, height: (stage.height - GAP_PIXELS) / 2 };
  const grid = stage.grid ?? 1;
  // Whole screen pixels from one to the other: what lies on the screen's pixels in the one does so in the other.
  const step = { x: Math.round((half.width + GAP_PIXELS) * grid) / grid, y: Math.round((half.height + GAP_PIXELS) * grid) / grid };
  const inRow = { ...stage, width: half.width };
  const inColumn = { ...stage, height: half.height };
  if (fitScale(picture, inColumn) > fitScale(picture, inRow)) {
    return [{ left: 0, top: 0, ...inColumn }, { ...inColumn, left: 0, top: step.y }];
  }
  return [{ left: 0, top: 0, ...inRow }, { ...inRow, left: step.x, top: 0 }];
}

/** @param {Size} picture @param {Size} pane */
export function fitScale(picture, pane) {
  if (!picture.width || !picture.height) return 1;
  return Math.max(1e-6, Math.min(pane.width / picture.width, pane.height / picture.height));
}

/**
 * Where the whole picture lies in its pane, in pane pixels; may be larger than the pane. Its corner lies on a corner of
 * a screen pixel, so that at 1:1 no pixel is blended with its neighbour.
 * @param {CompareView} view
 * @param {Size} picture
 * @param {Pane} pane
 * @returns {Box & {scale: number}} `scale`: screen pixels for a picture pixel
 */
export function placePicture(view, picture, pane) {
  const grid = pane.grid ?? 1;
  const scale = view.scale ?? fitScale(picture, pane) * grid;
  const width = (picture.width * scale) / grid;
  const height = (picture.height * scale) / grid;
  const centre = clampCentre(view.centre, { width, height }, pane);
  const left = onGrid(pane.width / 2 - centre.x * width, pane.left ?? 0, grid, pane.corner?.x ?? 0);
  const top = onGrid(pane.height / 2 - centre.y * height, pane.top ?? 0, grid, pane.corner?.y ?? 0);
  return { scale, width, height, left, top };
}

/** The nearest place on the screen's pixels. @param {number} at @param {number} before @param {number} grid @param {number} corner */
const onGrid = (at, before, grid, corner) => (Math.round((at + before) * grid + corner) - corner) / grid - before;

/**
 * A picture that is smaller than its pane stays in the middle; a larger one leaves no gap at its edges.
 * @param {Point} centre
 * @param {Size} shown
 * @param {Size} pane
 * @returns {Point}
 */
function clampCentre(centre, shown, pane) {
  /** @param {number} at @param {number} size @param {number} room */
  const along = (at, size, room) => (size <= room ? 0.5 : clamp(at, room / 2 / size, 1 - room / 2 / size));
  return { x: along(centre.x, shown.width, pane.width), y: along(centre.y, shown.height, pane.height) };
}

/**
 * Zooms by `factor` and keeps what lies under `point` where it is. Below "fit" it is "fit".
 * @param {CompareState} state
 * @param {Size} picture
 * @param {Pane} pane
 * @param {Point} point in pane pixels
 * @param {number} factor
 * @returns {CompareState}
 */
export function zoomAt(state, picture, pane, point, factor) {
  const now = placePicture(state.view, picture, pane);
  const grid = pane.grid ?? 1;
  const fit = fitScale(picture, pane) * grid;
  const scale = clamp(now.scale * factor, 0, Math.max(LARGEST_SCALE, fit));
  if (scale <= fit) return { ...state, view: FIT };
  const width = (picture.width * scale) / grid;
  const height = (picture.height * scale) / grid;
  const under = { x: (point.x - now.left) / now.width, y: (point.y - now.top) / now.height };
  const centre = {
    x: under.x + (pane.width / 2 - point.x) / width,
    y: under.y + (pane.height / 2 - point.y) / height,
  };
  return { ...state, view: { scale, centre: clampCentre(centre, { width, height }, pane) } };
}

/**
 * @param {CompareState} state
 * @param {Size} picture
 * @param {Pane} pane
 * @param {Point} by in pane pixels
 * @returns {CompareState}
 */
export function panBy(state, picture, pane, by) {
  const { width, height, left, top } = placePicture(state.view, picture, pane);
  const centre = { x: (pane.width / 2 - left - by.x) / width, y: (pane.height / 2 - top - by.y) / height };
  return { ...state, view: { ...state.view, centre: clampCentre(centre, { width, height }, pane) } };
}

/**
 * One picture pixel on one screen pixel, around the middle of what is in view.
 * @param {CompareState} state
 * @param {number} [scale]
 * @returns {CompareState}
 */
export const withScale = (state, scale = 1) => ({ ...state, view: { ...state.view, scale } });

/**
 * The part of the picture that is in view, along the width: what the slider runs over.
 * @param {Box} placed
 * @param {Size} pane
 */
export function sliderRange(placed, pane) {
  const left = clamp(placed.left, 0, pane.width);
  return { left, width: Math.max(1, clamp(placed.left + placed.width, 0, pane.width) - left) };
}

/**
 * The sizes as sentences need them, or `null` where both pictures are as large as they are drawn.
 * @param {Size} drawn
 * @param {Size | null} a
 * @param {Size | null} b
 */
export function sizeMismatch(drawn, a, b) {
  /** @param {Size | null} size */
  const fits = (size) => size === null || (size.width === drawn.width && size.height === drawn.height);
  if (fits(a) && fits(b)) return null;
  return { a: a ?? drawn, b: b ?? drawn, shown: drawn };
}

/** @param {number} value @param {number} low @param {number} high */
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
