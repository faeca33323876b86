// The list to choose a LoRA from: at the button that asked for it, above everything else.

import { h, setStyle } from "../ui/dom.mjs";
import { levelIcon } from "../ui/icons.mjs";
import { findNames, fittingFirst, foldersOf, isIn } from "./match.mjs";
import { virtualList } from "./list.mjs";

/**
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} Known what a line says of a file, as far as it is known
 * @property {string} [level]
 * @property {string} [verdict]
 * @property {string[]} [words] trigger words
 * @property {string} [ranks]
 * @property {string} [reason] why it does not fit
 * @property {string} [preview] address of its picture
 * @property {string} [note] what the user wrote about it
 *
 * @typedef {Pick<HTMLElement, "getBoundingClientRect" | "focus">} Place where the list opens, and what gets the focus back
 *
 * @typedef {object} PickerSource
 * @property {() => Promise<string[]>} names
 * @property {(name: string) => Known | null} known for a line; null where it has to be asked
 * @property {(name: string) => boolean} isKnown the next three are asked of every file at each key
 * @property {(name: string) => string | undefined} level
 * @property {(name: string) => string} words trigger words and notes
 * @property {(names: string[]) => Promise<unknown>} ask many at once
 * @property {(text: string) => boolean} typed whether a text was taken as it is: tags
 */

const LINE_PIXELS = 40;
const AT_ONCE = 24;
const PAUSE_MILLISECONDS = 30;
/** The whole list is put in order anew only so often while files are read. */
const BATCHES_A_LOOK = 10;
const WIDTH = 460;
const HEIGHT = 420;

/** @type {(() => void) | null} */
let closeOpen = null;

/**
 * @param {Place} button
 * @param {PickerSource} source
 * @param {Language} language
 * @param {(name: string) => void} choose
 */
export function openPicker(button, source, language, choose) {
  closeOpen?.();
  const { t, locale } = language;
  const state = { names: /** @type {string[]} */ ([]), found: /** @type {string[]} */ ([]), folder: "", at: 0, open: true, gaveUp: false };
  const search = h("input", { type: "search", class: "patchbay-pick-search", placeholder: t("picker.search"), "aria-label": t("picker.search"), autocomplete: "off", spellcheck: "false" });
  const folders = h("div", { class: "patchbay-pick-folders" });
  const picture = h("img", { class: "patchbay-pick-picture", alt: "", hidden: true, loading: "lazy", decoding: "async" });
  const side = h("div", { class: "patchbay-pick-side" }, folders, picture);
  const foot = h("div", { class: "patchbay-pick-foot", "aria-live": "polite" });
  const list = virtualList(LINE_PIXELS, (at) => lineOf(state.found[at] ?? "", at === state.at, source, language));
  const dialog = h("div", { class: "patchbay-panel patchbay-picker", role: "dialog", "aria-label": t("picker.label"), lang: locale }, search, h("div", { class: "patchbay-pick-middle" }, side, list.root), foot);

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
    state.found = fittingFirst(findNames(here, search.value, source.words), source.level);
    state.at = Math.min(state.at, Math.max(0, state.found.length - 1));
    foot.textContent = state.found.length > 0 ? t("picker.found", { n: state.found.length }) : t("picker.empty");
    list.show(state.found.length, state.at);
    showPicture();
    void askAll();
  };
  const showPicture = () => {
    const address = source.known(state.found[state.at] ?? "")?.preview ?? "";
    picture.hidden = address === "";
    if (address && picture.getAttribute("src") !== address) picture.setAttribute("src", address);
  };
  /** Those that are seen come first, then all the others, as long as the list is open. */
  let asking = false;
  let batches = 0;
  let next = 0;
  const askAll = async () => {
    if (asking) return;
    asking = true;
    for (let names = unknown(); names.length > 0 && state.open; names = unknown()) {
      await source.ask(names).catch(() => (state.gaveUp = true));
      if (!state.open || state.gaveUp) break;
      // Nothing jumps under the hand: the order is made anew at the top of the list only.
      batches += 1;
      const anew = batches % BATCHES_A_LOOK === 1 || unknown().length === 0;
      if (anew && list.root.scrollTop === 0 && state.at === 0) look();
      else list.refresh();
      showPicture();
      await new Promise((done) => setTimeout(done, PAUSE_MILLISECONDS));
    }
    asking = false;
  };
  const isUnknown = (/** @type {string} */ name) => !source.isKnown(name);
  const unknown = () => {
    const first = Math.floor(list.root.scrollTop / LINE_PIXELS);
    const seen = state.found.slice(first, first + list.page() + 1).filter(isUnknown);
    while (next < state.names.length && !isUnknown(state.names[next] ?? "")) next += 1;
    return seen.length > 0 ? seen.slice(0, AT_ONCE) : state.names.slice(next, next + AT_ONCE).filter(isUnknown);
  };
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
      showPicture();
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
  const facts = [known?.verdict ?? "", known?.reason ?? "", known?.ranks ? t("picker.rank", { ranks: known.ranks }) : "", (known?.words ?? []).join(", "), known?.note ?? ""].filter(Boolean).join(" · ");
  return h(
    "div",
    { class: "patchbay-pick-line", role: "option", "aria-selected": String(selected), "data-name": name, title: facts || null },
    h("span", { class: `patchbay-pick-level patchbay-dot patchbay-dot-${known?.level ?? "unknown"}` }, known?.level ? levelIcon(known.level) : null),
    h("span", { class: "patchbay-pick-name" }, h("bdi", {}, file), parts.length > 0 && h("bdi", { class: "patchbay-muted" }, ` ${parts.join("/")}`)),
    h("bdi", { class: "patchbay-pick-facts patchbay-muted" }, facts),
    known?.preview && h("img", { class: "patchbay-pick-thumb", src: known.preview, alt: "", loading: "lazy", decoding: "async" }),
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
