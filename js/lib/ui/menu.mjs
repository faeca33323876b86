// A menu that opens at a button, above everything else, for mouse and keyboard.

import { h, setStyle } from "./dom.mjs";

/**
 * @typedef {object} MenuEntry
 * @property {string} text
 * @property {string} [hint] a second line
 * @property {() => void} act
 * @property {boolean} [danger]
 *
 * @typedef {{title: string, entries: MenuEntry[]}} MenuSection
 */

/** @type {{button: HTMLElement, close: () => void} | null} */
let opened = null;

/**
 * Opens a menu, or closes it where it is the open one.
 * @param {HTMLElement} button
 * @param {MenuSection[]} sections
 * @param {string} lang
 */
export function openMenu(button, sections, lang) {
  const again = opened?.button === button;
  opened?.close();
  if (again) return;
  const menu = h("div", { class: "patchbay-menu", role: "menu", lang, tabindex: -1 }, ...sections.flatMap(sectionElements));
  const close = (/** @type {boolean} */ focus) => {
    document.removeEventListener("pointerdown", outside, true);
    window.removeEventListener("resize", leave);
    window.removeEventListener("hashchange", leave);
    document.removeEventListener("wheel", moved, true);
    menu.remove();
    button.setAttribute("aria-expanded", "false");
    if (focus) button.focus({ preventScroll: true });
    if (opened?.close === leave) opened = null;
  };
  const leave = () => close(false);
  /** @param {Event} event */
  const outside = (event) => {
    if (event.target instanceof Node && !menu.contains(event.target) && !button.contains(event.target)) leave();
  };
  // The canvas moves or zooms under it, or another workflow is opened: the button is no longer there.
  const moved = (/** @type {Event} */ event) => {
    if (event.target instanceof Node && !menu.contains(event.target)) leave();
  };
  menu.addEventListener("click", (event) => event.target instanceof Element && event.target.closest("[role=menuitem]") && close(true));
  menu.addEventListener("keydown", (event) => onKey(menu, event, () => close(true)));
  menu.addEventListener("wheel", (event) => event.stopPropagation());
  document.body.append(menu);
  place(menu, button.getBoundingClientRect());
  button.setAttribute("aria-expanded", "true");
  document.addEventListener("pointerdown", outside, true);
  window.addEventListener("resize", leave);
  window.addEventListener("hashchange", leave);
  document.addEventListener("wheel", moved, { capture: true, passive: true });
  opened = { button, close: leave };
  itemsOf(menu)[0]?.focus({ preventScroll: true });
}

/** @param {MenuSection} section */
function sectionElements({ title, entries }) {
  const items = entries.map(({ text, hint, act, danger }) =>
    h(
      "button",
      { type: "button", role: "menuitem", tabindex: -1, class: danger ? "patchbay-menu-item patchbay-menu-danger" : "patchbay-menu-item", on: { click: act } },
      h("bdi", {}, text),
      hint && h("bdi", { class: "patchbay-menu-hint" }, hint),
    ),
  );
  return entries.length === 0 ? [] : [h("div", { role: "group", "aria-label": title }, h("div", { class: "patchbay-menu-title", "aria-hidden": "true" }, title), ...items)];
}

/** @param {HTMLElement} menu @returns {HTMLElement[]} */
const itemsOf = (menu) => [...menu.querySelectorAll("[role=menuitem]")].map((item) => /** @type {HTMLElement} */ (item));

/** @param {HTMLElement} menu @param {KeyboardEvent} event @param {() => void} close */
function onKey(menu, event, close) {
  event.stopPropagation();
  const items = itemsOf(menu);
  const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const targets = { ArrowDown: (at + 1) % items.length, ArrowUp: (at - 1 + items.length) % items.length, Home: 0, End: items.length - 1 };
  if (event.key === "Escape" || event.key === "Tab") close();
  else if (Object.hasOwn(targets, event.key)) items[targets[/** @type {keyof typeof targets} */ (event.key)]]?.focus();
  else return;
  event.preventDefault();
}

/** Below the button, or above it where there is more room. @param {HTMLElement} menu @param {DOMRect} at */
function place(menu, at) {
  const { innerWidth, innerHeight } = window;
  const below = innerHeight - at.bottom;
  const upwards = below < 240 && at.top > below;
  const room = Math.max(120, (upwards ? at.top : below) - 16);
  setStyle(menu, { "max-height": `${Math.min(room, 520)}px` });
  const { width, height } = menu.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.right - width, innerWidth - width - 8));
  setStyle(menu, { left: `${left}px`, top: `${upwards ? at.top - height - 4 : at.bottom + 4}px` });
}
