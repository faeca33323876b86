// One block of a feature shift: its figures, what its values were before and after, and the channels that moved most.

import { foreignText, h } from "../ui/dom.mjs";
import { formatCount, formatNumber, formatRatio } from "../ui/format.mjs";
import { histogramChart, percent } from "./charts.mjs";
import { finite } from "./model.mjs";

/**
 * @typedef {import("../../types/shift").ShiftData} ShiftData
 * @typedef {import("../../types/shift").ShiftRow} ShiftRow
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

/** @template T @typedef {import("./model.mjs").Column<T>} Column */

/**
 * @param {ShiftData} data
 * @param {Column<ShiftRow>} column
 * @param {string} name
 * @param {Language} language
 */
export function blockDetail(data, column, name, language) {
  const { t } = language;
  const furthest = Math.max(1e-9, ...data.rows.flatMap((row) => (row.channels ?? []).map(([, by]) => finite(by) ?? 0)));
  return h(
    "section",
    { class: "patchbay-shift-section" },
    h("h4", {}, foreignText(name)),
    h("div", { class: "patchbay-shift-streams" }, ...column.cells.map(({ stream, of }) => streamDetail(data, stream, of, { furthest, name, named: column.cells.length > 1 }, language))),
    h(
      "p",
      { class: "patchbay-shift-legend" },
      h("span", { class: "patchbay-shift-entry" }, h("i", { class: "patchbay-shift-swatch patchbay-shift-before" }), t("shift.before")),
      h("span", { class: "patchbay-shift-entry" }, h("i", { class: "patchbay-shift-swatch patchbay-shift-after" }), t("shift.after")),
      h("span", { class: "patchbay-muted" }, t("shift.histogram.scale")),
    ),
  );
}

/**
 * @param {ShiftData} data @param {import("./model.mjs").Stream} stream @param {ShiftRow} row
 * @param {{furthest: number, name: string, named: boolean}} of @param {Language} language
 */
function streamDetail(data, stream, row, { furthest, name, named }, language) {
  const { t, locale } = language;
  const [low, high] = [formatNumber(finite(row.low), locale), formatNumber(finite(row.high), locale)];
  const place = named ? t("shift.place", { block: name, stream: t(`shift.${stream}`) }) : name;
  const label = t("shift.histogram.aria", { place, low, high });
  const channels = (row.channels ?? []).slice(0, 8).map(([channel, by]) => [
    h("dt", {}, t("shift.channel", { n: formatCount(finite(channel) ?? 0, locale) })),
    h("dd", {}, h("span", { class: `patchbay-shift-${stream}`, style: { width: percent(((finite(by) ?? 0) / furthest) * 100) } })),
    h("dd", { class: "patchbay-shift-by" }, formatNumber(finite(by), locale)),
  ]);
  return h(
    "div",
    { class: "patchbay-shift-stream" },
    named && h("h5", { class: `patchbay-shift-${stream}` }, t(`shift.${stream}`)),
    h("dl", { class: "patchbay-shift-pairs" }, ...figuresOf(data, language).map(([figure, read]) => h("div", {}, h("dt", { title: figure }, figure), h("dd", {}, read(row))))),
    h("h5", {}, t("shift.histogram")),
    histogramChart(shares(row.histogram_a), shares(row.histogram_b), stream, label),
    h("div", { class: "patchbay-shift-ends", "aria-hidden": "true" }, h("span", {}, low), h("span", {}, high)),
    h("h5", { title: t("shift.channels.hint") }, t("shift.channels")),
    channels.length > 0 ? h("dl", { class: "patchbay-shift-channels" }, ...channels.flat()) : h("p", { class: "patchbay-muted" }, t("shift.channels.none")),
  );
}

/** @param {number[]} values */
const shares = (values) => (values ?? []).slice(0, 512).map((share) => finite(share) ?? 0);

/** @param {ShiftData} data @param {Column<ShiftRow>[]} columns @param {Language} language */
export function figureTable(data, columns, language) {
  const named = columns.map((column) => /** @type {[Column<ShiftRow>, string]} */ ([column, column.block === "output" ? language.t("shift.output") : column.name]));
  return h("div", { class: "patchbay-shift-scroll" }, table(data, named, language));
}

/** @param {ShiftData} data @param {Language} language @returns {[string, (row: ShiftRow) => string][]} */
function figuresOf(data, { t, locale }) {
  const ratio = (/** @type {unknown} */ value) => formatRatio(finite(value), locale);
  const number = (/** @type {unknown} */ value) => formatNumber(finite(value), locale);
  // Close to 1, three digits would all be the same.
  const cosine = (/** @type {unknown} */ value) => formatNumber(finite(value), locale, Number(value) > 0.99 ? 5 : 3);
  /** @type {[string, (row: ShiftRow) => string][]} */
  const features = [
    [t("shift.figure.shift"), (row) => ratio(row.shift)],
    [t("shift.figure.seeds"), (row) => ratio(row.seeds)],
    [t("shift.figure.floor"), (row) => ratio(row.floor)],
    [t("shift.figure.cosine"), (row) => cosine(row.cosine)],
    [t("shift.figure.frechet"), (row) => number(row.frechet)],
  ];
  if (!data.transfer) return features;
  return [
    [t("shift.figure.direction"), (row) => cosine(row.change_cosine)],
    [t("shift.figure.control"), (row) => cosine(row.seed_cosine)],
    [t("shift.figure.ratio"), (row) => (finite(row.ratio) === null ? "–" : `×${number(row.ratio)}`)],
    [t("shift.figure.error"), (row) => ratio(row.change_error)],
    [t("shift.figure.reference"), (row) => ratio(row.reference_shift)],
    ...features,
  ];
}

/** @param {ShiftData} data @param {[Column<ShiftRow>, string][]} columns @param {Language} language */
function table(data, columns, language) {
  const { t } = language;
  const figures = figuresOf(data, language);
  const rows = columns.flatMap(([column, name]) =>
    column.cells.map(({ stream, of }) => {
      const words = stream === "all" ? name : t("shift.place", { block: name, stream: t(`shift.${stream}`) });
      return h("tr", {}, h("th", { scope: "row" }, foreignText(words)), ...figures.map(([, read]) => h("td", {}, read(of))));
    }),
  );
  return h(
    "table",
    { class: "patchbay-shift-table" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("shift.figure.place")), ...figures.map(([name]) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows),
  );
}
