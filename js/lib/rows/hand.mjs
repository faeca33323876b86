// The hand on the rows: a row that is dragged to another place, a strength that is dragged up and down.

import { LINE_PIXELS } from "./view.mjs";

const FIRST_PIXELS = 3;
const PIXELS_OF_STEP = 4;
const [STEP, FINE] = [0.05, 0.01];

/**
 * @typedef {object} RowsHand
 * @property {(from: number, to: number) => void} moved
 * @property {() => void} scrubBegins
 * @property {(at: number, field: "strength" | "clip", by: number) => void} scrubbed `by` is from the value at the start
 * @property {() => void} scrubEnds
 */

/** @param {HTMLElement} root @param {RowsHand} hand */
export function listenToRows(root, hand) {
  root.addEventListener("pointerdown", (event) => {
    const target = event.target instanceof Element ? event.target.closest("[data-act]") : null;
    const row = target?.closest("[data-row]");
    if (!target || !row || event.button !== 0) return;
    const act = target.getAttribute("data-act") ?? "";
    if (act === "handle") dragRow(root, row, event, hand);
    else if ((act === "strength" || act === "clip") && document.activeElement !== target) scrub(target, row, act, event, hand);
  });
}

/** Pixels of the page for one of the element: the canvas may be zoomed. @param {Element} element */
const zoomOf = (element) => element.getBoundingClientRect().width / (/** @type {HTMLElement} */ (element).offsetWidth || 1) || 1;

/** @param {HTMLElement} root @param {Element} row @param {PointerEvent} start @param {RowsHand} hand */
function dragRow(root, row, start, hand) {
  const from = Number(row.getAttribute("data-row"));
  const count = root.querySelectorAll("[data-row]").length;
  const zoom = zoomOf(row);
  const element = /** @type {HTMLElement} */ (row);
  let to = from;
  element.classList.add("patchbay-is-moved");
  follow(start, (event) => {
    const pixels = (event.clientY - start.clientY) / zoom;
    to = Math.max(0, Math.min(count - 1, from + Math.round(pixels / LINE_PIXELS)));
    element.style.setProperty("translate", `0 ${pixels}px`);
  }, (done) => {
    element.classList.remove("patchbay-is-moved");
    element.style.removeProperty("translate");
    if (done && to !== from) hand.moved(from, to);
  });
}

/** @param {Element} input @param {Element} row @param {"strength" | "clip"} field @param {PointerEvent} start @param {RowsHand} hand */
function scrub(input, row, field, start, hand) {
  const at = Number(row.getAttribute("data-row"));
  let begun = false;
  start.preventDefault();
  follow(start, (event) => {
    const pixels = event.clientX - start.clientX;
    if (!begun && Math.abs(pixels) < FIRST_PIXELS) return;
    if (!begun) hand.scrubBegins();
    begun = true;
    hand.scrubbed(at, field, Math.round(pixels / PIXELS_OF_STEP) * (event.altKey || event.shiftKey ? FINE : STEP));
  }, () => {
    if (begun) return hand.scrubEnds();
    const field = /** @type {HTMLInputElement} */ (input);
    field.focus({ preventScroll: true });
    field.select();
  });
}

/** @param {PointerEvent} start @param {(event: PointerEvent) => void} move @param {(done: boolean) => void} end */
function follow(start, move, end) {
  const finish = (/** @type {Event} */ event) => {
    window.removeEventListener("pointermove", onMove, true);
    window.removeEventListener("pointerup", finish, true);
    window.removeEventListener("pointercancel", finish, true);
    end(event.type === "pointerup");
  };
  const onMove = (/** @type {PointerEvent} */ event) => {
    event.stopPropagation();
    move(event);
  };
  start.stopPropagation();
  window.addEventListener("pointermove", onMove, true);
  window.addEventListener("pointerup", finish, true);
  window.addEventListener("pointercancel", finish, true);
}
