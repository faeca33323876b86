// Mouse, touch and keys of the compare viewer, turned into new states.

import { currentPair, FIT, paneBoxes, panBy, placePicture, sliderRange, withScale, withSplit, withStep, zoomAt } from "./state.mjs";

/**
 * @typedef {import("../../types/compare").CompareState} CompareState
 * @typedef {import("../../types/compare").Point} Point
 * @typedef {import("./state.mjs").Box} Box
 *
 * @typedef {object} InputHost
 * @property {() => CompareState} get
 * @property {(state: CompareState) => void} set
 * @property {(event: WheelEvent) => void} forwardWheel to the canvas, for a wheel that is not ours
 * @property {() => void} togglePlay
 * @property {() => void} pin
 * @property {(held: boolean) => void} hold
 * @property {() => void} whole
 * @property {(mode: import("../../types/compare").CompareMode) => void} mode
 */

/** @type {Record<string, import("../../types/compare").CompareMode>} */
const MODE_KEYS = { s: "side", l: "slider", b: "blink", d: "difference" };
const KEY_ZOOM = 1.25;
const KEY_PAN_PIXELS = 40;
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const WHEEL_ZOOM_PER_PIXEL = 0.0015;
const SPLIT_STEP = 0.02;
const GRAB_PIXELS = 14;

/**
 * @param {HTMLElement} stage
 * @param {HTMLElement} handle
 * @param {InputHost} host
 */
export function listenToStage(stage, handle, host) {
  stage.addEventListener("wheel", (event) => onWheel(stage, event, host), { passive: false });
  stage.addEventListener("dblclick", (event) => {
    event.preventDefault();
    event.stopPropagation();
    host.set({ ...host.get(), view: FIT });
  });
  stage.addEventListener("pointerdown", (event) => startDrag(stage, handle, event, host));
  // A hand that only passes moves the boundary; while the picture is zoomed in, it is dragged.
  stage.addEventListener("pointermove", (event) => {
    const state = host.get();
    // Where the canvas moves under a hand that rests, browsers tell of a move by nothing.
    const moved = event.movementX !== 0 || event.movementY !== 0;
    if (moved && event.buttons === 0 && event.pointerType === "mouse" && state.mode === "slider" && state.view.scale === null) splitTo(stage, event, host);
  });
  stage.addEventListener("keydown", (event) => onStageKey(stage, event, host));
  handle.addEventListener("keydown", (event) => onSplitKey(event, host));
}

/**
 * Keys that mean the same wherever the focus is inside the viewer.
 * @param {HTMLElement} root
 * @param {HTMLElement} stage
 * @param {InputHost} host
 */
export function listenToKeys(root, stage, host) {
  root.addEventListener("keyup", (event) => event.key.toLowerCase() === "x" && host.hold(false));
  root.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !currentPair(host.get())) return;
    const done = event.key === "Escape" ? escape(host) : act(stage, event.key, host);
    if (!done) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** First back to the whole picture, then out of the viewer: the wheel belongs to the canvas again. @param {InputHost} host */
function escape(host) {
  const state = host.get();
  if (state.view.scale !== null) host.set({ ...state, view: FIT });
  else if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  return true;
}

/** @param {HTMLElement} stage @param {string} key @param {InputHost} host */
function act(stage, key, host) {
  const mode = MODE_KEYS[key.toLowerCase()];
  if (mode) return host.mode(mode), true;
  const doing = { p: host.pin, x: () => host.hold(true), f: host.whole }[key.toLowerCase()];
  if (doing) return doing(), true;
  const next = stateAfterKey(stage, key, host.get());
  if (next) host.set(next);
  return next !== undefined;
}

/**
 * An element in its own pixels, whatever the canvas zoom, and how they lie on the screen's.
 * @param {HTMLElement} element
 * @returns {import("./state.mjs").Pane & {grid: number}}
 */
export function sizeOf(element) {
  const rect = element.getBoundingClientRect();
  const { width, height } = ownSize(element);
  const zoom = width ? rect.width / width : 1;
  const ratio = window.devicePixelRatio || 1;
  /** @param {number} at */
  const fraction = (at) => at * ratio - Math.floor(at * ratio);
  const corner = { x: fraction(rect.left), y: fraction(rect.top) };
  return { width, height, grid: zoom * ratio || 1, corner };
}

/**
 * Width and height with their fractions, which `offsetWidth` rounds off: half a pixel is one in a thousand of the scale.
 * The stage has no border.
 * @param {HTMLElement} element
 */
function ownSize(element) {
  const style = getComputedStyle(element);
  const width = Number.parseFloat(style.width);
  const height = Number.parseFloat(style.height);
  return { width: Number.isFinite(width) ? width : element.offsetWidth, height: Number.isFinite(height) ? height : element.offsetHeight };
}

/**
 * Where a pointer is, in the element's own pixels: the canvas may have scaled the element.
 * @param {HTMLElement} element
 * @param {MouseEvent} event
 * @returns {Point & {scale: number}}
 */
function localPoint(element, event) {
  const rect = element.getBoundingClientRect();
  const { width } = ownSize(element);
  const scale = width ? rect.width / width : 1;
  return { x: (event.clientX - rect.left) / scale, y: (event.clientY - rect.top) / scale, scale };
}

/** @param {HTMLElement} stage @param {CompareState} state */
function geometry(stage, state) {
  const pair = currentPair(state);
  if (!pair) return null;
  const picture = { width: pair.width || 1, height: pair.height || 1 };
  const boxes = paneBoxes(state.mode, picture, sizeOf(stage));
  return { picture, boxes };
}

/** @param {Box[]} boxes @param {Point} point @returns {Box} */
function paneAt(boxes, point) {
  const [first, second] = /** @type {[Box, Box | undefined]} */ (boxes);
  return second && (point.x >= second.left && point.y >= second.top) ? second : first;
}

/**
 * The wheel zooms with Ctrl, or once the viewer has the focus; else it belongs to the canvas.
 * @param {HTMLElement} stage
 * @param {WheelEvent} event
 * @param {InputHost} host
 */
function onWheel(stage, event, host) {
  const shape = geometry(stage, host.get());
  const ours = shape && (event.ctrlKey || event.metaKey || stage.contains(document.activeElement));
  if (!ours) return host.forwardWheel(event);
  event.preventDefault();
  event.stopPropagation();
  const point = localPoint(stage, event);
  const pane = paneAt(shape.boxes, point);
  const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 33 : event.deltaY;
  const factor = Math.exp(-Math.max(-300, Math.min(300, pixels)) * WHEEL_ZOOM_PER_PIXEL);
  const inPane = { x: point.x - pane.left, y: point.y - pane.top };
  host.set(zoomAt(host.get(), shape.picture, pane, inPane, factor));
}

/**
 * @param {HTMLElement} stage
 * @param {HTMLElement} handle
 * @param {PointerEvent} event
 * @param {InputHost} host
 */
function startDrag(stage, handle, event, host) {
  if (event.button !== 0) return;
  event.stopPropagation();
  event.preventDefault();
  const shape = geometry(stage, host.get());
  const [first] = shape?.boxes ?? [];
  if (!shape || !first) return;
  const splits = movesSplit(stage, event, host.get(), shape.picture, first);
  (splits ? handle : stage).focus({ preventScroll: true });
  if (splits) splitTo(stage, event, host);
  let last = { x: event.clientX, y: event.clientY };
  /** @param {PointerEvent} move */
  const onMove = (move) => {
    if (move.pointerId !== event.pointerId) return;
    if (splits) return splitTo(stage, move, host);
    const { scale } = localPoint(stage, move);
    const by = { x: (move.clientX - last.x) / scale, y: (move.clientY - last.y) / scale };
    last = { x: move.clientX, y: move.clientY };
    host.set(panBy(host.get(), shape.picture, first, by));
  };
  const stop = () => {
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) stage.removeEventListener(type, stop);
    stage.removeEventListener("pointermove", onMove);
  };
  stage.setPointerCapture(event.pointerId);
  stage.addEventListener("pointermove", onMove);
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) stage.addEventListener(type, stop);
}

/**
 * In slider mode a drag moves the boundary; in a picture that is zoomed in only a drag that starts near it does.
 * @param {HTMLElement} stage
 * @param {PointerEvent} event
 * @param {CompareState} state
 * @param {import("../../types/compare").Size} picture
 * @param {Box} pane
 */
function movesSplit(stage, event, state, picture, pane) {
  if (state.mode !== "slider") return false;
  if (state.view.scale === null) return true;
  const range = sliderRange(placePicture(state.view, picture, pane), pane);
  return Math.abs(localPoint(stage, event).x - (range.left + state.split * range.width)) <= GRAB_PIXELS;
}

/** @param {HTMLElement} stage @param {PointerEvent} event @param {InputHost} host */
function splitTo(stage, event, host) {
  const state = host.get();
  const shape = geometry(stage, state);
  const pane = shape?.boxes[0];
  if (!shape || !pane) return;
  const range = sliderRange(placePicture(state.view, shape.picture, pane), pane);
  host.set(withSplit(state, (localPoint(stage, event).x - range.left) / range.width));
}

/** @param {KeyboardEvent} event @param {InputHost} host */
function onSplitKey(event, host) {
  const state = host.get();
  const step = event.shiftKey ? SPLIT_STEP * 5 : SPLIT_STEP;
  /** @type {Record<string, number>} */
  const targets = {
    ArrowLeft: state.split - step,
    ArrowDown: state.split - step,
    ArrowRight: state.split + step,
    ArrowUp: state.split + step,
    PageDown: state.split - 0.1,
    PageUp: state.split + 0.1,
    Home: 0,
    End: 1,
  };
  const target = targets[event.key];
  if (target === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();
  host.set(withSplit(state, target));
}

/** @param {HTMLElement} stage @param {KeyboardEvent} event @param {InputHost} host */
function onStageKey(stage, event, host) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const next = stateAfterArrow(stage, event, host.get());
  if (next === undefined && event.key !== " ") return;
  event.preventDefault();
  event.stopPropagation();
  if (next) host.set(next);
  else host.togglePlay();
}

/**
 * Arrows move what there is to move: the picture where it is zoomed in, else the slider.
 * @param {HTMLElement} stage
 * @param {KeyboardEvent} event
 * @param {CompareState} state
 * @returns {CompareState | undefined}
 */
function stateAfterArrow(stage, event, state) {
  const shape = geometry(stage, state);
  const pane = shape?.boxes[0];
  if (!shape || !pane) return undefined;
  const [x, y] = ARROWS[event.key] ?? [0, 0];
  if (!x && !y) return undefined;
  const step = event.shiftKey ? SPLIT_STEP * 5 : SPLIT_STEP;
  if (state.mode === "slider" && state.view.scale === null) return withSplit(state, state.split + (x - y) * step);
  return panBy(state, shape.picture, pane, { x: -x * KEY_PAN_PIXELS, y: -y * KEY_PAN_PIXELS });
}

/** @param {HTMLElement} stage @param {string} key @param {CompareState} state @returns {CompareState | undefined} */
function stateAfterKey(stage, key, state) {
  const shape = geometry(stage, state);
  const pane = shape?.boxes[0];
  if (!shape || !pane) return undefined;
  const middle = { x: pane.width / 2, y: pane.height / 2 };
  /** @param {number} factor */
  const zoom = (factor) => zoomAt(state, shape.picture, pane, middle, factor);
  /** @type {Record<string, () => CompareState>} */
  const keys = {
    "+": () => zoom(KEY_ZOOM),
    "=": () => zoom(KEY_ZOOM),
    "-": () => zoom(1 / KEY_ZOOM),
    0: () => ({ ...state, view: FIT }),
    1: () => withScale(state),
    PageUp: () => withStep(state, -1),
    PageDown: () => withStep(state, 1),
  };
  return keys[key]?.();
}
