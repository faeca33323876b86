// The list to choose a LoRA from: at the button that asked for it, above everything else.

import { h, setStyle } from "../ui/dom.mjs";
import { levelIcon } from "../ui/icons.mjs";
import { findNames, foldersOf, isIn } from "./match.mjs";
import { virtualList } from "./list.mjs";

/**
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} Known what a line says of a file, as far as it is known
 * @property {string} [level]
 * @property {string} [verdict]
 * @property {string[]} [words] trigger words
 * @property {string} [ranks]
 *
 * @typedef {object} PickerSource
 * @property {() => Promise<string[]>} names
 * @property {(name: string) => Known | null} known at once; null where it has to be asked
 * @property {(name: string) => Promise<unknown>} ask
 * @property {(text: string) => boolean} typed whether a text was taken as it is: tags
 */

const LINE_PIXELS = 40;
const WIDTH = 460;
const HEIGHT = 420;

/** @type {(() => void) | null} */
let closeOpen = null;

/**
 * @param {HTMLElement} button
 * @param {PickerSource} source
 * @param {Language} language
 * @param {(name: string) => void} choose
 */
export function openPicker(button, source, language, choose) {
  closeOpen?.();
  const { t, locale } = language;
  const state = { names: /** @type {string[]} */ ([]), found: /** @type {string[]} */ ([]), folder: "", at: 0, open: true };
  const search = h("input", { type: "search", class: "patchbay-pick-search", placeholder: t("picker.search"), "aria-label": t("picker.search"), autocomplete: "off", spellcheck: "false" });
  const folders = h("div", { class: "patchbay-pick-folders" });
  const foot = h("div", { class: "patchbay-pick-foot", "aria-live": "polite" });
  const list = virtualList(LINE_PIXELS, (at) => lineOf(state.found[at] ?? "", at === state.at, source, language));
  const dialog = h("div", { class: "patchbay-panel patchbay-picker", role: "dialog", "aria-label": t("picker.label"), lang: locale }, search, h("div", { class: "patchbay-pick-middle" }, folders, list.root), foot);

  const close = () => {
    state.open = false;
    document.removeEventListener("pointerdown", outside, true);
    dialog.remove();
    closeOpen = null;
    button.focus({ preventScroll: true });
  };
  const outside = (/** @type {Event} */ event) => {
    if (event.target instanceof Node && !dialog.contains(event.target)) close();
  };
  const take = (/** @type {string | undefined} */ name) => {
    if (!name) return;
    close();
    choose(name);
  };
  const look = () => {
    const here = state.names.filter((name) => isIn(name, state.folder));
    state.found = findNames(here, search.value, (name) => (source.known(name)?.words ?? []).join(" "));
    state.at = Math.min(state.at, Math.max(0, state.found.length - 1));
    foot.textContent = state.found.length > 0 ? t("picker.found", { n: state.found.length }) : t("picker.empty");
    list.show(state.found.length, state.at);
    askSeen();
  };
  let asking = false;
  const askSeen = async () => {
    if (asking) return;
    asking = true;
    for (let next = unknownSeen(); next && state.open; next = unknownSeen()) {
      await source.ask(next);
      list.refresh();
    }
    asking = false;
  };
  const unknownSeen = () => {
    const first = Math.floor(list.root.scrollTop / LINE_PIXELS);
    return state.found.slice(first, first + list.page() + 1).find((name) => source.known(name) === null);
  };
  list.root.addEventListener("scroll", () => void askSeen(), { passive: true });
  search.addEventListener("input", () => {
    state.at = 0;
    if (source.typed(search.value)) return close();
    look();
  });
  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: list.page(), PageUp: -list.page() }[event.key];
    if (step !== undefined) {
      state.at = Math.max(0, Math.min(state.found.length - 1, state.at + step));
      list.show(state.found.length, state.at);
      void askSeen();
    } else if (event.key === "Enter") take(state.found[state.at]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  for (const type of ["wheel", "paste", "copy", "cut", "pointerdown"]) dialog.addEventListener(type, (event) => event.stopPropagation());
  list.root.addEventListener("click", (event) => {
    const line = event.target instanceof Element ? event.target.closest("[data-name]") : null;
    take(line?.getAttribute("data-name") ?? undefined);
  });
  const showFolders = () => {
    const known = foldersOf(state.names);
    folders.hidden = known.size === 0;
    const all = folderButton("", state.names.length, state.folder, t("editor.all"));
    folders.replaceChildren(all, ...[...known].map(([folder, count]) => folderButton(folder, count, state.folder, "")));
  };
  folders.addEventListener("click", (event) => {
    const chosen = event.target instanceof Element ? event.target.closest("[data-folder]") : null;
    if (!chosen) return;
    state.folder = chosen.getAttribute("data-folder") ?? "";
    state.at = 0;
    showFolders();
    look();
    search.focus();
  });
  document.body.append(dialog);
  place(dialog, button.getBoundingClientRect());
  document.addEventListener("pointerdown", outside, true);
  closeOpen = close;
  search.focus();
  void source.names().then((names) => {
    if (!state.open) return;
    state.names = names;
    showFolders();
    look();
  });
}

/** @param {string} folder @param {number} count @param {string} chosen @param {string} name */
function folderButton(folder, count, chosen, name) {
  const depth = folder.split("/").length - 1;
  const last = folder.split("/").pop() ?? "";
  return h("button", { type: "button", class: "patchbay-pick-folder", "data-folder": folder, "aria-pressed": String(folder === chosen), title: folder || null, style: { "padding-inline-start": `${6 + depth * 10}px` } }, h("bdi", {}, name || last), h("span", { class: "patchbay-muted" }, count));
}

/** @param {string} name @param {boolean} selected @param {PickerSource} source @param {Language} language */
function lineOf(name, selected, source, { t }) {
  const known = source.known(name);
  const parts = name.split(/[\\/]/);
  const file = parts.pop() ?? name;
  const facts = [known?.verdict ?? "", known?.ranks ? t("picker.rank", { ranks: known.ranks }) : "", (known?.words ?? []).join(", ")].filter(Boolean).join(" · ");
  return h(
    "div",
    { class: "patchbay-pick-line", role: "option", "aria-selected": String(selected), "data-name": name, title: facts || null },
    h("span", { class: `patchbay-pick-level patchbay-dot patchbay-dot-${known?.level ?? "unknown"}` }, known?.level ? levelIcon(known.level) : null),
    h("span", { class: "patchbay-pick-name" }, h("bdi", {}, file), parts.length > 0 && h("bdi", { class: "patchbay-muted" }, ` ${parts.join("/")}`)),
    h("bdi", { class: "patchbay-pick-facts patchbay-muted" }, facts),
  );
}

/** Below the button or above it, and always on the page. @param {HTMLElement} dialog @param {DOMRect} at */
function place(dialog, at) {
  const { innerWidth, innerHeight } = window;
  const left = Math.max(8, Math.min(at.left, innerWidth - WIDTH - 8));
  const below = at.bottom + 4;
  const top = below + HEIGHT < innerHeight ? below : Math.max(8, Math.min(at.top - HEIGHT - 4, innerHeight - HEIGHT - 8));
  setStyle(dialog, { left: `${left}px`, top: `${top}px`, width: `${Math.min(WIDTH, innerWidth - 16)}px`, height: `${Math.min(HEIGHT, innerHeight - 16)}px` });
}
