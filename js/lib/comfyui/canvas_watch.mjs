// Tells when the canvas may have changed. Nothing here runs by the clock: a look follows what the user does, what ComfyUI
// draws and what it tells, a few times a second at most. While nothing happens, nothing runs.

import { api } from "../../../../scripts/api.js";
import { app } from "./app.mjs";

/** Between two looks. */
const LEAST_MILLISECONDS = 120;
/** What an event starts, a drawing or a value that comes later, has ended by then. */
const SETTLED_MILLISECONDS = 450;

const INPUTS = ["pointerdown", "pointerup", "keyup", "input", "change", "wheel", "drop", "paste", "visibilitychange"];
const TOLD = ["graphChanged", "promptQueued", "executed", "execution_success", "execution_error"];

/** @type {Set<() => void>} */
const listeners = new Set();
let started = false;
let waiting = false;
let last = -Infinity;
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

/** Something may have changed, now. */
export function canvasMayHaveChanged() {
  if (listeners.size === 0) return;
  clearTimeout(settling);
  settling = setTimeout(wake, SETTLED_MILLISECONDS);
  wake();
}

function wake() {
  if (waiting || listeners.size === 0) return;
  waiting = true;
  setTimeout(() => requestAnimationFrame(look), Math.max(0, last + LEAST_MILLISECONDS - performance.now()));
}

function look() {
  waiting = false;
  last = performance.now();
  for (const each of [...listeners]) each();
}

/** The listeners are the page's: they stay, and do nothing while nobody looks. */
function start() {
  started = true;
  for (const type of INPUTS) document.addEventListener(type, canvasMayHaveChanged, { capture: true, passive: true });
  for (const type of TOLD) api.addEventListener(type, canvasMayHaveChanged);
  const { canvas } = app;
  const { onDrawForeground } = canvas;
  canvas.onDrawForeground = function (context, area) {
    onDrawForeground?.call(this, context, area);
    // A look that follows a drawing needs no second one: what it starts is drawn again.
    wake();
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
