// The strength editor's elements: built once for a board, then brought up to date.

import { h, setStyle } from "../ui/dom.mjs";
import { along, energyShare, isWithin } from "./state.mjs";
import { formatShare } from "../ui/format.mjs";
import { editorIcon } from "../ui/icons.mjs";
import { formatStrength } from "./text.mjs";

/**
 * @typedef {import("./state.mjs").Axis} Axis
 * @typedef {import("./state.mjs").Board} Board
 * @typedef {import("./state.mjs").Group} Group
 * @typedef {import("./state.mjs").Target} Target
 * @typedef {import("./edit.mjs").BarState} BarState
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} Slider one element with `role=slider`
 * @property {HTMLElement} root
 * @property {Target} target
 * @property {number | null} energy
 *
 * @typedef {object} EditorView
 * @property {HTMLElement} root
 * @property {HTMLElement} bars
 * @property {HTMLElement} swap
 * @property {HTMLElement} follow
 * @property {Map<string, Slider>} sliders the upright ones, by selector
 * @property {HTMLElement[]} wholes buttons that select a kind as a whole
 * @property {HTMLElement} ones the lines at strength 1 and 0 take their place from this element
 * @property {DetailRow} detail
 * @property {HTMLElement} parts
 * @property {HTMLElement} foot
 * @property {HTMLElement} problem
 * @property {HTMLElement} empty
 *
 * @typedef {object} DetailRow
 * @property {HTMLElement} root
 * @property {HTMLElement} name
 * @property {Slider} slider
 * @property {HTMLInputElement} input
 * @property {HTMLButtonElement} reset
 * @property {HTMLButtonElement} unfold
 *
 * @typedef {object} EditorActions
 * @property {(selector: string) => void} select
 * @property {(selector: string, typed: string) => void} typed
 * @property {(selector: string, steps: number) => void} stepped
 * @property {(selector: string) => void} reset
 * @property {() => void} unfold
 * @property {() => void} swap to the other of two settings
 * @property {() => void} follow
 * @property {(button: HTMLElement) => void} presets
 *
 * @typedef {object} EditorShown
 * @property {string} setting letter of the setting in force; empty where only one is known
 * @property {boolean} follows
 * @property {string} selected
 * @property {boolean} unfolded
 * @property {Axis} axis
 * @property {boolean} locked
 * @property {(selector: string) => BarState} stateOf
 */

/** Letters of a title for which `other` and `text` have room side by side, in every language. */
/** Share of the axis below which two numbers at it would touch. */
const TIGHT = 0.16;
const ROOM_FOR_MARKS = 2;

/** @param {EditorActions} actions @param {Board | null} board @param {Language} language @returns {EditorView} */
export function buildEditor(actions, board, { t, locale }) {
  const sliders = new Map();
  /** @type {HTMLElement[]} */
  const wholes = [];
  const strongest = strongestBlock(board);
  const groups = (board?.groups ?? []).map((group) => buildGroup(group, board, strongest, sliders, wholes, actions, t));
  const all = wholeButton({ selector: "all", name: t("editor.all"), mark: "" }, actions, t("editor.allHint"));
  wholes.unshift(all);
  const presets = h("button", { type: "button", class: "patchbay-button patchbay-presets-button", "aria-haspopup": "menu", "aria-expanded": "false" }, editorIcon("presets"), t("editor.presets"));
  presets.addEventListener("click", () => actions.presets(presets));
  const swap = h("button", { type: "button", class: "patchbay-button patchbay-sb-swap", title: t("editor.swapHint"), "aria-label": t("editor.swap"), on: { click: actions.swap } });
  const follow = h("button", { type: "button", class: "patchbay-button patchbay-sb-follow", title: t("editor.followHint"), "aria-label": t("editor.follow"), "aria-pressed": "false", on: { click: actions.follow } }, "▶");
  const bars = h("div", { class: "patchbay-sb-groups", role: "group", "aria-label": t("editor.bars") }, ...groups);
  const detail = buildDetail(actions, t);
  const parts = h("div", { class: "patchbay-sb-parts", role: "group", "aria-label": t("editor.parts") });
  const foot = h("p", { class: "patchbay-sb-foot" });
  const problem = h("p", { class: "patchbay-sb-problem", role: "status" });
  const empty = h("p", { class: "patchbay-empty" });
  const head = h("div", { class: "patchbay-sb-head" }, h("span", { class: "patchbay-sb-title" }, t("editor.title")), all, follow, swap, presets);
  const root = h("div", { class: "patchbay-editor-body", lang: locale }, head, empty, bars, detail.root, parts, problem, foot);
  return { root, bars, swap, follow, sliders, wholes, ones: bars, detail, parts, foot, problem, empty };
}

/** Largest root energy of a block: the column of this block fills its track. @param {Board | null} board */
function strongestBlock(board) {
  const shares = (board?.groups ?? []).flatMap(({ bars }) => bars.map(({ selector }) => (board ? energyShare(board, selector) : null) ?? 0));
  return Math.sqrt(Math.max(0, ...shares));
}

/**
 * @param {Group} group
 * @param {Board | null} board
 * @param {number} strongest
 * @param {Map<string, Slider>} sliders
 * @param {HTMLElement[]} wholes
 * @param {EditorActions} actions
 * @param {Language["t"]} t
 */
function buildGroup({ whole, bars }, board, strongest, sliders, wholes, actions, t) {
  const button = whole && wholeButton(whole, actions, t("editor.wholeHint", { name: whole.name }));
  if (button) wholes.push(button);
  const cells = bars.map((target) => {
    const energy = board && energyShare(board, target.selector);
    const root = h(
      "div",
      { class: "patchbay-sb", role: "slider", tabindex: -1, "aria-orientation": "vertical", "aria-label": target.name, "data-selector": target.selector, "data-whole": whole?.selector ?? null },
      h("span", { class: "patchbay-sb-track" }, h("span", { class: "patchbay-sb-fill" })),
      h("span", { class: "patchbay-sb-mark", "aria-hidden": "true", title: t("editor.toggleHint", { name: target.name }) }, target.mark),
    );
    if (energy !== null && strongest > 0) setStyle(root, { "--patchbay-energy": `${Math.round((100 * Math.sqrt(energy)) / strongest)}%` });
    root.classList.toggle("patchbay-sb-idle", energy === 0);
    sliders.set(target.selector, { root, target, energy });
    return root;
  });
  const row = h("div", { class: "patchbay-sb-row" }, ...cells);
  return h("div", { class: "patchbay-sb-group", style: { "--patchbay-count": bars.length, "--patchbay-letters": whole?.name.length ?? ROOM_FOR_MARKS } }, button ?? h("span", { class: "patchbay-sb-kind" }, "\u00a0"), row);
}

/** @param {Target} target @param {EditorActions} actions @param {string} hint */
function wholeButton(target, actions, hint) {
  return h(
    "button",
    { type: "button", class: "patchbay-sb-kind patchbay-sb-whole", "data-selector": target.selector, title: hint, on: { click: () => actions.select(target.selector) } },
    h("span", { class: "patchbay-sb-kind-name" }, target.name),
    h("span", { class: "patchbay-sb-kind-value" }),
  );
}

/** @param {EditorActions} actions @param {Language["t"]} t @returns {DetailRow} */
function buildDetail(actions, t) {
  const name = h("span", { class: "patchbay-sb-name" });
  const slider = flatSlider({ selector: "all", name: "", mark: "" });
  const input = numberInput(actions, () => slider.target.selector);
  const reset = h("button", { type: "button", class: "patchbay-button patchbay-icon-button patchbay-sb-reset", title: t("editor.reset"), "aria-label": t("editor.reset") }, editorIcon("reset"));
  reset.addEventListener("click", () => actions.reset(slider.target.selector));
  const unfold = h("button", { type: "button", class: "patchbay-button patchbay-sb-unfold", "aria-expanded": "false", on: { click: actions.unfold } }, t("editor.unfold"));
  return { root: h("div", { class: "patchbay-sb-detail" }, name, slider.root, input, reset, unfold), name, slider, input, reset, unfold };
}

/** @param {Target} target @returns {Slider} */
function flatSlider(target) {
  const root = h(
    "div",
    { class: "patchbay-sb-flat", role: "slider", tabindex: 0, "aria-orientation": "horizontal", "aria-label": target.name, "data-selector": target.selector },
    h("span", { class: "patchbay-sb-rail" }, h("span", { class: "patchbay-sb-fill" }), h("span", { class: "patchbay-sb-knob" })),
  );
  return { root, target, energy: null };
}

/** @param {EditorActions} actions @param {() => string} selector */
function numberInput(actions, selector) {
  const input = h("input", { type: "text", class: "patchbay-sb-number", inputmode: "decimal", autocomplete: "off", spellcheck: "false", size: 5 });
  const apply = () => {
    const typed = input.value;
    if (typed === input.getAttribute("data-shown")) return;
    // Taken: or leaving the field would write it once more, over what has changed since.
    input.setAttribute("data-shown", typed);
    actions.typed(selector(), typed);
  };
  input.addEventListener("change", apply);
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") apply();
    else if (event.key === "Escape") input.value = input.getAttribute("data-shown") ?? "";
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      apply();
      actions.stepped(selector(), (event.key === "ArrowUp" ? 1 : -1) * (event.altKey ? 0.2 : 1));
    } else return;
    event.preventDefault();
    input.select();
  });
  return input;
}

/**
 * @param {EditorView} view
 * @param {EditorShown} shown
 * @param {Target} target the selected one
 * @param {Target[]} parts
 * @param {Board} board
 * @param {EditorActions} actions
 * @param {Language} language
 */
export function renderEditor(view, shown, target, parts, board, actions, language) {
  const { axis, stateOf, selected, locked } = shown;
  const [zero, one] = [along(axis, 0), along(axis, 1)];
  setStyle(view.root, { "--patchbay-zero": zero, "--patchbay-one": one, "--patchbay-top": `"${formatStrength(axis.high)}"` });
  view.root.classList.toggle("patchbay-sb-tight", one - zero < TIGHT);
  view.root.classList.toggle("patchbay-is-locked", locked);
  view.follow.setAttribute("aria-pressed", String(shown.follows));
  view.swap.replaceChildren(...["A", "B"].map((letter) => h(letter === shown.setting ? "b" : "span", {}, letter)));
  const stop = view.sliders.has(selected) ? selected : view.sliders.keys().next().value;
  for (const slider of view.sliders.values()) {
    renderSlider(slider, stateOf(slider.target.selector), shown, language);
    slider.root.setAttribute("tabindex", slider.target.selector === stop ? "0" : "-1");
    slider.root.classList.toggle("patchbay-is-selected", isInside(slider, selected));
  }
  for (const button of view.wholes) {
    const selector = button.getAttribute("data-selector") ?? "";
    button.setAttribute("aria-pressed", String(selector === selected));
    const value = button.querySelector(".patchbay-sb-kind-value");
    if (!value) continue;
    value.textContent = shortValue(stateOf(selector), language.t);
    value.setAttribute("title", value.textContent);
  }
  renderDetail(view.detail, target, parts, shown, language);
  renderParts(view, parts, shown, board, actions, language);
}

/** @param {Slider} slider @param {string} selected */
const isInside = ({ root, target }, selected) => target.selector === selected || root.getAttribute("data-whole") === selected || isWithin(target.selector, selected);

/**
 * From the lowest to the highest of several strengths. Few bars have it, and it is no element of the others: each one on a
 * canvas costs time while ComfyUI runs, and a model may have sixty bars.
 * @param {HTMLElement} root @param {boolean} shown
 */
function showSpread(root, shown) {
  const spread = root.querySelector(".patchbay-sb-spread");
  if (shown === (spread !== null)) return;
  if (spread) spread.remove();
  else root.querySelector(".patchbay-sb-fill")?.after(h("span", { class: "patchbay-sb-spread" }));
}

/** @param {Slider} slider @param {BarState} state @param {EditorShown} shown @param {Language} language */
function renderSlider({ root, energy }, state, { axis, locked }, language) {
  const value = state.value ?? (state.low + state.high) / 2;
  const zero = along(axis, 0);
  const at = along(axis, value);
  setStyle(root, {
    "--patchbay-from": Math.min(zero, at), "--patchbay-to": Math.max(zero, at), "--patchbay-at": at,
    "--patchbay-low": along(axis, state.low), "--patchbay-high": along(axis, state.high),
  });
  root.classList.toggle("patchbay-sb-off", state.value === 0);
  root.classList.toggle("patchbay-sb-negative", value < 0);
  root.classList.toggle("patchbay-sb-plain", state.value === 1 && !state.mixed);
  showSpread(root, state.mixed);
  root.setAttribute("aria-valuemin", formatStrength(axis.low));
  root.setAttribute("aria-valuemax", formatStrength(axis.high));
  root.setAttribute("aria-valuenow", formatStrength(value));
  root.setAttribute("aria-valuetext", valueText(state, energy, language));
  root.setAttribute("aria-disabled", String(locked));
}

/**
 * `0.8`, `0 to 1`
 * @param {BarState} state
 * @param {Language["t"]} t
 */
export function shortValue(state, t) {
  if (state.empty) return "–";
  if (!state.mixed) return formatStrength(state.low);
  return t("editor.span", { low: formatStrength(state.low), high: formatStrength(state.high) });
}

/**
 * `0.8; parts from 0 to 1; 4.1 % of the LoRA (squared norm)`
 * @param {BarState} state
 * @param {number | null} energy
 * @param {Language} language
 */
export function valueText(state, energy, { t, locale }) {
  const words = [];
  if (state.value !== null) words.push(formatStrength(state.value));
  if (state.mixed) words.push(t("editor.mixed", { low: formatStrength(state.low), high: formatStrength(state.high) }));
  if (energy === 0) words.push(t("editor.noEnergy"));
  else if (energy !== null) words.push(t("editor.energy", { share: formatShare(energy, locale) }));
  return words.join(t("editor.and"));
}

/** @param {DetailRow} detail @param {Target} target @param {Target[]} parts @param {EditorShown} shown @param {Language} language */
function renderDetail(detail, target, parts, shown, language) {
  const state = shown.stateOf(target.selector);
  detail.slider.target = target;
  detail.slider.root.setAttribute("data-selector", target.selector);
  detail.slider.root.setAttribute("aria-label", target.name);
  detail.name.textContent = target.name;
  detail.name.title = target.selector;
  renderSlider(detail.slider, state, shown, language);
  showNumber(detail.input, state, target.name, shown.locked, language.t);
  detail.reset.disabled = shown.locked || (state.low === 1 && state.high === 1);
  detail.unfold.hidden = parts.length === 0;
  detail.unfold.setAttribute("aria-expanded", String(shown.unfolded && parts.length > 0));
}

/** @param {HTMLInputElement} input @param {BarState} state @param {string} name @param {boolean} locked @param {Language["t"]} t */
function showNumber(input, state, name, locked, t) {
  const text = state.value === null ? "" : formatStrength(state.value);
  input.setAttribute("aria-label", t("editor.numberOf", { name }));
  input.placeholder = state.value === null ? shortValue(state, t) : "";
  input.disabled = locked;
  if (document.activeElement === input && input.value !== input.getAttribute("data-shown")) return;
  input.value = text;
  input.setAttribute("data-shown", text);
}

/**
 * @param {EditorView} view
 * @param {Target[]} parts
 * @param {EditorShown} shown
 * @param {Board} board
 * @param {EditorActions} actions
 * @param {Language} language
 */
function renderParts(view, parts, shown, board, actions, language) {
  const wanted = shown.unfolded ? parts : [];
  view.parts.hidden = wanted.length === 0;
  const key = wanted.map(({ selector }) => selector).join("\n");
  if (view.parts.getAttribute("data-key") !== key) {
    view.parts.setAttribute("data-key", key);
    view.parts.replaceChildren(...wanted.map((part) => partRow(part, energyShare(board, part.selector), actions, language)));
  }
  wanted.forEach((part, i) => {
    const row = view.parts.children[i];
    const root = /** @type {HTMLElement | null | undefined} */ (row?.querySelector("[role=slider]"));
    const input = /** @type {HTMLInputElement | null | undefined} */ (row?.querySelector("input"));
    if (!root || !input) return;
    const state = shown.stateOf(part.selector);
    renderSlider({ root, target: part, energy: energyShare(board, part.selector) }, state, shown, language);
    showNumber(input, state, part.name, shown.locked, language.t);
  });
}

/** @param {Target} part @param {number | null} energy @param {EditorActions} actions @param {Language} language */
function partRow(part, energy, actions, { t, locale }) {
  const slider = flatSlider(part);
  const share = energy === null ? "" : formatShare(energy, locale);
  return h(
    "div",
    { class: "patchbay-sb-part" },
    h("span", { class: "patchbay-sb-name", title: part.selector }, part.name),
    slider.root,
    numberInput(actions, () => part.selector),
    h("span", { class: "patchbay-sb-share", title: share ? t("editor.energy", { share }) : null }, share),
  );
}

/**
 * Puts the cursor into the number field of a selector, with what was typed so far.
 * @param {HTMLElement} root
 * @param {string} selector
 * @param {string} typed
 */
export function typeInto(root, selector, typed) {
  const rows = [...root.querySelectorAll(".patchbay-sb-detail, .patchbay-sb-part")];
  const input = rows.find((each) => each.querySelector("[role=slider]")?.getAttribute("data-selector") === selector)?.querySelector("input");
  if (!input || input.disabled) return;
  input.focus({ preventScroll: true });
  input.select();
  if (typed) input.value = typed;
}
