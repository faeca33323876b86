// Tells when the canvas may have changed. Nothing here runs by the clock: a look follows what the user does, what ComfyUI
// tells and what it draws. While nothing happens, nothing runs.

import { api } from "../../../../scripts/api.js";
import { app } from "./app.mjs";

/** Between two looks that events ask for. */
const LEAST_MILLISECONDS = 120;
/** Before a look that only a drawing asks for: while a workflow runs, its progress is drawn in every frame. */
const DRAWN_MILLISECONDS = 1000;
/** What an event starts, a drawing or a value that comes later, has ended by then. */
const SETTLED_MILLISECONDS = 450;

const INPUTS = ["pointerdown", "pointerup", "keyup", "input", "change", "wheel", "drop", "paste", "visibilitychange"];
const TOLD = ["graphChanged", "promptQueued", "executed", "execution_success", "execution_error"];

/** @type {Set<() => void>} */
const listeners = new Set();
let started = false;
let last = -Infinity;
let changes = 0;
/** When the next look is due; never while none is asked for. */
let due = Infinity;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let settling;

/**
 * Calls `look` after the canvas may have changed. It must be cheap where nothing did, and must not draw then.
 * @param {() => void} look
 * @returns {() => void} ends it
 */
export function onCanvasChange(look) {
  listeners.add(look);
  if (!started) start();
  return () => void listeners.delete(look);
}

/** Another number after everything that may have changed the canvas: what was read at the same number is still so. */
export const changesSeen = () => changes;

/** Something may have changed, now. */
export function canvasMayHaveChanged() {
  changes += 1;
  if (listeners.size === 0) return;
  clearTimeout(settling);
  settling = setTimeout(() => wake(), SETTLED_MILLISECONDS);
  wake();
}

/** @param {number} least milliseconds after the last look */
function wake(least = LEAST_MILLISECONDS) {
  const at = last + least;
  if (at >= due || listeners.size === 0) return;
  due = at;
  clearTimeout(waiting);
  waiting = setTimeout(ask, Math.max(0, at - performance.now()));
}

function ask() {
  due = -Infinity;
  requestAnimationFrame(look);
}

function look() {
  due = Infinity;
  changes += 1;
  last = performance.now();
  for (const each of [...listeners]) each();
}

/** The listeners are the page's: they stay, and do nothing while nobody looks. */
function start() {
  started = true;
  for (const type of INPUTS) document.addEventListener(type, canvasMayHaveChanged, { capture: true, passive: true });
  for (const type of TOLD) api.addEventListener(type, canvasMayHaveChanged);
  const { canvas } = app;
  const { onDrawOverlay } = canvas;
  canvas.onDrawOverlay = function (context) {
    onDrawOverlay?.call(this, context);
    // A look that follows a drawing needs no second one: what it starts is drawn again.
    wake(DRAWN_MILLISECONDS);
  };
}

/**
 * Tells of a value that is written to a widget by whoever it is: an undo, another pack, a script. Only where the frontend
 * keeps values behind an accessor, which is then called as before; elsewhere the next event shows the change.
 * @param {object | undefined} widget
 */
export function watchValue(widget) {
  if (!widget || Object.hasOwn(widget, "value")) return;
  const inherited = accessorOf(Object.getPrototypeOf(widget));
  if (!inherited?.get || !inherited.set) return;
  const { get, set } = inherited;
  Object.defineProperty(widget, "value", {
    configurable: true,
    enumerable: true,
    get() {
      return get.call(this);
    },
    set(value) {
      set.call(this, value);
      canvasMayHaveChanged();
    },
  });
}

/** @param {object | null} prototype @returns {PropertyDescriptor | undefined} */
function accessorOf(prototype) {
  for (let at = prototype; at; at = Object.getPrototypeOf(at)) {
    const found = Object.getOwnPropertyDescriptor(at, "value");
    if (found) return found;
  }
  return undefined;
}
