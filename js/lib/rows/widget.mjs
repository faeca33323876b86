// The rows of LoRAs as a part of a node. The node's text is the truth: this shows it and writes it.

import { canvasMayHaveChanged, onCanvasChange, watchValue } from "../comfyui/canvas_watch.mjs";
import { changeBegins, changeEnds, writeWidget } from "../comfyui/editor.mjs";
import { knownModel } from "../comfyui/known_models.mjs";
import { isLinked, widgetText } from "../comfyui/links.mjs";
import { setHidden } from "../comfyui/node_panels.mjs";
import { earlierLine } from "../comfyui/panel_host.mjs";
import { parseTyped } from "../editor/text.mjs";
import { openPicker } from "../picker/picker.mjs";
import { asReport } from "../report/widget.mjs";
import { setAttributes } from "../ui/dom.mjs";
import { openMenu } from "../ui/menu.mjs";
import { isOutOfSight } from "../ui/out_of_sight.mjs";
import { takeWheel } from "../ui/wheel.mjs";
import { reportWords } from "../words/report_words.mjs";
import { askFacts, askVerdict } from "./facts.mjs";
import { listenToRows } from "./hand.mjs";
import { pickerSource, verdictText } from "./sources.mjs";
import { changed, formatRows, moved, newRow, parseRows, rowsOfTags, soloed } from "./model.mjs";
import { barsOf, editorPart, reportPart } from "./parts.mjs";
import { loadNotes } from "./note_store.mjs";
import { noteOf, withinRange } from "./notes.mjs";
import { nodeMenu, rowMenu } from "./row_menu.mjs";
import { LINE_PIXELS, rowElements } from "./view.mjs";

/**
 * @typedef {import("../comfyui/node_panels.mjs").Panel} Panel
 * @typedef {import("../comfyui/node_panels.mjs").PanelHost} PanelHost
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("./model.mjs").Row} Row
 */

export const ROWS_WIDGET = "rows";
/** Shown once one of them is another, or on demand. @type {Record<string, string>} */
const OPTIONS = { method: "auto", as_stock: "false" };
/** Border, padding, and the margin on the classic canvas. */
const FRAME_PIXELS = 12;
const SAID_MILLISECONDS = 2500;
const STEPS = /** @type {Record<string, number>} */ ({ ArrowUp: 0.05, ArrowDown: -0.05, PageUp: 0.5, PageDown: -0.5 });

/** @param {PanelHost} host @returns {Panel} */
export const createRowsPanel = (host) => new RowsPanel(host).panel();

class RowsPanel {
  /** @param {PanelHost} host */
  constructor(host) {
    this.host = host;
    this.node = /** @type {EditorNode} */ (host.node);
    this.root = host.root;
    /** @type {Row[]} */
    this.rows = [];
    this.problem = "";
    this.shown = "";
    this.said = "";
    /** @type {boolean[] | null} */
    this.beforeSolo = null;
    /** @type {import("../../types/app").NodeOutput | null} */
    this.output = null;
    /** @type {import("./parts.mjs").OpenPart | null} */
    this.part = null;
    this.edited = -1;
    this.options = false;
    /** @type {Map<string, import("./view.mjs").RowLook["bars"]>} */
    this.bars = new Map();
    /** @type {number[] | null} strengths at the start of a drag */
    this.scrubbed = null;
    setAttributes(this.root, { class: "patchbay-panel patchbay-rows", role: "region", tabindex: -1, "data-capture-wheel": "true" });
    this.listen();
    takeWheel(this.root, () => this.root, host.forwardWheel);
    watchValue(this.node.widgets?.find(({ name }) => name === ROWS_WIDGET));
    this.unwatch = onCanvasChange(() => this.look());
    this.look(true);
    void loadNotes().then(() => this.render());
  }

  /** @returns {Panel} */
  panel() {
    return {
      show: (output) => {
        if (!asReport(first(output.patchbay_report))) return;
        this.output = output;
        if (this.edited < 0) this.part?.panel.show(output);
        this.look(true);
      },
      languageChanged: () => {
        this.part?.panel.languageChanged();
        this.look(true);
      },
      dispose: () => {
        this.unwatch();
        this.part?.panel.dispose();
      },
    };
  }

  get language() {
    return this.host.language();
  }

  get model() {
    return knownModel(this.node);
  }

  // Reading

  /** @param {boolean} [now] */
  look(now = false) {
    if (!now && (document.hidden || !this.root.isConnected || isOutOfSight(this.root))) return;
    const text = widgetText(this.node, ROWS_WIDGET) ?? "";
    const state = JSON.stringify([text, this.model, this.earlier(), this.said, this.hasOptions()]);
    if (!now && state === this.shown) return;
    this.shown = state;
    this.showOptions();
    ({ rows: this.rows, problem: this.problem } = parseRows(text));
    if (this.edited >= this.rows.length) this.closePart();
    this.render();
    void this.learn();
  }

  hasOptions() {
    return Object.entries(OPTIONS).some(([name, usual]) => isLinked(this.node, name) || widgetText(this.node, name) !== usual);
  }

  /** @param {boolean} [wanted] */
  showOptions(wanted = this.options) {
    this.options = wanted;
    const { node } = this.host;
    const before = node.computeSize()[1] ?? 0;
    for (const name of Object.keys(OPTIONS)) setHidden(node, name, !(wanted || this.hasOptions()));
    const after = node.computeSize()[1] ?? 0;
    const [width = 0, height = 0] = Array.from(node.size);
    if (after !== before) node.setSize([width, Math.max(after, height + (after < before ? after - before : 0))]);
  }

  earlier() {
    return this.output ? earlierLine(this.host.node, this.output) : "";
  }

  /** Asks for what is not known of the rows yet. */
  async learn() {
    const { model } = this;
    const asked = this.rows.filter(({ lora }) => lora).flatMap(({ lora, blocks }) => [askVerdict(lora, model), askFacts(lora), this.learnBars(lora, blocks)]);
    const before = this.looksText();
    await Promise.all(asked);
    if (this.looksText() !== before) this.render();
  }

  /** @param {string} lora @param {string} blocks */
  async learnBars(lora, blocks) {
    const key = `${lora}\n${blocks}`;
    if (!this.bars.has(key)) this.bars.set(key, await barsOf(lora, blocks, this.language.t));
  }

  looksText() {
    return JSON.stringify(this.looks());
  }

  looks() {
    const { t, locale } = this.language;
    const results = /** @type {{rows?: {row: number, lora: string, summary: string}[]} | undefined} */ (first(this.output?.patchbay_rows))?.rows ?? [];
    return this.rows.map(({ lora, blocks }, at) => {
      const { level, verdict, words } = verdictText(lora, this.model, this.language);
      const ran = results.find((result) => result.row === at && result.lora === lora);
      const last = ran && `${t("rows.report")}: ${reportWords(ran.summary, locale)}`;
      return { level, verdict: [verdict, last].filter(Boolean).join("\n"), words: words.join(", "), bars: this.bars.get(`${lora}\n${blocks}`) ?? [] };
    });
  }

  // Writing

  /** @param {Row[]} rows */
  write(rows) {
    this.rows = rows;
    writeWidget(this.node, ROWS_WIDGET, formatRows(rows));
    this.look(true);
    canvasMayHaveChanged();
  }

  /** One step of undo. @param {Row[]} rows */
  writeOnce(rows) {
    changeBegins();
    this.write(rows);
    changeEnds();
  }

  /** @param {string} text @returns {boolean} whether it had tags */
  takeTags(text) {
    const rows = rowsOfTags(text);
    if (rows.length > 0) this.writeOnce([...this.rows, ...rows]);
    return rows.length > 0;
  }

  /** @param {string} text */
  say(text) {
    this.said = text;
    this.render();
    setTimeout(() => {
      if (this.said !== text) return;
      this.said = "";
      this.render();
    }, SAID_MILLISECONDS);
  }

  // Hands

  listen() {
    const { root } = this;
    root.addEventListener("click", (event) => this.onClick(event));
    root.addEventListener("change", (event) => this.onChange(event));
    root.addEventListener("keydown", (event) => this.onKey(event));
    root.addEventListener("paste", (event) => {
      if (!this.takeTags(event.clipboardData?.getData("text/plain") ?? "")) return;
      event.preventDefault();
      event.stopPropagation();
    });
    listenToRows(root, {
      moved: (from, to) => this.move(from, to),
      scrubBegins: () => {
        changeBegins();
        this.scrubbed = null;
      },
      scrubbed: (at, field, by) => {
        this.scrubbed ??= this.rows.map((row) => (field === "clip" ? row.clip ?? row.strength : row.strength));
        this.write(changed(this.rows, at, { [field]: this.pulled(at, field, (this.scrubbed[at] ?? 1) + by) }));
      },
      scrubEnds: () => changeEnds(),
    });
  }

  /** What a hand makes of a strength: within the user's own range for this LoRA. @param {number} at @param {string} field @param {number} value */
  pulled(at, field, value) {
    return rounded(field === "strength" ? withinRange(rounded(value), noteOf(this.rows[at]?.lora ?? "")) : value);
  }

  /** @param {number} from @param {number} to */
  move(from, to) {
    const row = this.rows[from];
    if (!row || to < 0 || to >= this.rows.length) return;
    const edited = this.rows[this.edited];
    const rows = moved(this.rows, from, to);
    this.edited = edited ? rows.indexOf(edited) : -1;
    this.writeOnce(rows);
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const button = event.target instanceof Element ? /** @type {HTMLElement | null} */ (event.target.closest("button[data-act]")) : null;
    if (!button || this.part?.root.contains(button)) return this.onBox(event);
    const at = Number(button.closest("[data-row]")?.getAttribute("data-row") ?? -1);
    const act = button.getAttribute("data-act");
    if (act === "add") this.pick(button, (lora) => this.writeOnce([...this.rows, newRow(lora)]));
    else if (act === "name") this.pick(button, (lora) => this.writeOnce(changed(this.rows, at, { lora })));
    else if (act === "report") this.togglePart(-1);
    else if (act === "blocks") this.togglePart(at);
    else if (act === "options") openMenu(button, nodeMenu(this), this.language.locale);
    else if (act === "menu") openMenu(button, rowMenu(this, at), this.language.locale);
  }

  /** @param {MouseEvent} event */
  onBox(event) {
    const box = event.target instanceof HTMLInputElement && event.target.type === "checkbox" ? event.target : null;
    const act = box?.getAttribute("data-act");
    if (!box || !act) return;
    const at = Number(box.closest("[data-row]")?.getAttribute("data-row") ?? -1);
    if (act === "all") return this.writeOnce(this.rows.map((row) => ({ ...row, on: box.checked })));
    if (!event.altKey) return this.writeOnce(changed(this.rows, at, { on: box.checked }));
    const before = this.rows.map(({ on }) => on);
    const rows = soloed(this.rows, at, this.beforeSolo);
    this.beforeSolo = before;
    this.writeOnce(rows);
  }

  /** @param {Event} event */
  onChange(event) {
    const input = event.target instanceof HTMLInputElement ? event.target : null;
    const field = input?.getAttribute("data-act");
    if (!input || (field !== "strength" && field !== "clip")) return;
    const value = parseTyped(input.value);
    if (value === null) return this.render();
    this.writeOnce(changed(this.rows, rowOf(input), { [field]: Math.max(-100, Math.min(100, value)) }));
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const target = event.target instanceof HTMLElement ? event.target : null;
    const act = target?.getAttribute("data-act");
    if (!target || !act || this.part?.root.contains(target)) return;
    const at = rowOf(target);
    const step = STEPS[event.key];
    if (act === "handle" && event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      const to = at + (event.key === "ArrowUp" ? -1 : 1);
      this.move(at, to);
      this.focus(to, "handle");
    } else if ((act === "strength" || act === "clip") && step !== undefined) {
      const row = this.rows[at];
      if (row) this.writeOnce(changed(this.rows, at, { [act]: this.pulled(at, act, (act === "clip" ? row.clip ?? row.strength : row.strength) + (event.altKey ? step / 5 : step)) }));
      this.focus(at, act);
    } else if (event.key === "Enter" && target instanceof HTMLInputElement && target.type === "text") target.blur();
    else return void (target instanceof HTMLInputElement && target.type === "text" && event.stopPropagation());
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} at @param {string} act */
  focus(at, act) {
    /** @type {HTMLElement | null} */ (this.root.querySelector(`${at < 0 ? ".patchbay-rows-head" : `[data-row="${at}"]`} [data-act="${act}"]`))?.focus({ preventScroll: true });
  }

  /** @param {HTMLElement} button @param {(lora: string) => void} choose */
  pick(button, choose) {
    openPicker(button, pickerSource(this.model, (text) => this.takeTags(text), this.language), this.language, choose);
  }

  // What opens below

  /** The report of the last run at -1, else the bars of a row. @param {number} at */
  togglePart(at) {
    const open = this.part !== null && this.edited === at;
    this.closePart();
    if (!open) {
      if (at < 0 && !this.output) return this.say(this.language.t("rows.noReport"));
      this.edited = at;
      this.part = at < 0 ? reportPart(this.host) : editorPart(this.host, () => this.rows[this.edited], (blocks) => this.write(changed(this.rows, this.edited, { blocks })));
      this.root.append(this.part.root);
      if (this.output && at < 0) this.part.panel.show(this.output);
      this.host.contentChanged(this.part.pixels + 4, true);
    }
    this.render();
  }

  closePart() {
    if (!this.part) return;
    this.part.panel.dispose();
    this.part.root.remove();
    this.part = null;
    this.edited = -1;
    this.host.contentChanged(0, false);
  }

  // Showing

  render() {
    const { t, locale } = this.language;
    const report = asReport(first(this.output?.patchbay_report));
    const earlier = this.earlier();
    const status = this.problem ? t("rows.unreadable", { reason: this.problem }) : earlier || (report ? reportWords(report.summary, locale) : "");
    const active = this.root.contains(document.activeElement) ? document.activeElement : null;
    const focused = active && !this.part?.root.contains(active) ? { at: rowOf(active), act: active.getAttribute("data-act") ?? "" } : null;
    const statusLevel = this.problem ? "error" : report && !earlier ? report.level : "";
    const shown = { rows: this.rows, looks: this.looks(), status, statusLevel, earlier: earlier !== "", reportOpen: this.part !== null && this.edited < 0, edited: this.part ? this.edited : -2, said: this.said };
    // The part below stays in its place: what is taken out of the page loses its focus.
    for (const child of [...this.root.children]) if (child !== this.part?.root) child.remove();
    this.root.prepend(...rowElements(shown, this.language));
    this.host.setLeast(FRAME_PIXELS + LINE_PIXELS * (1 + this.rows.length));
    if (focused) this.focus(focused.at, focused.act);
  }
}

/** @param {unknown} value */
const first = (value) => (Array.isArray(value) ? value[0] : undefined);

/** @param {Element} element */
const rowOf = (element) => Number(element.closest("[data-row]")?.getAttribute("data-row") ?? -1);

/** @param {number} value */
const rounded = (value) => Math.max(-100, Math.min(100, Math.round(value * 100) / 100));
