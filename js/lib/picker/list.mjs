// A long list of which only what is seen exists: ten thousand lines cost as much as twenty.

import { h, setStyle } from "../ui/dom.mjs";

const SPARE_LINES = 4;

/**
 * @typedef {object} VirtualList
 * @property {HTMLElement} root
 * @property {(count: number, selected: number) => void} show another number of lines, or another one selected
 * @property {() => void} refresh draws the lines again
 * @property {() => number} page lines that are seen at once
 */

/**
 * @param {number} lineHeight in pixels
 * @param {(at: number) => HTMLElement} line makes the element of a line
 * @returns {VirtualList}
 */
export function virtualList(lineHeight, line) {
  const inner = h("div", { class: "patchbay-pick-inner", role: "presentation" });
  const root = h("div", { class: "patchbay-pick-list", role: "listbox", tabindex: -1 }, inner);
  let count = 0;
  let drawn = "";
  const page = () => Math.max(1, Math.floor(root.clientHeight / lineHeight));
  const draw = () => {
    const first = Math.max(0, Math.floor(root.scrollTop / lineHeight) - SPARE_LINES);
    const last = Math.min(count, first + page() + 2 * SPARE_LINES);
    if (drawn === `${first} ${last}`) return;
    drawn = `${first} ${last}`;
    const lines = [];
    for (let at = first; at < last; at += 1) {
      const element = line(at);
      setStyle(element, { top: `${at * lineHeight}px`, height: `${lineHeight}px` });
      lines.push(element);
    }
    inner.replaceChildren(...lines);
  };
  const refresh = () => {
    drawn = "";
    draw();
  };
  root.addEventListener("scroll", draw, { passive: true });
  return {
    root, refresh, page,
    show(wanted, selected) {
      count = wanted;
      setStyle(inner, { height: `${count * lineHeight}px` });
      const top = selected * lineHeight;
      if (top < root.scrollTop) root.scrollTop = top;
      else if (top + lineHeight > root.scrollTop + root.clientHeight) root.scrollTop = top + lineHeight - root.clientHeight;
      refresh();
    },
  };
}
