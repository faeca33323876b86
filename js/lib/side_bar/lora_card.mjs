// The LoRA card: what a file is, whether it is made for the model at hand, which words trigger it.

import { blockColumns } from "../report/blocks.mjs";
import { foreignText, h } from "../ui/dom.mjs";
import { factList } from "../report/file_facts.mjs";
import { formatBytes, formatCount, plainText } from "../ui/format.mjs";
import { levelIcon, panelIcon } from "../ui/icons.mjs";
import { groupTitle } from "../map/words.mjs";
import { counts, coverageMeter, doubtList } from "../report/card.mjs";
import { reportWords } from "../words/report_words.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} FileFit answer of `/patchbay/fit`
 * @property {"same" | "other architecture" | "other size" | "not known" | string} verdict
 * @property {string} lora
 * @property {string} model
 * @property {string} reason
 * @property {FileCheck | null} [check] what of the LoRA lands in the model, where that can be told from the files
 *
 * @typedef {Pick<Report, "level" | "summary" | "coverage" | "counts"> & Partial<Pick<Report, "doubts">> & {verdict: string}} FileCheck
 *
 * @typedef {object} LoraCardState
 * @property {string} name
 * @property {Report | null} report
 * @property {FileFit | null} fit
 * @property {boolean} hasModel a model file leads to the node
 * @property {string} error
 *
 * @typedef {{copy: (text: string) => void, show: () => void, close: () => void}} LoraCardActions
 */

const MOST_WORDS = 40;
const MOST_FIELDS = 200;

/** @type {Record<string, [string, string]>} level and text of the badge */
const VERDICTS = {
  same: ["ok", "lora.verdict.same"],
  "other size": ["error", "lora.verdict.size"],
  "other architecture": ["error", "lora.verdict.architecture"],
  fits: ["ok", "lora.verdict.fits"],
  "fits in part": ["warning", "lora.verdict.part"],
  "does not fit": ["error", "lora.verdict.not"],
};

/** @param {LoraCardState} state @param {Language} language @param {LoraCardActions} actions @returns {HTMLElement[]} */
export function renderLoraCard(state, language, actions) {
  const { t } = language;
  const close = h("button", { type: "button", class: "patchbay-button patchbay-icon-button", "aria-label": t("lora.close"), title: t("lora.close"), on: { click: actions.close } }, panelIcon("close"));
  const title = h("header", { class: "patchbay-lora-title" }, h("h3", { id: "patchbay-lora-name" }, foreignText(plainText(state.name, 120))), close);
  if (state.error) return [title, h("p", { class: "patchbay-lora-error", role: "alert" }, t("lora.failed", { reason: plainText(reportWords(state.error, language.locale), 400) }))];
  if (!state.report) return [title, h("p", { class: "patchbay-muted", role: "status" }, t("lora.loading"))];
  const { report } = state;
  return [
    title,
    badge(state, language),
    // What it says stands in the verdict and the facts, where there are both.
    state.fit?.check ? null : h("p", { class: "patchbay-summary" }, foreignText(plainText(reportWords(report.summary, language.locale), 500))),
    words(report, language, actions),
    factList(facts(report, language)),
    ...details(report, language),
    h("footer", {}, h("button", { type: "button", class: "patchbay-button patchbay-primary", on: { click: actions.show } }, t("lora.show")), h("span", { class: "patchbay-said", role: "status" })),
  ].filter((part) => part !== null);
}

/** The verdict on the file and the model, with the sentence that explains it. @param {LoraCardState} state @param {Language} language */
function badge({ fit, hasModel, report }, language) {
  const { t, locale } = language;
  const check = fit?.check;
  const verdict = check?.verdict ?? fit?.verdict ?? report?.verdict ?? "";
  const doubtful = verdict === "fits" && (check?.doubts?.length ?? 0) > 0;
  const [level, text] = doubtful ? ["warning", "lora.verdict.doubtful"] : (VERDICTS[verdict] ?? ["warning", "lora.verdict.unknown"]);
  const reason = check?.summary ?? fit?.reason ?? report?.advice ?? "";
  if (!hasModel && !fit) return h("p", { class: "patchbay-muted" }, t("lora.noModel"));
  return h(
    "div",
    { class: "patchbay-lora-verdict" },
    h("span", { class: `patchbay-level patchbay-level-${level}` }, levelIcon(level), t(text)),
    h("p", {}, foreignText(plainText(reportWords(reason, locale), 500))),
    check && doubtList(check, language),
    check && counts(check, language),
    check && coverageMeter(check.coverage, language),
    h("p", { class: "patchbay-muted" }, t(check ? "lora.filesOnly" : "lora.headersOnly")),
  );
}

/** @param {Report} report @param {Language} language @param {LoraCardActions} actions */
function words({ lora }, { t }, actions) {
  const all = (lora?.trigger_words ?? []).slice(0, MOST_WORDS);
  if (all.length === 0) return null;
  const chips = all.map((word) => {
    const shown = plainText(word, 120);
    return h("li", {}, h("button", { type: "button", class: "patchbay-word", title: t("lora.copyWord", { word: shown }), on: { click: () => actions.copy(word) } }, foreignText(shown)));
  });
  return h("section", { class: "patchbay-lora-words" }, h("h4", {}, t("fact.triggers")), h("ul", {}, ...chips));
}

/** @param {Report} report @param {Language} language @returns {[string, string][]} */
function facts(report, language) {
  const { t, locale } = language;
  const { lora } = report;
  const formats = Object.entries(lora?.formats ?? {}).map(([format, n]) => `${format} × ${formatCount(n, locale)}`);
  const blocks = blockColumns(report).map(({ kind, cells }) => `${groupTitle(kind, t)}${cells.length > 1 ? ` × ${formatCount(cells.length, locale)}` : ""}`);
  /** @type {[string, string][]} */
  const all = [
    [t("fact.madeFor"), reportWords(lora?.architecture, locale)],
    [t("fact.base"), lora?.base_model ?? ""],
    [t("fact.writer"), [reportWords(lora?.writer, locale), lora?.key_style].filter(Boolean).join(" · ")],
    [t("fact.formats"), formats.join(", ")],
    [t("lora.rank"), (lora?.ranks ?? []).slice(0, 12).join(", ")],
    [t("lora.layers"), formatCount(report.layers.length, locale)],
    [t("lora.blocks"), blocks.join(", ")],
    [t("fact.size"), lora && lora.size_bytes > 0 ? formatBytes(lora.size_bytes, locale) : ""],
  ];
  return all.filter(([, value]) => value !== "");
}

/** @param {Report} report @param {Language} language */
function details(report, { t, locale }) {
  const metadata = Object.entries(report.lora?.metadata ?? {}).slice(0, MOST_FIELDS);
  const notes = (report.notes ?? []).slice(0, 50);
  return [
    notes.length > 0 && h("details", { class: "patchbay-fold" }, h("summary", {}, `${t("card.notes")} (${notes.length})`), h("ul", { class: "patchbay-notes" }, ...notes.map((note) => h("li", {}, foreignText(plainText(reportWords(note, locale), 600)))))),
    metadata.length > 0 && h("details", { class: "patchbay-fold" }, h("summary", {}, t("card.metadata", { n: formatCount(metadata.length, locale) })), factList(metadata)),
  ].filter((part) => part !== false);
}
