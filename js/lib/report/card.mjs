// The report card: what one node did to one model, at a glance and in full. `state -> render(element, state)`.

import { renderBlockStrip } from "./block_strip.mjs";
import { unappliedByReason } from "./blocks.mjs";
import { foreignText, h } from "../ui/dom.mjs";
import { factList, renderFacts } from "./file_facts.mjs";
import { renderFound } from "./found.mjs";
import { formatCount, formatNumber, formatShare, plainText } from "../ui/format.mjs";
import { stateName } from "../words/i18n.mjs";
import { actionIcon, levelIcon, stateIcon } from "../ui/icons.mjs";
import { renderLayerTable } from "./layer_table.mjs";
import { reportWords } from "../words/report_words.mjs";
import { renderRanks } from "./rank_curves.mjs";
import { renderCompared } from "./two_files.mjs";
import { renderUnapplied } from "./unapplied.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} CardState
 * @property {Report | null} report
 * @property {string} text the report for people, as the node wrote it
 * @property {Language} language
 * @property {Set<string>} open names of the unfolded parts
 * @property {import("./rank_curves.mjs").Saving | null} [saving] a smaller file that was asked for
 *
 * @typedef {object} CardActions
 * @property {(what: "text" | "json") => void} copy
 * @property {(name: string, open: boolean, element: HTMLElement) => void} fold
 * @property {(energy: number) => void} [saveSmaller] writes a smaller copy of the inspected LoRA
 */

/** Newest version of the report that this page can read. */
export const KNOWN_VERSION = 1;

/**
 * @param {HTMLElement} element
 * @param {CardState} state
 * @param {CardActions} actions
 */
export function renderReportCard(element, state, actions) {
  const { report, language } = state;
  const { t } = language;
  element.lang = language.locale;
  element.setAttribute("role", "region");
  element.setAttribute("aria-label", t("card.label"));
  if (!report) {
    element.replaceChildren(h("p", { class: "patchbay-empty" }, t("card.empty")));
    return;
  }
  if (report.version > KNOWN_VERSION) {
    const text = t("card.newer", { version: report.version, known: KNOWN_VERSION });
    element.replaceChildren(h("p", { class: "patchbay-empty" }, text));
    return;
  }
  if (isHealthy(report)) {
    const title = subjectFacts(report, t, language.locale).join(" · ");
    const rest = () => h("div", { class: "patchbay-card-rest" }, ...details(report, state, actions));
    element.replaceChildren(header(report, state, actions), fold("details", title, rest, state, actions));
    return;
  }
  const summary = h("p", { class: "patchbay-summary" }, foreignText(plainText(reportWords(report.summary, language.locale), 600)));
  element.replaceChildren(header(report, state, actions), summary, ...details(report, state, actions));
}

/** Kinds whose report has one sentence that matters, as long as nothing is wrong. */
const BRIEF = new Set(["apply", "schedule", "save", "patches", "check"]);

/** Whether one line says all that somebody has to know. @param {Report} report */
export const isHealthy = (report) => report.level === "ok" && BRIEF.has(report.kind) && !report.doubts?.length;

/** The inspected LoRA as ComfyUI lists it; empty where that is not known. @param {Report} report */
export function fileOf({ inputs }) {
  const name = inputs?.nodes[inputs.node]?.inputs["source.lora_name"];
  return typeof name === "string" ? name : "";
}

/** What there is below the sentence. @param {Report} report @param {CardState} state @param {CardActions} actions */
function details(report, state, actions) {
  const { language } = state;
  return [
    doubtList(report, language) ?? "",
    counts(report, language),
    coverage(report, language) ?? "",
    renderFacts(report, language) ?? "",
    renderFound(report, language) ?? "",
    renderCompared(report, language) ?? "",
    renderBlockStrip(report, language) ?? "",
    renderRanks(report, language, state.saving ?? null, fileOf(report) ? actions.saveSmaller ?? null : null) ?? "",
    notes(report, state, actions) ?? "",
    metadata(report, state, actions) ?? "",
    unapplied(report, state, actions) ?? "",
    allLayers(report, state, actions) ?? "",
  ];
}

/** @param {Report} report @param {CardState} state @param {CardActions} actions */
function header(report, state, actions) {
  const { t, locale } = state.language;
  const level = ["ok", "warning", "error"].includes(report.level) ? report.level : "warning";
  const facts = subjectFacts(report, t, locale);
  return h(
    "div",
    { class: "patchbay-header" },
    h("span", { class: `patchbay-level patchbay-level-${level}` }, levelIcon(level), t(`level.${level}`)),
    isHealthy(report) ? sentence(report, locale) : h("span", { class: "patchbay-subject", title: facts.join(" · ") }, ...facts.flatMap(separated)),
    copyButtons(state, actions),
  );
}

/** The answer beside the level: the whole of it where the line is too short. @param {Report} report @param {string} locale */
function sentence(report, locale) {
  const text = plainText(reportWords(report.summary, locale), 600);
  return h("span", { class: "patchbay-summary patchbay-summary-line", title: text }, foreignText(text));
}

/** @param {string} fact @param {number} at */
const separated = (fact, at) => (at > 0 ? [" · ", foreignText(fact)] : [foreignText(fact)]);

/**
 * What the report is about: the file, its rank, the model, the strengths.
 * @param {Report} report
 * @param {Language["t"]} t
 * @param {string} locale
 */
export function subjectFacts(report, t, locale) {
  const { lora, model } = report;
  const ranks = lora?.ranks ?? [];
  const rank = ranks.length > 2 ? `${Math.min(...ranks)}–${Math.max(...ranks)}` : ranks.join(", ");
  const strength = formatNumber(report.strength_model, locale);
  const clip = formatNumber(report.strength_clip, locale);
  return [
    lora ? plainText(lora.name, 120).replace(/\.safetensors$/, "") : plainText(reportWords(report.title, locale), 120),
    rank && t("card.rank", { rank }),
    plainText(reportWords(model?.architecture || lora?.architecture, locale), 80),
    report.strength_model !== null && report.strength_clip !== null && t("card.strengthsBoth", { model: strength, clip }),
    report.strength_model !== null && report.strength_clip === null && t("card.strengths", { model: strength }),
  ].filter((fact) => typeof fact === "string" && fact !== "").map(String);
}

/** Why a file that fits may not do what its maker meant. @param {{doubts?: Report["doubts"]}} report @param {Language} language */
export function doubtList({ doubts }, { locale }) {
  if (!doubts?.length) return null;
  return h("ul", { class: "patchbay-doubts" }, ...doubts.slice(0, 20).map(({ sentence }) => h("li", {}, levelIcon("warning"), foreignText(plainText(reportWords(sentence, locale), 600)))));
}

/** A check applies nothing: there, layers only have a place. @param {{counts: Report["counts"], kind?: string}} report a check of files has no kind @param {Language} language */
export function counts({ counts: found, kind = "check" }, { t, locale }) {
  const name = (/** @type {string} */ state) => (state === "applied" && kind === "check" ? t("state.lands") : stateName(state, t));
  const items = Object.entries(found ?? {}).map(([state, n]) => h("li", {}, stateIcon(state), h("strong", {}, formatCount(n, locale)), ` ${name(state)}`));
  return h("ul", { class: "patchbay-counts" }, ...items);
}

/**
 * How much of the file has a place in the model. Left out where there is nothing to place or no model.
 * @param {Report} report
 * @param {Language} language
 */
export function coverage(report, language) {
  if (!report.lora || !report.model || report.kind === "inspect" || report.layers.length === 0) return null;
  return coverageMeter(report.coverage, language);
}

/**
 * @param {number | null | undefined} value
 * @param {Language} language
 */
export function coverageMeter(value, { t, locale }) {
  const known = value !== null && value !== undefined;
  const share = known ? Math.min(1, Math.max(0, Number(value))) : 0;
  const text = known ? formatShare(share, locale) : t("card.coverage.unknown");
  const meter = h(
    "span",
    {
      class: `patchbay-bar${known ? "" : " patchbay-bar-unknown"}`,
      role: "meter",
      "aria-label": t("card.coverage"),
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": known ? Math.floor(share * 1000) / 10 : null,
      "aria-valuetext": text,
    },
    h("span", { class: "patchbay-bar-fill", style: { width: `${share * 100}%` } }),
  );
  return h(
    "div",
    { class: "patchbay-coverage", title: t("card.coverage.hint") },
    h("span", { class: "patchbay-label" }, t("card.coverage")),
    meter,
    h("span", { class: known ? "patchbay-value" : "patchbay-label" }, text),
  );
}

/** @param {Report} report @param {CardState} state @param {CardActions} actions */
function notes(report, state, actions) {
  if (!report.notes?.length) return null;
  const items = () =>
    h("ul", { class: "patchbay-notes" }, ...report.notes.slice(0, 50).map((note) => h("li", {}, foreignText(plainText(reportWords(note, state.language.locale), 600)))));
  return fold("notes", `${state.language.t("card.notes")} (${report.notes.length})`, items, state, actions);
}

/** @param {Report} report @param {CardState} state @param {CardActions} actions */
function metadata(report, state, actions) {
  const fields = Object.entries(report.lora?.metadata ?? {});
  if (report.kind !== "inspect" || fields.length === 0) return null;
  const title = state.language.t("card.metadata", { n: formatCount(fields.length, state.language.locale) });
  return fold("metadata", title, () => factList(fields.slice(0, 200)), state, actions);
}

/** @param {Report} report @param {CardState} state @param {CardActions} actions */
function unapplied(report, state, actions) {
  const groups = unappliedByReason(report.layers);
  const n = groups.reduce((sum, group) => sum + group.count, 0);
  if (n === 0) return null;
  const title = state.language.t("card.missing", { n: formatCount(n, state.language.locale) });
  return fold("unapplied", title, () => renderUnapplied(groups, state.language), state, actions);
}

/** @param {Report} report @param {CardState} state @param {CardActions} actions */
function allLayers(report, state, actions) {
  if (report.layers.length === 0) return null;
  const { t, locale } = state.language;
  // A layer of the file may land in several places, or in one with parts of different strengths: each has a row.
  const named = new Set(report.layers.map((layer, at) => layer.lora_key || at)).size;
  const [n, places] = [formatCount(named, locale), formatCount(report.layers.length, locale)];
  const title = named > 0 && named < report.layers.length ? t("card.layersPlaces", { n, places }) : t("card.layers", { n: places });
  return fold("layers", title, () => renderLayerTable(report.layers, state.language), state, actions);
}

/**
 * A part that opens, filled when it is opened for the first time.
 * @param {string} name
 * @param {string} title
 * @param {() => HTMLElement} content
 * @param {CardState} state
 * @param {CardActions} actions
 */
function fold(name, title, content, state, actions) {
  const body = h("div", { class: "patchbay-fold-body" });
  const element = h("details", { class: `patchbay-fold patchbay-fold-${name}` }, h("summary", {}, title), body);
  if (state.open.has(name)) {
    element.setAttribute("open", "");
    body.append(content());
  }
  element.addEventListener("toggle", () => {
    if (element.open && !body.firstChild) body.append(content());
    actions.fold(name, element.open, element);
  });
  return element;
}

/** @param {CardState} state @param {CardActions} actions */
function copyButtons({ language: { t }, text }, actions) {
  /** @param {"text" | "json"} what @param {string} hint */
  const button = (what, hint) =>
    h("button", { type: "button", class: "patchbay-button patchbay-icon-button", title: hint, "aria-label": hint, on: { click: () => actions.copy(what) } }, actionIcon(what));
  return h(
    "span",
    { class: "patchbay-copy" },
    h("span", { class: "patchbay-said", role: "status" }),
    text && button("text", t("card.copyText")),
    button("json", t("card.copyJson")),
  );
}
