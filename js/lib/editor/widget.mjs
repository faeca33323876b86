// The strength editor as a part of a node. The text widget is the truth: this shows it and writes it, and keeps nothing.

import { alike } from "../ui/alike.mjs";
import { setAttributes } from "../ui/dom.mjs";
import { takeWheel } from "../ui/wheel.mjs";
import { onCanvasChange, watchValue } from "../comfyui/canvas_watch.mjs";
import { baseText, hasBase, joinTexts } from "./base.mjs";
import { changeBegins, changeEnds, loraNode, modelFile, writeWidget } from "../comfyui/editor.mjs";
import { listenToBars } from "./input.mjs";
import { chooseBoard, sameBoard } from "./layout.mjs";
import { runAgain } from "../comfyui/follow.mjs";
import { isLinked, widgetText } from "../comfyui/links.mjs";
import { axisFor, partsOf, rangeOf, rangeTarget, roundTo, selectorOf, statesOf, STEP, targetsOf } from "./state.mjs";
import { buildEditor, renderEditor, typeInto, valueText } from "./view.mjs";
import { plainText } from "../ui/format.mjs";
import { showPresets } from "./preset_menu.mjs";
import { asReport } from "../report/widget.mjs";
import { withReset, withStrength } from "./edit.mjs";
import { Memory } from "./memory.mjs";
import { readLayouts, textInForce } from "./sources.mjs";
import { emptyText, footWords, problemText } from "./sentences.mjs";
import { parseTyped } from "./text.mjs";
import { hiddenPixels, isOutOfSight } from "../ui/out_of_sight.mjs";

/**
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 * @typedef {import("../comfyui/node_panels.mjs").PanelHost} PanelHost
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("./state.mjs").Board} Board
 * @typedef {import("./input.mjs").Change} Change
 */

export const TEXT_WIDGET = "blocks";

/** Widgets whose text the bars show, whoever writes it. */
const WATCHED = [TEXT_WIDGET, "preset", "import_format", "import_text", "lora_name"];
const ROW_OF_KEYS_MILLISECONDS = 600;
const LARGEST = 100;

/** @param {PanelHost} host @returns {Panel} */
export const createStrengthEditor = (host) => new StrengthEditor(host).panel();

class StrengthEditor {
  /** @param {PanelHost} host */
  constructor(host) {
    this.host = host;
    this.node = /** @type {EditorNode} */ (host.node);
    this.root = host.root;
    setAttributes(this.root, { class: "patchbay-panel patchbay-editor", role: "region" });
    this.board = /** @type {Board | null} */ (null);
    this.source = "";
    this.selected = "all";
    this.unfolded = false;
    this.text = "";
    /** What the node puts before its text; it is shown, not edited. */
    this.base = "";
    this.fileProblem = "";
    this.memory = new Memory();
    /** Whether the node was given room for the rows of its bars. */
    this.roomy = false;
    /** Whether each change runs the workflow. */
    this.follows = false;
    this.said = "";
    this.pointed = /** @type {string | null} */ (null);
    /** @type {{text: string, axis: import("./state.mjs").Axis} | null} */
    this.gesture = null;
    this.axis = axisFor([]);
    this.keyTimer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
    this.run = /** @type {{report: Report, model: string} | null} */ (null);
    this.asked = "";
    this.busy = false;
    this.disposed = false;
    this.shown = "";
    this.view = this.build();
    listenToBars(this.root, this.gestures());
    takeWheel(this.root, () => this.view.root, host.forwardWheel);
    for (const name of WATCHED) watchValue(this.node.widgets?.find((widget) => widget.name === name));
    this.unwatch = onCanvasChange(() => this.look());
    this.look(true);
  }

  /** @returns {Panel} */
  panel() {
    return {
      show: (output) => this.onReport(output),
      languageChanged: () => this.rebuild(),
      dispose: () => {
        this.disposed = true;
        this.unwatch();
        this.settle();
        if (this.gesture) this.finish();
      },
    };
  }

  /** @param {import("../../types/app").NodeOutput} output */
  onReport(output) {
    const report = asReport(Array.isArray(output.patchbay_report) ? output.patchbay_report[0] : null);
    const run = report?.model ? { report, model: JSON.stringify(modelFile(this.node)) } : this.run;
    // A cached node sends its report again.
    if (alike(run, this.run)) return;
    this.run = run;
    this.asked = "";
    this.look(true);
  }

  build() {
    const language = this.host.language();
    this.root.setAttribute("aria-label", language.t("editor.label"));
    const view = buildEditor(this.actions(), this.board, language);
    this.root.replaceChildren(view.root);
    return view;
  }

  rebuild() {
    const focused = this.root.contains(document.activeElement) ? document.activeElement?.getAttribute("data-selector") : null;
    this.view = this.build();
    this.render();
    if (focused) this.view.sliders.get(focused)?.root.focus({ preventScroll: true });
  }

  /** @returns {import("./view.mjs").EditorActions} */
  actions() {
    return {
      select: (selector) => this.select(selector),
      typed: (selector, typed) => this.onTyped(selector, typed),
      stepped: (selector, steps) => this.change([{ selector, value: this.valueOf(selector) + steps * STEP, flatten: false }], 0.01),
      reset: (selector) => this.reset(selector),
      unfold: () => this.unfold(),
      swap: () => this.swap(),
      follow: () => ((this.follows = !this.follows), this.render()),
      presets: (button) => void showPresets(button, { text: () => this.ownText(), write: (text) => this.writeOnce(text) }, this.host.language()),
    };
  }

  /** @returns {import("./input.mjs").EditorGestures} */
  gestures() {
    return {
      locked: () => this.locked(),
      value: (selector) => this.valueOf(selector),
      span: () => this.axis.high - this.axis.low,
      valueAt: (share) => this.axis.low + Math.min(1, Math.max(0, share)) * (this.axis.high - this.axis.low),
      select: (selector) => this.select(selector),
      begin: () => this.begin(),
      preview: (changes, step) => this.preview(changes, step),
      commit: () => this.finish(),
      cancel: () => {
        if (this.gesture) this.write(this.gesture.text);
        this.finish();
      },
      nudge: (change, step) => this.nudge(change, step),
      settle: () => this.settle(),
      reset: (selector) => this.reset(selector),
      toggle: (selector) => this.toggle(selector),
      range: (from, to) => this.select(rangeOf(from, to) ?? to),
      type: (selector, typed) => this.type(selector, typed),
      point: (selector) => this.point(selector),
    };
  }

  // Reading

  locked() {
    return this.disposed || this.board === null || isLinked(this.node, TEXT_WIDGET);
  }

  /** What the widget holds, whoever put it there. */
  ownText() {
    return widgetText(this.node, TEXT_WIDGET) ?? "";
  }

  /** Looks whether something has changed outside. @param {boolean} [now] */
  look(now = false) {
    if (!now && (document.hidden || !this.root.isConnected || isOutOfSight(this.root))) return;
    void this.findBlocks();
    this.makeRoom();
    const text = textInForce(this.node, TEXT_WIDGET, this.run?.report.blocks);
    this.base = isLinked(this.node, TEXT_WIDGET) ? "" : baseText(this.node);
    const state = this.stateOf(text);
    if (!now && state === this.shown) return;
    this.shown = state;
    this.text = text;
    this.said = "";
    this.render();
  }

  /** What is shown, to be compared. @param {string} text */
  stateOf(text) {
    return JSON.stringify([text, this.base, hasBase(this.node), isLinked(this.node, TEXT_WIDGET)]);
  }

  /** Finds the blocks anew where the LoRA or the model is another one. */
  async findBlocks() {
    const lora = widgetText(loraNode(this.node), "lora_name") ?? "";
    const file = modelFile(this.node);
    const asked = JSON.stringify([lora, file]);
    if (asked === this.asked) return;
    this.asked = asked;
    this.busy = lora !== "" || file !== null;
    await readLayouts(lora, file, (found) => asked === this.asked && (this.choose(found, lora, file), true));
  }

  /** @param {import("./sources.mjs").Layouts} found @param {string} name @param {unknown} file */
  choose({ model, lora, problem, more }, name, file) {
    this.busy = more;
    this.fileProblem = problem;
    const ran = this.run?.report;
    const report = ran && (!ran.lora || ran.lora.name === name) ? ran : null;
    const chosen = chooseBoard({ model, lora, report, sameModel: this.run?.model === JSON.stringify(file) }, this.host.language().t);
    const board = chosen?.board ?? null;
    this.source = chosen?.source ?? "";
    if (sameBoard(board, this.board)) return this.render();
    Object.assign(this, { board, roomy: false });
    if (board && !targetsOf(board, "").has(this.selected) && !rangeTarget(this.selected)) this.selected = "all";
    this.rebuild();
  }

  /** @param {Board} board */
  states(board) {
    return statesOf(board, joinTexts(this.base, this.text));
  }

  /** @param {string} selector */
  valueOf(selector) {
    if (!this.board) return 1;
    const state = this.states(this.board).stateOf(selector);
    return state.value ?? (state.low + state.high) / 2;
  }

  // Writing

  /** @param {string} text */
  write(text) {
    this.text = text;
    this.said = "";
    writeWidget(this.node, TEXT_WIDGET, text);
    if (this.follows) runAgain();
    this.shown = this.stateOf(text);
    this.render();
  }

  /** @param {string} text */
  writeOnce(text) {
    if (isLinked(this.node, TEXT_WIDGET)) return;
    this.settle();
    changeBegins();
    this.write(text);
    changeEnds();
  }

  begin() {
    this.settle();
    changeBegins();
    this.gesture = { text: this.text, axis: this.axis };
  }

  /** @param {Change[]} changes @param {number} step */
  preview(changes, step) {
    const { board, gesture } = this;
    if (!board || !gesture) return;
    this.write(changes.reduce((text, { selector, value, flatten }) => {
      const rounded = Math.max(-LARGEST, Math.min(LARGEST, roundTo(value, step)));
      // Blocks that were chosen together take one strength.
      return withStrength(text, selectorOf(selector), rounded, board.model, flatten || rangeTarget(selector) !== null, this.base);
    }, gesture.text));
  }

  finish() {
    if (!this.gesture) return;
    this.gesture = null;
    changeEnds();
    this.render();
  }

  /** @param {Change[]} changes @param {number} step */
  change(changes, step) {
    if (this.locked()) return;
    this.begin();
    this.preview(changes, step);
    this.finish();
  }

  /** @param {Change} change @param {number} step */
  nudge(change, step) {
    clearTimeout(this.keyTimer);
    if (!this.gesture) this.begin();
    if (this.gesture) this.gesture.text = this.text;
    this.preview([change], step);
    this.keyTimer = setTimeout(() => this.settle(), ROW_OF_KEYS_MILLISECONDS);
  }

  settle() {
    if (this.keyTimer === undefined) return;
    clearTimeout(this.keyTimer);
    this.keyTimer = undefined;
    this.finish();
  }

  /** @param {string} selector */
  reset(selector) {
    if (this.board && !this.locked()) this.writeOnce(withReset(this.text, selectorOf(selector), this.board.model, this.base));
  }

  /** Off where it is on; on again at what it was. @param {string} selector */
  toggle(selector) {
    if (this.locked()) return;
    this.change([{ selector, value: this.memory.toggled(selector, this.valueOf(selector)), flatten: true }], 0.0001);
  }

  /** To the other of two settings. */
  swap() {
    if (this.locked()) return;
    this.writeOnce(this.memory.swapped(this.ownText()));
    this.render();
  }

  /** @param {string} selector @param {string} typed */
  onTyped(selector, typed) {
    const value = parseTyped(typed);
    if (value !== null) return this.change([{ selector, value, flatten: false }], 0.0001);
    this.said = this.host.language().t("editor.typedError", { text: plainText(typed, 40) });
    this.render();
  }

  // Showing

  /** @param {string} selector */
  select(selector) {
    if (selector === this.selected) return;
    this.selected = selector;
    this.render();
  }

  /** Many blocks stand in several rows: the node grows by what they need, once its panel is on the page. */
  makeRoom() {
    const { root, bars } = this.view;
    if (this.roomy || this.unfolded || !this.board || bars.clientHeight === 0) return;
    this.roomy = true;
    const hidden = hiddenPixels(root);
    this.host.contentChanged(hidden, hidden > 1);
  }

  unfold() {
    this.unfolded = !this.unfolded;
    this.render();
    const { root, parts } = this.view;
    this.host.contentChanged(this.unfolded ? parts.scrollHeight + hiddenPixels(root) : 0, this.unfolded);
    this.roomy = false;
  }

  /** Puts the cursor into the number field, with what was typed so far. @param {string} selector @param {string} typed */
  type(selector, typed) {
    this.settle();
    if (this.view.sliders.has(selector)) this.select(selector);
    typeInto(this.root, selector, typed);
  }

  /** @param {string | null} selector */
  point(selector) {
    if (selector === this.pointed) return;
    this.pointed = selector;
    this.renderFoot();
  }

  render() {
    const { view, board } = this;
    const language = this.host.language();
    const linked = isLinked(this.node, TEXT_WIDGET);
    view.empty.textContent = board ? "" : emptyText(this.node, this.busy, this.fileProblem, language);
    view.root.classList.toggle("patchbay-is-empty", !board);
    if (!board) return;
    const { stateOf, problems } = this.states(board);
    const targets = targetsOf(board, language.t("editor.all"));
    const states = [...targets.keys()].map(stateOf);
    this.axis = axisFor(states, this.gesture?.axis);
    const target = targets.get(this.selected) ?? rangeTarget(this.selected) ?? { selector: "all", name: language.t("editor.all"), mark: "" };
    const shown = { follows: this.follows, setting: this.memory.other === null ? "" : this.memory.letter, selected: this.selected, unfolded: this.unfolded, axis: this.axis, locked: linked, stateOf };
    renderEditor(view, shown, target, partsOf(board, target.selector), board, this.actions(), language);
    // What a file does not name, the model may have all the same.
    const counting = problems.filter(({ kind }) => kind !== "namesNothing" || this.source !== "lora");
    view.problem.textContent = this.said || problemText(this.node, TEXT_WIDGET, counting, linked, language);
    this.renderFoot();
  }

  renderFoot() {
    const { view, board } = this;
    const language = this.host.language();
    if (!board) return;
    const slider = view.sliders.get(this.pointed ?? "");
    if (slider) {
      const state = this.states(board).stateOf(slider.target.selector);
      view.foot.textContent = `${slider.target.name}: ${valueText(state, slider.energy, language)}`;
      return;
    }
    const words = footWords(this.node, this.source, this.busy, board, language);
    view.foot.textContent = words.slice(0, hasBase(this.node) ? 1 : undefined).join(" · ");
    view.foot.title = [...words, language.t("editor.hint")].join("\n");
  }
}
