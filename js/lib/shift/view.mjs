// A feature shift as elements: the verdict on its scale, the blocks as charts, one block in detail, all figures.

import { foreignText, h } from "../ui/dom.mjs";
import { formatNumber, formatRatio, plainText, shortKind } from "../ui/format.mjs";
import { reportWords } from "../words/report_words.mjs";
import { anglePlace, columnsOfRows, finite, KNOWN_SHIFT, streamsOf } from "./model.mjs";
import { axisLabels, columnAxis, percent, trackChart } from "./charts.mjs";
import { blockDetail, figureTable } from "./detail.mjs";
import { featureTracks, transferTracks } from "./tracks.mjs";
import { fold, legendEntry, section, wordsHeader } from "./parts.mjs";

/**
 * @typedef {import("../../types/shift").ShiftData} ShiftData
 * @typedef {import("../../types/shift").ShiftRow} ShiftRow
 * @typedef {import("../words/i18n.mjs").Language} Language
 * @typedef {import("./parts.mjs").ViewActions} ViewActions
 */

/** @template T @typedef {import("./model.mjs").Column<T>} Column */

/**
 * @param {ShiftData} data
 * @param {Language} language
 * @param {{block: string | null, choose: (block: string) => void} & ViewActions} state
 * @returns {HTMLElement}
 */
export function shiftView(data, language, state) {
  const { t, locale } = language;
  if (data.version > KNOWN_SHIFT) return h("p", { class: "patchbay-empty" }, t("card.newer", { version: data.version, known: KNOWN_SHIFT }));
  const { columns, output } = columnsOfRows(data.rows);
  return h(
    "div",
    { class: "patchbay-shift-view", lang: locale },
    wordsHeader(data, language, state),
    data.transfer ? verdictScale(data, output, language) : outputsApart(output, language),
    columns.length > 0 && blockCharts(data, columns, output, language, state),
    fold("figures", t("shift.figures"), figureTable(data, [...columns, ...(output ? [output] : [])], language)),
    data.notes?.length > 0 && fold("notes", `${t("card.notes")} (${data.notes.length})`, noteList(data.notes, locale)),
  );
}

/** @param {string[]} notes @param {string} locale */
export const noteList = (notes, locale) =>
  h("ul", { class: "patchbay-notes" }, ...notes.slice(0, 50).map((note) => h("li", {}, foreignText(plainText(reportWords(note, locale), 600)))));

/**
 * Where the cosine of the two changes lies among the verdicts. By angle, or all that matters would be in the last tenth.
 * @param {ShiftData} data @param {Column<ShiftRow> | null} output @param {Language} language
 */
function verdictScale(data, output, language) {
  const { t, locale } = language;
  const row = output?.cells[0]?.of;
  const cosine = finite(row?.change_cosine);
  if (!row || cosine === null) return null;
  const seeds = finite(row.seed_cosine);
  const bounds = Array.isArray(data.bounds) ? data.bounds.map(anglePlace).sort((a, b) => a - b) : [];
  const at = anglePlace(cosine);
  const zones = bounds.length === 3 ? [0, ...bounds].map((from, i) => zone(i, from, [...bounds, 1][i] ?? 1, at, language)) : [];
  const number = (/** @type {number | null} */ value) => formatNumber(value, locale, 3);
  const words = t("shift.scale.aria", { value: number(cosine), verdict: reportWords(data.verdict, locale), seeds: number(seeds) });
  return section(
    t("shift.scale"),
    h(
      "div",
      { class: "patchbay-shift-scale", role: "img", "aria-label": words },
      h("div", { class: "patchbay-shift-zones" }, ...zones),
      h("b", { class: needle("needle", at), style: { left: percent(at * 100) } }, h("span", {}, `${t("shift.zone.short")} ${number(cosine)}`)),
      seeds !== null && h("span", { class: needle("control", anglePlace(seeds)), style: { left: percent(anglePlace(seeds) * 100) } }, h("span", {}, t("shift.otherSeed", { value: number(seeds) }))),
    ),
  );
}

/** The words stand on the side that has room. @param {"needle" | "control"} name @param {number} at */
const needle = (name, at) => `patchbay-shift-${name}${at > 0.5 ? " patchbay-is-left" : ""}`;

/** @param {number} i @param {number} from @param {number} to @param {number} at @param {Language} language */
function zone(i, from, to, at, { t }) {
  const here = at >= from && (at < to || to === 1);
  return h("span", { class: `patchbay-shift-zone patchbay-shift-zone-${i}${here ? " patchbay-is-here" : ""}`, style: { width: percent((to - from) * 100) } }, t(`shift.zone.${i}`));
}

/**
 * How far the outputs are apart, held against another seed and against nothing at all, on one axis.
 * @param {Column<ShiftRow> | null} output @param {Language} language
 */
function outputsApart(output, { t, locale }) {
  const row = output?.cells[0]?.of;
  if (!row) return null;
  /** @type {[string, string, number | null][]} */
  const bars = [
    ["shift", t("shift.apart.models"), finite(row.shift)],
    ["seeds", t("shift.apart.seeds"), finite(row.seeds)],
    ["floor", t("shift.apart.floor"), finite(row.floor)],
  ];
  const whole = Math.max(1e-9, ...bars.map(([, , value]) => value ?? 0));
  const lines = bars.filter(([, , value]) => value !== null).flatMap(([name, label, value]) => [
    h("dt", {}, label),
    h("dd", {}, h("span", { class: `patchbay-shift-apart-${name}`, style: { width: percent(((value ?? 0) / whole) * 100) } })),
    h("dd", { class: "patchbay-shift-apart-value" }, formatRatio(value, locale)),
  ]);
  return section(t("shift.apart"), h("dl", { class: "patchbay-shift-apart" }, ...lines));
}

/**
 * The charts over each other, with one column chosen in all of them.
 * @param {ShiftData} data @param {Column<ShiftRow>[]} blocks @param {Column<ShiftRow> | null} output @param {Language} language
 * @param {{block: string | null, choose: (block: string) => void}} state
 */
function blockCharts(data, blocks, output, language, state) {
  const { t } = language;
  const columns = output ? [...blocks, output] : blocks;
  const nameOf = (/** @type {Column<ShiftRow>} */ column) => (column === output ? t("shift.output") : column.name);
  const describe = (/** @type {Column<ShiftRow>} */ column) => columnWords(column, nameOf(column), language);
  const rows = (/** @type {import("./charts.mjs").Track<ShiftRow>[]} */ tracks) =>
    tracks.flatMap((track) => [
      h("div", { class: "patchbay-shift-title", title: track.hint }, track.title),
      axisLabels(track),
      trackChart(track, columns, describe),
    ]);
  const axis = () => [h("div", {}), columnAxis(columns, (kind) => (kind === "output" ? t("shift.output") : plainText(shortKind(kind), 24)))];
  const detail = h("div", { class: "patchbay-shift-detail" });
  const chooser = h("div", { class: "patchbay-shift-charts", role: "slider", tabindex: 0, "aria-label": t("shift.choose"), "aria-valuemin": 1, "aria-valuemax": columns.length });
  if (data.transfer) chooser.append(heading(t("shift.transfer")), ...rows(transferTracks(data, language)), ...axis(), legend(data, streamsOf(blocks), ["control", "floor"], language));
  chooser.append(heading(t("shift.features")), ...rows(featureTracks(data, language)), ...axis(), legend(data, streamsOf(blocks), ["seeds", "reference", "floor"], language));

  /** @param {number} index */
  const show = (index) => {
    const column = columns[index];
    if (!column) return;
    for (const part of chooser.querySelectorAll(".patchbay-shift-column")) part.classList.toggle("patchbay-is-chosen", part.getAttribute("data-column") === String(index));
    chooser.setAttribute("aria-valuenow", String(index + 1));
    chooser.setAttribute("aria-valuetext", describe(column));
    detail.replaceChildren(blockDetail(data, column, nameOf(column), language));
    chosen = index;
    state.choose(column.block);
  };
  let chosen = Math.max(0, columns.findIndex(({ block }) => block === (state.block ?? strongest(blocks))));
  listen(chooser, () => chosen, columns.length, show);
  show(chosen);
  return h("div", { class: "patchbay-shift-section" }, chooser, h("p", { class: "patchbay-shift-legend" }, t("shift.choose.hint")), detail);
}

/** @param {string} title */
const heading = (title) => h("h4", {}, title);

/** @param {Column<ShiftRow>[]} blocks */
const strongest = (blocks) => {
  const most = (/** @type {Column<ShiftRow>} */ column) => Math.max(...column.cells.map(({ of }) => finite(of.shift) ?? 0));
  return blocks.reduce((best, column) => (best && most(best) >= most(column) ? best : column), blocks[0])?.block ?? null;
};

/**
 * A column is chosen by a click in any chart, or by keys.
 * @param {HTMLElement} chooser @param {() => number} chosen @param {number} count @param {(index: number) => void} show
 */
function listen(chooser, chosen, count, show) {
  chooser.addEventListener("click", (event) => {
    const column = event.target instanceof Element ? event.target.closest(".patchbay-shift-column") : null;
    if (column) show(Number(column.getAttribute("data-column")));
  });
  chooser.addEventListener("keydown", (event) => {
    const at = chosen();
    const targets = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: count - 1 };
    const target = targets[/** @type {keyof typeof targets} */ (event.key)];
    if (target === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    show(Math.min(count - 1, Math.max(0, target)));
  });
}

/** `single 3: image 46.9%, text 20.3%`. @param {Column<ShiftRow>} column @param {string} name @param {Language} language */
function columnWords(column, name, { t, locale }) {
  const parts = column.cells.map(({ stream, of }) => {
    const label = column.cells.length > 1 ? `${t(`shift.${stream}`)} ` : "";
    const direction = finite(of.change_cosine) === null ? "" : `, ${t("shift.figure.direction")} ${formatNumber(of.change_cosine, locale)}`;
    return `${label}${t("shift.figure.shift")} ${formatRatio(of.shift, locale)}${direction}`;
  });
  return `${name}: ${parts.join("; ")}`;
}

/** What the legend explains: its sign, and the figure that it is. @type {Record<string, [sign: string, figure: keyof ShiftRow]>} */
const SIGNS = {
  seeds: ["band-seeds", "seeds"],
  control: ["band-control", "seed_cosine"],
  reference: ["mark-reference", "reference_shift"],
  floor: ["band-floor", "floor"],
};

/** @param {ShiftData} data @param {import("./model.mjs").Stream[]} streams @param {string[]} signs @param {Language} language */
function legend(data, streams, signs, { t, locale }) {
  const known = signs.flatMap((name) => {
    const [sign, figure] = SIGNS[name] ?? ["", "shift"];
    const found = data.rows.map((row) => finite(row[figure])).filter((value) => value !== null);
    return found.length > 0 ? [legendEntry(`patchbay-shift-${sign}`, t(`shift.sign.${name}`, { value: formatRatio(Math.max(...found), locale) }))] : [];
  });
  return h("p", { class: "patchbay-shift-legend" }, ...streams.map((stream) => legendEntry(`patchbay-shift-${stream}`, t(`shift.${stream}`))), ...known);
}
