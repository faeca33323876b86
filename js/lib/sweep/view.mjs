// A sweep as elements: the answer, the strengths to use, the effect of each unit beside what weights and features say.

import { axisLabels, columnAxis, intervalBar, linearAxis, trackChart } from "../shift/charts.mjs";
import { finite, roundAbove } from "../shift/model.mjs";
import { fold, legendEntry, section, textToUse, wordsHeader } from "../shift/parts.mjs";
import { foreignText, h } from "../ui/dom.mjs";
import { formatNumber, formatRatio, plainText, shortKind } from "../ui/format.mjs";
import { reportWords } from "../words/report_words.mjs";
import { byEffect, columnsOfUnits, groupOf, KNOWN_SWEEP, partsOf, unitsOf } from "./model.mjs";

/**
 * @typedef {import("../../types/sweep").SweepData} SweepData
 * @typedef {import("../../types/sweep").UnitRow} UnitRow
 * @typedef {import("./model.mjs").UnitColumn} UnitColumn
 * @typedef {import("../words/i18n.mjs").Language} Language
 * @typedef {import("../shift/charts.mjs").Track<UnitRow>} Track
 *
 * @typedef {object} SweepActions
 * @property {(what: "text" | "json") => void} copy
 * @property {(text: string, said: HTMLElement) => void} copyStrengths
 */

const TALL = 116;
const LOW = 56;
const MOST_NUMBERS = 12;
const MOST_LISTED = 200;

/**
 * @param {SweepData} data
 * @param {Language} language
 * @param {SweepActions} actions
 * @returns {HTMLElement}
 */
export function sweepView(data, language, actions) {
  const { t, locale } = language;
  if (data.version > KNOWN_SWEEP) return h("p", { class: "patchbay-empty" }, t("card.newer", { version: data.version, known: KNOWN_SWEEP }));
  return h(
    "div",
    { class: "patchbay-shift-view patchbay-sweep-view", lang: locale },
    wordsHeader(data, language, actions),
    textToUse(data.blocks, language, actions),
    bars(data, language),
    unitTable(data, language),
    data.notes?.length > 0 && fold("notes", `${t("card.notes")} (${data.notes.length})`, h("ul", { class: "patchbay-notes" }, ...data.notes.map((note) => h("li", {}, foreignText(plainText(reportWords(note, locale), 600)))))),
  );
}

/** @param {SweepData} data @param {Language} language */
function bars(data, language) {
  const { t } = language;
  const columns = columnsOfUnits(data);
  const tracks = tracksOf(data, language);
  const describe = (/** @type {UnitColumn} */ column) => column.cells.map(({ of }) => unitWords(data, of, language)).join("\n");
  const parts = partsOf(data);
  const kindName = (/** @type {string} */ kind) => (kind === "other" ? t("column.other") : plainText(shortKind(kind), 24));
  const label = columns.map((column) => describe(column).replaceAll("\n", "; ")).join("; ");
  return section(
    t(`sweep.bars.${data.mode}`),
    h(
      "div",
      { class: "patchbay-shift-charts", role: "img", "aria-label": `${t(`sweep.bars.${data.mode}`)}. ${label}` },
      ...tracks.flatMap((track) => [h("div", { class: "patchbay-shift-title", title: track.hint }, track.title), axisLabels(track), trackChart(track, columns, describe)]),
      h("div", {}),
      columnAxis(columns, kindName),
    ),
    h(
      "p",
      { class: "patchbay-shift-legend" },
      ...parts.map(({ part, stream }) => legendEntry(`patchbay-shift-${stream}`, t(`sweep.part.${part}`))),
      legendEntry("patchbay-shift-all", t("sweep.sign.kept")),
      legendEntry("patchbay-shift-all patchbay-sweep-out", t("sweep.sign.out")),
    ),
  );
}

/** Effect, energy and feature shift; the last two where they were measured. @param {SweepData} data @param {Language} language @returns {Track[]} */
function tracksOf(data, { t, locale }) {
  const rows = unitsOf(data);
  const share = (/** @type {number} */ value) => formatRatio(value, locale);
  const sign = (/** @type {UnitRow} */ row) => (row.kept ? "" : "patchbay-sweep-out");
  const axisFor = (/** @type {(number | null)[]} */ values) => linearAxis(0, roundAbove(Math.max(0, ...values.filter((value) => value !== null))), share);
  const effect = (/** @type {UnitRow} */ row) => finite(row.effect?.mean);
  /** @type {Track} */
  const first = {
    id: "effect", title: t(`sweep.track.${data.mode}`), hint: t("sweep.track.hint"), height: TALL,
    axis: axisFor(rows.map(effect)), value: effect, sign,
    number: rows.length > MOST_NUMBERS ? undefined : share,
  };
  /** @type {Track[]} */
  const more = [
    { id: "energy", title: t("sweep.track.energy"), hint: t("sweep.track.energy.hint"), height: LOW, axis: axisFor(rows.map((row) => finite(row.energy))), value: (row) => finite(row.energy), sign },
    { id: "shift", title: t("sweep.track.shift"), hint: t("sweep.track.shift.hint"), height: LOW, axis: axisFor(rows.map((row) => finite(row.shift))), value: (row) => finite(row.shift), sign },
  ];
  return [first, ...more.filter((track) => rows.some((row) => track.value(row) !== null))];
}

/** What the pointer is told of a unit. @param {SweepData} data @param {UnitRow} row @param {Language} language */
function unitWords(data, row, { t, locale }) {
  const share = (/** @type {number | null | undefined} */ value) => (finite(value) === null ? "–" : formatRatio(finite(value) ?? 0, locale));
  return `${plainText(row.name, 80)}: ${t("sweep.word.effect")} ${share(row.effect?.mean)}, ${t("sweep.word.energy")} ${share(row.energy)}, ${t("sweep.word.shift")} ${share(row.shift)}, ${t(stateKey(row))}`;
}

/** @param {UnitRow} row */
const stateKey = (row) => (row.kept ? "sweep.state.kept" : row.dead ? "sweep.state.dead" : "sweep.state.out");

/** @param {SweepData} data @param {Language} language */
function unitTable(data, language) {
  const { t } = language;
  const rows = byEffect(data).slice(0, MOST_LISTED);
  const whole = Math.max(0.01, ...rows.map((row) => finite(row.effect?.mean) ?? 0));
  const last = data.mode === "solo" ? "sweep.toward" : "sweep.psnr";
  const heads = ["sweep.unit", "", "sweep.effect", last, "sweep.ssim", "sweep.energy", "sweep.state"];
  return section(
    t("sweep.table"),
    h(
      "div",
      { class: "patchbay-shift-scroll" },
      h(
        "table",
        { class: "patchbay-fit-methods patchbay-sweep-table" },
        h("thead", {}, h("tr", {}, ...heads.map((key) => (key ? h("th", { scope: "col" }, t(key)) : h("td", {}))))),
        h("tbody", {}, ...rows.map((row) => unitRow(data, row, whole, language))),
      ),
    ),
    h("p", { class: "patchbay-shift-legend" }, h("span", { class: "patchbay-muted" }, t("sweep.table.hint"))),
  );
}

/** @param {SweepData} data @param {UnitRow} row @param {number} whole @param {Language} language */
function unitRow(data, row, whole, { t, locale }) {
  const share = (/** @type {number | null} */ value) => (value === null ? "–" : formatRatio(value, locale));
  const { mean, low, high } = { mean: finite(row.effect?.mean), low: finite(row.effect?.low), high: finite(row.effect?.high) };
  const group = mean === null ? groupOf(data, row) : 0;
  const span = low === null || high === null ? null : h("small", {}, t("fit.interval", { low: share(Math.max(0, low)), high: share(high) }));
  const figure = data.mode === "solo" ? share(finite(row.toward?.mean)) : decibels(row, t("sweep.same"), locale);
  const ssim = finite(row.figures?.ssim);
  return h(
    "tr",
    { class: row.kept ? "patchbay-is-chosen" : "patchbay-sweep-row-out", "data-unit": plainText(row.name, 60) },
    h("th", { scope: "row", title: t("sweep.layers", { n: row.layers }) }, foreignText(plainText(row.name, 60))),
    h("td", { class: "patchbay-fit-chart" }, mean === null ? null : intervalBar({ value: mean, low: low === null ? null : Math.max(0, low), high, whole, name: row.kept ? "kept" : "out" })),
    h("td", {}, group > 0 ? t("sweep.group", { n: group }) : share(mean), span),
    h("td", {}, figure),
    h("td", {}, ssim === null ? "–" : formatNumber(Number(ssim.toFixed(4)), locale, 4)),
    h("td", {}, share(finite(row.energy))),
    h("td", {}, t(stateKey(row))),
  );
}

/** @param {UnitRow} row @param {string} same @param {string} locale */
function decibels(row, same, locale) {
  if (!row.figures) return "–";
  const psnr = finite(row.figures.psnr);
  return psnr === null ? same : `${formatNumber(Number(psnr.toFixed(1)), locale)} dB`;
}
