// The small window beside what the pointer or the focus is on.

import { foreignText, h, setStyle } from "../ui/dom.mjs";

/**
 * @typedef {ReturnType<typeof import("./words.mjs").describe>} Told
 */

const GAP_PIXELS = 8;
const EDGE_PIXELS = 6;

/**
 * @returns {{root: HTMLElement, tell: (told: Told | null, at: Element | null) => void}}
 */
export function createTip() {
  const root = h("div", { class: "patchbay-tip", role: "tooltip", hidden: true });
  return {
    root,
    tell(told, at) {
      if (!told || !at) {
        root.setAttribute("hidden", "");
        return;
      }
      root.replaceChildren(
        h("strong", {}, foreignText(told.title)),
        ...told.facts.map((fact) => h("span", {}, foreignText(fact))),
        ...told.reasons.map((reason) => h("em", {}, foreignText(reason))),
      );
      root.removeAttribute("hidden");
      beside(root, at.getBoundingClientRect(), (root.parentElement ?? root).getBoundingClientRect());
    },
  };
}

/**
 * At the height of the target, beside the whole panel, so that it covers nothing of it; where there is no room, below the
 * target. Inside the window in any case.
 * @param {HTMLElement} root
 * @param {DOMRect} at
 * @param {DOMRect} panel
 */
function beside(root, at, panel) {
  const { width, height } = root.getBoundingClientRect();
  const right = panel.right + GAP_PIXELS;
  const left = panel.left - GAP_PIXELS - width;
  const outside = right + width < innerWidth - EDGE_PIXELS ? right : left > EDGE_PIXELS ? left : null;
  const x = outside ?? Math.min(Math.max(EDGE_PIXELS, at.left + at.width / 2 - width / 2), innerWidth - width - EDGE_PIXELS);
  const y = outside === null ? at.bottom + GAP_PIXELS : at.top - EDGE_PIXELS;
  setStyle(root, { left: `${x}px`, top: `${Math.max(EDGE_PIXELS, Math.min(y, innerHeight - height - EDGE_PIXELS))}px` });
}
