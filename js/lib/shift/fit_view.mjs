// Fitted strengths as elements: the text to use, the strengths as bars around 1, and every way with its held-out error.

import { foreignText, h } from "../ui/dom.mjs";
import { formatNumber, formatRatio, plainText, shortKind } from "../ui/format.mjs";
import { axisLabels, columnAxis, intervalBar, linearAxis, trackChart } from "./charts.mjs";
import { columnsOfGroups, finite, gainWord, KNOWN_SHIFT, roundAbove, strengthsText, streamsOf } from "./model.mjs";
import { copyButton, fold, legendEntry, section, textToUse, wordsHeader } from "./parts.mjs";
import { noteList } from "./view.mjs";

/**
 * @typedef {import("../../types/shift").FitData} FitData
 * @typedef {import("../../types/shift").Candidate} Candidate
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} FitState
 * @property {string | null} shown name of the candidate whose strengths are shown; null for the node's choice of it
 * @property {(name: string) => void} show
 * @property {(what: "text" | "json") => void} copy
 * @property {(text: string, said: HTMLElement) => void} copyStrengths
 */

const HEIGHT = 104;
const MOST_CANDIDATES = 32;
const MOST_NUMBERS = 16;

const FITTED = "fitted strengths";
const REFIT = "refit LoRA";

/**
 * @param {FitData} data
 * @param {Language} language
 * @param {FitState} state
 * @returns {HTMLElement}
 */
export function fitView(data, language, state) {
  const { t, locale } = language;
  if (data.version > KNOWN_SHIFT) return h("p", { class: "patchbay-empty" }, t("card.newer", { version: data.version, known: KNOWN_SHIFT }));
  const shown = shownCandidate(data, state.shown);
  return h(
    "div",
    { class: "patchbay-shift-view patchbay-fit-view", lang: locale },
    wordsHeader(data, language, state),
    textToUse(data.blocks, language, state),
    strengthBars(data, shown, language, state),
    data.candidates.length > 0 && methods(data, shown, language, state),
    data.notes?.length > 0 && fold("notes", `${t("card.notes")} (${data.notes.length})`, noteList(data.notes, locale)),
  );
}

/**
 * What was asked for; else what was chosen, or the fitted strengths where 1.0 was kept: those are what there is to see.
 * @param {FitData} data
 * @param {string | null} name
 * @returns {Candidate | null}
 */
export function shownCandidate(data, name) {
  const find = (/** @type {string | null} */ wanted) => data.candidates.find((each) => each.name === wanted && Object.keys(each.strengths ?? {}).length > 0) ?? null;
  const chosen = find(data.chosen);
  const plain = chosen && Object.values(chosen.strengths).every((value) => value === 1);
  return find(name) ?? (plain ? find(FITTED) ?? chosen : chosen);
}

/** @param {string} name @param {Language} language */
export function methodName(name, { t }) {
  const key = `fit.name.${name}`;
  const words = t(key);
  return words === key ? plainText(name, 60) : words;
}

/** @param {FitData} data @param {Candidate | null} shown @param {Language} language @param {FitState} state */
function strengthBars(data, shown, language, state) {
  const { t, locale } = language;
  const strengths = data.guard ? data.guarded : shown?.strengths;
  if (!strengths) return null;
  const columns = columnsOfGroups(data.groups);
  const values = Object.values(strengths).map(finite).filter((value) => value !== null);
  const number = (/** @type {number} */ value) => formatNumber(value, locale);
  const [low, high] = [Math.min(0, ...values), Math.max(2, ...values)];
  const hundredths = (/** @type {number} */ value) => number(Number(value.toFixed(2)));
  const axis = linearAxis(low < 0 ? -roundAbove(-low) : 0, high > 2 ? roundAbove(high) : 2, number, 1);
  /** @type {import("./charts.mjs").Track<string>} */
  const track = { id: "strength", title: t("fit.track"), hint: t("fit.track.hint"), height: HEIGHT, axis, value: (selector) => finite(strengths[selector]), number: values.length > MOST_NUMBERS ? undefined : hundredths };
  const describe = (/** @type {import("./model.mjs").Column<string>} */ column) =>
    column.cells.map(({ stream, of }) => `${column.name}${stream === "all" ? "" : ` ${t(`shift.${stream}`)}`}: ${formatNumber(finite(strengths[of]), locale)}`).join("; ");
  const unused = !data.guard && shown?.name !== data.chosen;
  const remark = t(data.guard ? "fit.strengths.guard" : unused ? "fit.strengths.unused" : "fit.strengths.used");
  const title = data.guard ? t("fit.track") : t("fit.strengths", { name: methodName(shown?.name ?? "", language) });
  const streams = streamsOf(columns);
  return h(
    "section",
    { class: `patchbay-shift-section${unused ? " patchbay-fit-unused" : ""}` },
    h("h4", { class: "patchbay-fit-heading" }, h("span", {}, title), h("small", {}, remark), unused && shown && copyButton(strengthsText(data, shown), language, state)),
    h(
      "div",
      { class: "patchbay-shift-charts", role: "img", "aria-label": `${title}. ${columns.map(describe).join("; ")}` },
      axisLabels(track),
      trackChart(track, columns, describe),
      h("div", {}),
      columnAxis(columns, (kind) => plainText(shortKind(kind), 24)),
    ),
    h("p", { class: "patchbay-shift-legend" }, ...(streams.length > 1 ? streams.map((stream) => legendEntry(`patchbay-shift-${stream}`, t(stream === "all" ? "fit.all" : `shift.${stream}`))) : []), h("span", { class: "patchbay-muted" }, t("fit.track.hint"))),
  );
}

/** @param {FitData} data @param {Candidate | null} shown @param {Language} language @param {FitState} state */
function methods(data, shown, language, state) {
  const { t } = language;
  const candidates = data.candidates.slice(0, MOST_CANDIDATES);
  const ends = candidates.flatMap(({ error }) => [finite(error?.mean), finite(error?.high)]).filter((value) => value !== null);
  const whole = Math.max(1, ...ends);
  const plain = finite(candidates[0]?.error?.mean);
  const rows = candidates.map((candidate) => methodRow(data, candidate, shown, whole, plain, language, state));
  return section(
    t("fit.methods"),
    h(
      "table",
      { class: "patchbay-fit-methods" },
      h("thead", {}, h("tr", {}, ...[t("fit.method"), "", t("fit.error"), t("fit.gain")].map((name) => (name ? h("th", { scope: "col" }, name) : h("td", {}))))),
      h("tbody", {}, ...rows),
    ),
    h("p", { class: "patchbay-shift-legend" }, h("span", { class: "patchbay-muted" }, t("fit.methods.hint"))),
  );
}

/**
 * @param {FitData} data @param {Candidate} candidate @param {Candidate | null} shown @param {number} whole @param {number | null} plain
 * @param {Language} language @param {FitState} state
 */
function methodRow(data, candidate, shown, whole, plain, language, state) {
  const { t, locale } = language;
  const name = methodName(candidate.name, language);
  const chosen = candidate.name === data.chosen;
  const { mean, low, high } = { mean: finite(candidate.error?.mean), low: finite(candidate.error?.low), high: finite(candidate.error?.high) };
  const says = candidate === data.candidates[0] ? "none" : gainWord(candidate.gain, data.floor, data.worthwhile ?? null);
  const hasStrengths = Object.keys(candidate.strengths ?? {}).length > 0;
  const label = hasStrengths
    ? h("button", { type: "button", class: "patchbay-fit-name", "aria-pressed": String(candidate === shown), title: t("fit.show", { name }), on: { click: () => state.show(candidate.name) } }, foreignText(name))
    : h("span", { class: "patchbay-fit-name" }, foreignText(name));
  return h(
    "tr",
    { class: `patchbay-fit-row patchbay-fit-${says}${chosen ? " patchbay-is-chosen" : ""}`, "data-method": plainText(candidate.name, 60) },
    h("th", { scope: "row" }, label, chosen && tag(t("fit.chosen")), candidate.name === REFIT && data.saved_as && tag(t("fit.saved"), plainText(data.saved_as, 200)), says !== "none" && h("small", { class: "patchbay-fit-says" }, t(`fit.gain.${says}`))),
    h("td", { class: "patchbay-fit-chart" }, mean === null ? null : intervalBar({ value: mean, low, high, whole, name: says, plain })),
    h("td", {}, formatRatio(mean, locale), interval(low, high, (value) => formatRatio(Math.max(0, value), locale), language)),
    h(
      "td",
      {},
      says === "none" ? "–" : signed(candidate.gain?.mean, locale),
      says !== "none" && interval(finite(candidate.gain?.low), finite(candidate.gain?.high), (value) => signed(value, locale), language),
    ),
  );
}

/** @param {string} words @param {string} [title] */
const tag = (words, title) => h("span", { class: "patchbay-fit-tag", title }, words);

/** @param {number | null} low @param {number | null} high @param {(value: number) => string} format @param {Language} language */
function interval(low, high, format, { t }) {
  return low === null || high === null ? null : h("small", {}, t("fit.interval", { low: format(low), high: format(high) }));
}

/** A difference of two shares in hundredths, with its sign. @param {number | null | undefined} value @param {string} locale */
export function signed(value, locale) {
  const known = finite(value);
  if (known === null) return "–";
  const hundredths = Number((Math.abs(known) * 100).toFixed(2));
  return `${hundredths === 0 ? "±" : known < 0 ? "−" : "+"}${formatNumber(hundredths, locale)}%`;
}
