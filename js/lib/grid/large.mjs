// One picture of a grid, enlarged: wheel and drag, the settings below it, and a way to put them on a node.

import { h, setStyle } from "../ui/dom.mjs";
import { detail } from "./view.mjs";
import { FITTED, movedBy, transformOf, zoomedAt } from "./zoom.mjs";

/**
 * @typedef {import("../../types/grid").GridData} GridData
 * @typedef {import("../../types/grid").GridCell} GridCell
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} LargeActions
 * @property {() => void} close
 * @property {(across: number, down: number) => void} step to the cell beside it
 * @property {((button: HTMLElement) => void) | null} use puts the settings on a node; null for a cell without a LoRA
 * @property {(image: import("../../types/compare").ImageRef) => string} urlOf
 */

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const WHEEL_PER_PIXEL = 0.0015;
const KEY_ZOOM = 1.25;

/**
 * @param {GridData} data @param {GridCell} cell @param {Language} language @param {LargeActions} actions
 * @returns {HTMLElement}
 */
export function largeView(data, cell, language, actions) {
  const { t } = language;
  const image = h("img", { class: "patchbay-grid-large", src: cell.picture ? actions.urlOf(cell.picture) : null, alt: cell.label, draggable: "false" });
  const stage = h("div", { class: "patchbay-grid-stage", tabindex: 0, role: "group", "aria-label": t("grid.stage"), "data-capture-wheel": "true" }, image);
  const button = (/** @type {string} */ name, /** @type {(button: HTMLElement) => void} */ act) => {
    const made = h("button", { type: "button", class: "patchbay-button", title: t(`${name}.hint`), on: { click: () => act(made) } }, t(name));
    return made;
  };
  listen(stage, image, actions);
  return h(
    "div",
    { class: "patchbay-grid-view patchbay-grid-is-large", lang: language.locale },
    h("div", { class: "patchbay-header" }, button("grid.back", actions.close), actions.use && button("grid.use", actions.use)),
    stage,
    h("div", { class: "patchbay-grid-foot" }, h("div", { class: "patchbay-grid-detail" }, detail(data, cell, language))),
  );
}

/** @param {HTMLElement} stage @param {HTMLImageElement} image @param {LargeActions} actions */
function listen(stage, image, actions) {
  let zoom = FITTED;
  /** @param {import("./zoom.mjs").Zoom} next */
  const set = (next) => {
    zoom = next;
    setStyle(image, { transform: transformOf(zoom), cursor: zoom.scale > 1 ? "grab" : "zoom-in" });
    image.classList.toggle("patchbay-pixelated", zoom.scale >= 4);
  };
  /** @param {MouseEvent} event */
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width - 0.5, y: (event.clientY - box.top) / box.height - 0.5 };
  };
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    event.stopPropagation();
    set(zoomedAt(zoom, Math.exp(-event.deltaY * WHEEL_PER_PIXEL), place(event)));
  }, { passive: false });
  stage.addEventListener("dblclick", () => set(FITTED));
  stage.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!stage.hasPointerCapture(event.pointerId)) return;
    const box = stage.getBoundingClientRect();
    set(movedBy(zoom, event.movementX / box.width, event.movementY / box.height));
  });
  stage.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") actions.close();
    else if (arrow) actions.step(...arrow);
    else if (event.key === "+" || event.key === "=") set(zoomedAt(zoom, KEY_ZOOM, { x: 0, y: 0 }));
    else if (event.key === "-") set(zoomedAt(zoom, 1 / KEY_ZOOM, { x: 0, y: 0 }));
    else if (event.key === "0") set(FITTED);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
