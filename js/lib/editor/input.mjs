// Mouse, touch and keys of the strength editor's bars.

import { FINE_STEP, STEP, sticky } from "./state.mjs";

/**
 * @typedef {object} EditorGestures
 * @property {() => boolean} locked
 * @property {(selector: string) => number} value where a drag starts
 * @property {() => number} span strength from the bottom to the top of a bar
 * @property {(share: number) => number} valueAt strength at a height of a bar, in 0..1
 * @property {(selector: string) => void} select
 * @property {() => void} begin
 * @property {(changes: Change[], step: number) => void} preview replaces what the gesture has done so far
 * @property {() => void} commit
 * @property {() => void} cancel
 * @property {(change: Change, step: number) => void} nudge one key press; several in a row are one change
 * @property {() => void} settle ends such a row
 * @property {(selector: string) => void} reset
 * @property {(selector: string) => void} toggle off, or on again
 * @property {(from: string, to: string) => void} range selects all bars between two
 * @property {(selector: string, typed: string) => void} type start to type a number
 * @property {(selector: string | null) => void} point what the pointer is over
 *
 * @typedef {{selector: string, value: number, flatten: boolean}} Change
 */

/** A hand that only clicks moves less than this. */
const SLACK_PIXELS = 3;
const FINE = 0.2;
/** Around 0 and 1 a bar holds still for this long a way of the hand. */
const STICKY_PIXELS = 6;

/**
 * @param {HTMLElement} root
 * @param {EditorGestures} host
 */
export function listenToBars(root, host) {
  root.addEventListener("pointerdown", (event) => startDrag(event, host));
  root.addEventListener("dblclick", (event) => onDoubleClick(event, host));
  root.addEventListener("keydown", (event) => onKey(root, event, host));
  root.addEventListener("focusin", (event) => {
    const slider = sliderAt(event.target);
    if (slider?.classList.contains("patchbay-sb")) host.select(selectorOf(slider));
  });
  root.addEventListener("pointerover", (event) => host.point(selectorAt(event.target)));
  root.addEventListener("pointerleave", () => host.point(null));
}

/** @param {EventTarget | null} target */
const sliderAt = (target) => (target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest("[role=slider]")) : null);

/** @param {EventTarget | null} target */
function selectorAt(target) {
  return target instanceof Element ? target.closest("[data-selector]")?.getAttribute("data-selector") ?? null : null;
}

/** @param {HTMLElement} slider */
const selectorOf = (slider) => slider.getAttribute("data-selector") ?? "";

/** With Shift the whole kind is meant, or everything from a bar that is of no kind. @param {HTMLElement} slider */
const wholeOf = (slider) => slider.getAttribute("data-whole") ?? (slider.classList.contains("patchbay-sb") ? "all" : selectorOf(slider));

/** The slider itself catches the pointer, so that clicks and double-clicks still go to it. @param {PointerEvent} event @param {EditorGestures} host */
function startDrag(event, host) {
  const slider = sliderAt(event.target);
  if (!slider || event.button !== 0) return;
  event.stopPropagation();
  const before = /** @type {HTMLElement | null} */ (slider.parentElement?.closest(".patchbay-sb-groups")?.querySelector(".patchbay-sb[tabindex='0']"));
  if (event.shiftKey && before && before !== slider && isMark(event.target) && before.dataset.whole === slider.dataset.whole) {
    event.preventDefault();
    return host.range(selectorOf(before), selectorOf(slider));
  }
  slider.focus({ preventScroll: true });
  if (host.locked()) return;
  const drag = new Drag(slider, event, host);
  /** @param {PointerEvent} move */
  const onMove = (move) => move.pointerId === event.pointerId && drag.move(move);
  /** @param {KeyboardEvent} key */
  const onKeyDuring = (key) => {
    if (key.key === "Escape") end(true);
    else if (key.key !== "Shift" && key.key !== "Alt" && key.key !== "Control") return;
    key.preventDefault();
    key.stopPropagation();
  };
  /** @param {boolean} cancelled */
  const end = (cancelled) => {
    slider.removeEventListener("pointermove", onMove);
    for (const type of ENDINGS) slider.removeEventListener(type, onEnd);
    document.removeEventListener("keydown", onKeyDuring, true);
    if (slider.hasPointerCapture(event.pointerId)) slider.releasePointerCapture(event.pointerId);
    drag.end(cancelled);
  };
  /** @param {Event} ending */
  const onEnd = (ending) => end(ending.type === "pointercancel");
  slider.setPointerCapture(event.pointerId);
  slider.addEventListener("pointermove", onMove);
  for (const type of ENDINGS) slider.addEventListener(type, onEnd);
  document.addEventListener("keydown", onKeyDuring, true);
}

/** @param {EventTarget | null} target */
const isMark = (target) => target instanceof Element && target.classList.contains("patchbay-sb-mark");

const ENDINGS = ["pointerup", "pointercancel", "lostpointercapture"];

/** One drag. The bar follows the hand from where it was; it does not jump to it. */
class Drag {
  /** @param {HTMLElement} slider @param {PointerEvent} event @param {EditorGestures} host */
  constructor(slider, event, host) {
    this.slider = slider;
    this.host = host;
    this.flat = slider.classList.contains("patchbay-sb-flat");
    this.start = { x: event.clientX, y: event.clientY };
    this.last = this.start;
    this.value = host.value(selectorOf(slider));
    const track = (slider.firstElementChild ?? slider).getBoundingClientRect();
    this.perPixel = host.span() / Math.max(1, this.flat ? track.width : track.height);
    this.label = isMark(event.target);
    this.moving = false;
    /** @type {Map<string, number>} */
    this.painted = new Map();
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (!this.moving) {
      if (Math.hypot(event.clientX - this.start.x, event.clientY - this.start.y) < SLACK_PIXELS) return;
      this.moving = true;
      this.slider.classList.add("patchbay-is-dragged");
      this.host.begin();
    }
    const pixels = this.flat ? event.clientX - this.last.x : this.last.y - event.clientY;
    this.last = { x: event.clientX, y: event.clientY };
    this.value += pixels * this.perPixel * (event.altKey ? FINE : 1);
    const step = event.altKey ? FINE_STEP : STEP;
    if ((event.ctrlKey || event.metaKey) && !this.flat) return this.paint(event, step);
    const selector = event.shiftKey ? wholeOf(this.slider) : selectorOf(this.slider);
    const value = event.altKey ? this.value : sticky(this.value, STICKY_PIXELS * this.perPixel);
    this.host.preview([{ selector, value, flatten: event.shiftKey }], step);
  }

  /** Every bar that the pointer passes takes the height of the pointer. @param {PointerEvent} event @param {number} step */
  paint(event, step) {
    const row = this.slider.closest(".patchbay-sb-groups");
    for (const bar of /** @type {NodeListOf<HTMLElement>} */ (row?.querySelectorAll(".patchbay-sb") ?? [])) {
      const box = (bar.firstElementChild ?? bar).getBoundingClientRect();
      const slack = box.height / 4;
      if (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top - slack || event.clientY > box.bottom + slack) continue;
      this.painted.set(selectorOf(bar), this.host.valueAt((box.bottom - event.clientY) / box.height));
    }
    this.host.preview([...this.painted].map(([selector, value]) => ({ selector, value, flatten: false })), step);
  }

  /** @param {boolean} cancelled */
  end(cancelled) {
    this.slider.classList.remove("patchbay-is-dragged");
    if (!this.moving) {
      if (this.label && !cancelled) this.host.toggle(selectorOf(this.slider));
      return;
    }
    this.moving = false;
    if (cancelled) this.host.cancel();
    else this.host.commit();
  }
}

/** @param {MouseEvent} event @param {EditorGestures} host */
function onDoubleClick(event, host) {
  const slider = sliderAt(event.target);
  if (!slider || host.locked()) return;
  event.preventDefault();
  event.stopPropagation();
  host.reset(event.shiftKey ? wholeOf(slider) : selectorOf(slider));
}

/**
 * Upright bars: Up and Down change, Left and Right go to the next bar. Lying ones: all four change.
 * @param {HTMLElement} root
 * @param {KeyboardEvent} event
 * @param {EditorGestures} host
 */
function onKey(root, event, host) {
  const slider = sliderAt(event.target);
  if (event.ctrlKey || event.metaKey) host.settle();
  if (!slider || event.ctrlKey || event.metaKey) return;
  const flat = slider.classList.contains("patchbay-sb-flat");
  const handled = (!flat && moveFocus(root, slider, event.key)) || (!host.locked() && changeByKey(slider, event, host));
  if (!handled) return;
  event.preventDefault();
  event.stopPropagation();
}

/** @param {HTMLElement} root @param {HTMLElement} slider @param {string} key */
function moveFocus(root, slider, key) {
  const bars = /** @type {HTMLElement[]} */ ([...root.querySelectorAll(".patchbay-sb")]);
  const at = bars.indexOf(slider);
  const targets = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: bars.length - 1 };
  if (!Object.hasOwn(targets, key)) return false;
  bars[targets[/** @type {keyof typeof targets} */ (key)]]?.focus({ preventScroll: true });
  return true;
}

/** @type {Readonly<Record<string, number>>} */
const KEY_STEPS = { ArrowUp: 1, ArrowDown: -1, ArrowRight: 1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };

/** @param {HTMLElement} slider @param {KeyboardEvent} event @param {EditorGestures} host */
function changeByKey(slider, event, host) {
  const selector = event.shiftKey ? wholeOf(slider) : selectorOf(slider);
  const steps = KEY_STEPS[event.key];
  if (steps !== undefined) {
    const step = event.altKey ? FINE_STEP : STEP;
    host.nudge({ selector, value: host.value(selectorOf(slider)) + steps * step, flatten: event.shiftKey }, step);
  } else if (event.key === " ") host.toggle(selector);
  else if (event.key === "Delete" || event.key === "Backspace") host.reset(selector);
  else if (event.key === "Enter" || event.key === "F2") host.type(selectorOf(slider), "");
  else if (/^[-+.,\d]$/.test(event.key) && !event.altKey) host.type(selectorOf(slider), event.key);
  else return false;
  return true;
}
