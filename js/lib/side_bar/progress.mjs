// What is running and how far it is. Redrawn at most ten times a second, however many events come.

import { foreignText, h, setStyle } from "../ui/dom.mjs";
import { plainText } from "../ui/format.mjs";

/** Ten redraws a second. */
const REDRAW_MILLISECONDS = 100;

/**
 * @typedef {object} Progress
 * @property {string} title of the node
 * @property {string} stage what it is doing, or empty
 * @property {number} value
 * @property {number} max 0 where it is not known
 */

/**
 * `run` at most once in `wait` milliseconds; the last call is never lost.
 * @param {() => void} run
 */
export function atMost(run, wait = REDRAW_MILLISECONDS) {
  let last = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | null} */
  let waiting = null;
  const now = () => {
    waiting = null;
    last = performance.now();
    run();
  };
  return () => {
    if (waiting !== null) return;
    const left = last + wait - performance.now();
    if (left <= 0) now();
    else waiting = setTimeout(now, left);
  };
}

/**
 * @param {HTMLElement} element
 * @param {Progress | null} progress
 * @param {import("../words/i18n.mjs").Language} language
 */
export function renderProgress(element, progress, { t }) {
  if (!progress) {
    element.setAttribute("hidden", "");
    element.replaceChildren();
    return;
  }
  const known = progress.max > 1;
  const share = known ? Math.min(1, progress.value / progress.max) : 0;
  const bar = h("span", { class: `patchbay-progress-bar${known ? "" : " patchbay-progress-unknown"}` }, h("i", {}));
  setStyle(bar, { "--patchbay-share": `${(share * 100).toFixed(1)}%` });
  const what = progress.stage || t("panel.running");
  element.removeAttribute("hidden");
  element.setAttribute("role", "progressbar");
  element.setAttribute("aria-label", `${what} ${plainText(progress.title, 60)}`);
  if (known) element.setAttribute("aria-valuenow", String(Math.round(share * 100)));
  else element.removeAttribute("aria-valuenow");
  element.replaceChildren(
    h("span", { class: "patchbay-progress-text" }, `${what} `, foreignText(plainText(progress.title, 60)), known ? ` ${progress.value} / ${progress.max}` : ""),
    bar,
  );
}
