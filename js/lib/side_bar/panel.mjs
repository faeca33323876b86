// The side bar's state: which report it shows and how. One for the page; it is drawn while its tab is open.

import { alike } from "../ui/alike.mjs";
import { h } from "../ui/dom.mjs";
import { lacksSpectral, listedName, withSpectral } from "./file_norms.mjs";
import { openHelp } from "../comfyui/help_dialog.mjs";
import { ask, outputKey, setting } from "../comfyui/app.mjs";
import { onCanvasChange } from "../comfyui/canvas_watch.mjs";
import { language } from "../comfyui/page_language.mjs";
import { differenceMap } from "../map/diff.mjs";
import { exportName, layersCsv, layersTable, reportJson } from "../map/export.mjs";
import { availableMetrics, METRICS, viewOf } from "../map/figures.mjs";
import { buildMap } from "../map/model.mjs";
import { mapSvg, PALETTES } from "../map/svg.mjs";
import { createTip } from "../map/tip.mjs";
import { goToNode, idleNodes, keyOfExecution, loraNames, pageTheme, pastRuns, reportOf, reportSources, selectedNode, toast, willReport } from "./host.mjs";
import { atMost, renderProgress } from "./progress.mjs";
import { chooseSource, comparable, withRun } from "./sources.mjs";
import { renderPanel, sidesOf, sourceTitle } from "./view.mjs";
import { askSizes, knownSizes } from "../report/sizes.mjs";
import { asReport } from "../report/widget.mjs";
import { reportWords } from "../words/report_words.mjs";
import { copyText, saveBlob, saveText, toPng } from "../ui/save_file.mjs";

/**
 * @typedef {import("./sources.mjs").Source} Source
 * @typedef {import("./sources.mjs").Run} Run
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../../types/map").MapView} MapView
 * @typedef {import("../../types/map").MetricId} MetricId
 * @typedef {import("../../types/map").LoadedAnswer} LoadedAnswer
 */

const LIVE_SETTING = "LoraPatchbay.Panel.LiveProgress";

const wish = { chosen: /** @type {string | null} */ (null), follow: true, selected: /** @type {string | null} */ (null), newest: /** @type {string | null} */ (null) };
const look = {
  view: /** @type {MapView} */ ("applied"),
  metric: /** @type {MetricId} */ ("relative"),
  compare: "",
  owner: /** @type {string | null} */ (null),
  block: /** @type {string | null} */ (null),
  open: new Set(["missing"]),
};

/** Files that were opened from a LoRA card. @type {Map<string, Source>} */
const files = new Map();
/** Results by node, for comparing. @type {Map<string, Run[]>} */
const runs = new Map();
/** The last result of each node: the frontend forgets its own when it draws the same workflow anew. @type {Map<string, import("../../types/app").NodeOutput>} */
const earlier = new Map();

let workflow = "";
/** Nodes that were bypassed or muted when it was last looked or drawn. */
let idle = "";
/** Whether some node of the workflow will report on a model. */
let waiting = false;
/** What was said of the inputs when it was last drawn. */
let earlierShown = "";
/** @type {LoadedAnswer | null} */
let loaded = null;
/** Reports of LoRA files by name, for what runs do not measure; nothing while a file is read or cannot be. @type {Map<string, Report | null>} */
const measuredFiles = new Map();
/** @type {import("./progress.mjs").Progress | null} */
let progress = null;
/** What is on the page now. @type {{root: HTMLElement, body: HTMLElement, bar: HTMLElement, tip: ReturnType<typeof createTip>, unwatch: () => void} | null} */
let drawn = null;
let drawnAs = "";
/** @type {{report: Report, number: number} | null} */
let numbered = null;

/** A run tells of itself a hundred times a second: settings are asked only where something is drawn. */
const wantedProgress = () => (setting(LIVE_SETTING) === false ? null : progress);

const redraw = atMost(() => draw());
const redrawProgress = atMost(() => {
  if (drawn) renderProgress(drawn.bar, wantedProgress(), language());
});

/** Draws the side bar into an element that ComfyUI gives; it may give the same one again. @param {HTMLElement} element */
export function mountPanel(element) {
  if (drawn && element.contains(drawn.root)) return;
  unmountPanel();
  const bar = h("div", { class: "patchbay-progress", hidden: true });
  const body = h("div", { class: "patchbay-side-body" });
  const tip = createTip();
  const root = h("div", { class: "patchbay-side", role: "region", "aria-label": "Patchbay" }, bar, body, tip.root);
  body.addEventListener("scroll", () => tip.tell(null, null), { passive: true });
  element.replaceChildren(root);
  element.style.setProperty("height", "100%");
  drawn = { root, body, bar, tip, unwatch: onCanvasChange(followSelection) };
  drawnAs = "";
  wish.selected = selectedKey();
  draw();
  renderProgress(bar, wantedProgress(), language());
  learnPastRuns();
}

export function unmountPanel() {
  if (!drawn) return;
  drawn.unwatch();
  drawn.root.remove();
  drawn = null;
}

/** Something changed that the side bar may show. */
export const refreshPanel = redraw;

/**
 * The graph was made anew: by an undo, or because another workflow is open, where results of the last one mean nothing.
 * @param {string} id of the workflow
 */
export function workflowChanged(id) {
  if (id === workflow) return redraw();
  workflow = id;
  runs.clear();
  earlier.clear();
  files.clear();
  Object.assign(look, { compare: "", owner: null, block: null });
  Object.assign(wish, { chosen: null, newest: null });
  redraw();
  if (drawn) learnPastRuns();
}

/**
 * A node finished.
 * @param {string} executionId
 * @param {import("../../types/app").NodeOutput} output
 * @param {boolean} cached it did not run, and sends an earlier result again
 */
export function nodeFinished(executionId, output, cached) {
  const key = keyOfExecution(executionId);
  const found = reportOf(output);
  if (!key || !found) return;
  const last = reportOf(earlier.get(key));
  earlier.set(key, output);
  remember(key, { ...found, at: Date.now() });
  // Cached results come in any order: none of them is newer than the others.
  if (!cached && (!last || !alike(last.report, found.report))) wish.newest = key;
  // Not before the frontend has kept the result: it may hear of it after us.
  setTimeout(redraw, 0);
}

/** @param {import("./progress.mjs").Progress | null} now */
export function setProgress(now) {
  progress = now;
  if (drawn) redrawProgress();
}

/** A run moved weights to the device and off it, and files may have changed before it. */
export function runEnded() {
  setProgress(null);
  measuredFiles.clear();
  if (drawn && look.view === "resident") void learnResidency();
}

/** Shows the report of a node. @param {string} key */
export function showNode(key) {
  Object.assign(wish, { chosen: key, follow: false });
  redraw();
}

/** Shows the report of a file that no node of the workflow has made. @param {Source} source */
export function showFile(source) {
  files.set(source.key, source);
  showNode(source.key);
}

/** The report that is shown, for commands. */
export const shownReport = () => chooseSource(sources(), wish);

/** With the sizes that a node left out, as far as they were asked for. */
const sources = () => [...reportSources(earlier).map((source) => ({ ...source, ...(knownSizes(source.report) ?? {}) })), ...files.values()];

/** @param {Report} report */
async function learnSizes(report) {
  if (await askSizes(report, ask)) redraw();
}

function selectedKey() {
  const node = selectedNode();
  return node ? outputKey(node) ?? null : null;
}

/** What is selected, what is bypassed, and whether the report is that of the canvas. */
function followSelection() {
  const [selected, now, before] = [selectedKey(), idleNodes(), waiting];
  waiting = willReport();
  const shown = shownReport();
  const changed = (selected !== wish.selected && wish.follow && selected !== null) || now !== idle || (shown?.earlier ?? "") !== earlierShown || waiting !== before;
  wish.selected = selected;
  idle = now;
  if (changed) redraw();
}

/** @param {string} key @param {Run} run */
function remember(key, run) {
  runs.set(key, withRun(runs.get(key) ?? [], run));
}

/** After a reload the page knows nothing of earlier runs; the server does. */
async function learnPastRuns() {
  const past = await pastRuns().catch(() => []);
  for (const { at, outputs } of past) {
    for (const [id, output] of Object.entries(outputs)) {
      const key = keyOfExecution(id);
      const found = reportOf(output);
      if (!key || !found) continue;
      earlier.set(key, output);
      remember(key, { ...found, at });
    }
  }
  redraw();
}

async function learnResidency() {
  loaded = await ask("/patchbay/loaded").catch(() => ({ models: [] }));
  redraw();
}

/** @param {string} name of a LoRA */
async function learnFile(name) {
  measuredFiles.set(name, null);
  const listed = listedName(name, await loraNames().catch(() => []));
  const answer = listed && (await ask(`/patchbay/lora?name=${encodeURIComponent(listed)}&measure=1`).catch(() => null));
  measuredFiles.set(name, asReport(answer?.report));
  redraw();
}

/** With what its LoRA's file tells, once it is known. @param {Report} report */
function completeReport(report) {
  const file = lacksSpectral(report) ? measuredFiles.get(report.lora?.name ?? "") : null;
  return file ? withSpectral(report, file) : report;
}

/** @param {Report} report @param {import("../measure/block_figures.mjs").BlockExtras} extras */
function metricsOf(report, extras) {
  const found = availableMetrics(report, extras);
  return METRICS.map(({ id }) => id).filter((id) => found.includes(id) || (id === "spectral" && lacksSpectral(report)));
}

/** @param {Report} report */
function loadedModel(report) {
  const { model } = report;
  return loaded?.models.find((each) => each.model_class === model?.model_class && each.weight_count === model.weight_count) ?? null;
}

function currentState() {
  const all = sources();
  const shown = chooseSource(all, wish);
  if (!shown) return { state: { ...emptyState(all), waiting }, signature: `empty ${language().locale} ${waiting}` };
  const { report } = shown;
  if (report.sizes && knownSizes(report) === undefined) void learnSizes(report);
  // What was selected last stays when nothing is selected any more.
  if (wish.follow && shown.key === wish.selected) wish.chosen = shown.key;
  if (!runs.has(shown.key) && !files.has(shown.key)) remember(shown.key, { report, text: shown.text, at: Date.now() });
  const extras = Object.assign({}, ...all.map((source) => source.extras ?? {}), shown.extras ?? {});
  const metrics = metricsOf(report, extras);
  const view = viewOf(report, look.view);
  const metric = metrics.includes(look.metric) ? look.metric : metrics[0] ?? "relative";
  const name = report.lora?.name ?? "";
  if (metric === "spectral" && lacksSpectral(report) && !measuredFiles.has(name)) void learnFile(name);
  const others = comparable(shown, all, runs.get(shown.key) ?? []);
  const other = others.find(({ id }) => id === look.compare) ?? null;
  const owner = report.layers.some((layer) => layer.owner === look.owner) ? look.owner : null;
  const options = { view, metric, extras };
  const inView = (/** @type {Report} */ of) => (view === "resident" ? loadedModel(of) : null);
  const draft = (/** @type {Report} */ of, /** @type {string | null} */ by) => buildMap(metric === "spectral" ? completeReport(of) : of, { ...options, owner: by, loaded: inView(of) });
  const wholeMap = draft(report, null);
  const map = owner === null ? wholeMap : draft(report, owner);
  const second = other ? draft(other.report, null) : null;
  const drawable = report.layers.length > 0 || metrics.length > 0;
  /** @type {import("./view.mjs").PanelState} */
  const state = {
    language: language(), shown, sources: all, follow: wish.follow, view, metric, metrics, others, compare: other ? look.compare : "", owner, wholeMap,
    maps: drawable ? { map, other: second, difference: second ? differenceMap(second, map) : null } : null,
    block: look.block, open: look.open, loadedKnown: loaded !== null,
  };
  const signature = JSON.stringify([state.language.locale, shown.key, shown.idle, shown.earlier, all.map(({ key, title }) => [key, title]), wish.follow, view, metric, state.compare, others.map(({ id }) => id), owner, look.block, view === "resident" && loaded, extras, Boolean(measuredFiles.get(name))]);
  return { state, signature: `${signature} ${numberOf(report)}` };
}

/** Another number for what says something else than what was numbered last. @param {Report} report */
function numberOf(report) {
  const number = (numbered?.number ?? 0) + (numbered && alike(numbered.report, report) ? 0 : 1);
  numbered = { report, number };
  return number;
}

/** @param {Source[]} all @returns {import("./view.mjs").PanelState} */
const emptyState = (all) => ({ language: language(), shown: null, sources: all, follow: wish.follow, view: look.view, metric: look.metric, metrics: [], others: [], compare: "", maps: null, owner: null, wholeMap: null, block: null, open: look.open, loadedKnown: false });

/** Draws again only where something changed, and keeps the focus and the place. */
function draw() {
  if (!drawn) return;
  // What is drawn is what a change is told from: a node may be bypassed and back between two looks.
  idle = idleNodes();
  waiting = willReport();
  const { state, signature } = currentState();
  if (signature === drawnAs) return;
  drawnAs = signature;
  earlierShown = state.shown?.earlier ?? "";
  const { body, tip, root } = drawn;
  root.lang = state.language.locale;
  const focused = document.activeElement instanceof HTMLElement && body.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const place = body.scrollTop;
  tip.tell(null, null);
  body.classList.toggle("patchbay-is-earlier", earlierShown !== "");
  body.replaceChildren(...renderPanel(state, actions));
  body.scrollTop = place;
  if (focused !== undefined) /** @type {HTMLElement | undefined} */ ([...body.querySelectorAll("[data-key]")].find((element) => element.getAttribute("data-key") === focused))?.focus({ preventScroll: true });
}

/** @param {Partial<typeof look>} change */
function set(change) {
  Object.assign(look, change);
  redraw();
}

/** @type {import("./view.mjs").PanelActions} */
const actions = {
  help: () => void openHelp(),
  source(key) {
    Object.assign(look, { block: null, owner: null, compare: "" });
    showNode(key);
  },
  follow() {
    wish.follow = !wish.follow;
    redraw();
  },
  goTo() {
    const shown = shownReport();
    if (shown) goToNode(shown.key);
  },
  view(view) {
    if (view === "resident") learnResidency();
    set({ view });
  },
  metric: (metric) => set({ metric }),
  compare: (compare) => set({ compare }),
  owner: (owner) => set({ owner }),
  block(block) {
    set({ block });
    if (block !== null) setTimeout(() => drawn?.body.querySelector(".patchbay-block > header")?.scrollIntoView({ block: "nearest" }), 120);
  },
  save: (what) => save(what),
  fold(name, open) {
    look.open[open ? "add" : "delete"](name);
  },
  tell: (told, at) => drawn?.tip.tell(told, at),
};

/** @param {Parameters<import("./view.mjs").PanelActions["save"]>[0]} what */
async function save(what) {
  const { state } = currentState();
  const { shown, maps, language: { t } } = state;
  if (!shown) return;
  const { report } = shown;
  const block = maps?.map.groups.flatMap((group) => group.rows).find((row) => row.address === look.block)?.layers ?? [];
  if (what === "text") return void say(await copyText(shown.text || report.summary), t);
  if (what === "block text") return void say(await copyText(layersTable(block)), t);
  if (what === "csv") saveText(exportName(report, "csv"), layersCsv(report.layers), "text/csv");
  if (what === "json") saveText(exportName(report, "json"), reportJson(shown.measurement ?? report), "application/json");
  if (what === "block") saveText(exportName(report, "csv"), layersCsv(block), "text/csv");
  if ((what !== "svg" && what !== "png") || !maps) return;
  const map = maps.difference ?? maps.map;
  const sides = maps.difference ? sidesOf(state).join(", ") : "";
  const picture = mapSvg(map, { title: sourceTitle(shown.title || report.title, report), subtitle: reportWords(report.summary, state.language.locale), sides, language: state.language, palette: PALETTES[pageTheme()] });
  if (what === "svg") saveText(exportName(report, "svg"), picture.svg, "image/svg+xml");
  else saveBlob(exportName(report, "png"), await toPng(picture));
}

/** @param {boolean} copied @param {import("../words/i18n.mjs").Language["t"]} t */
const say = (copied, t) => toast(copied ? "success" : "error", t(copied ? "card.copied" : "card.copyFailed"));
