// A grid as elements: what came of it in one line, the pictures under their headings, and what is pointed at.

import { foreignText, h } from "../ui/dom.mjs";
import { formatNumber, plainText } from "../ui/format.mjs";
import { levelIcon } from "../ui/icons.mjs";
import { reportWords } from "../words/report_words.mjs";
import { counted, everySetting, isReference, KNOWN_GRID, pageOf, withinFloor } from "./model.mjs";

/**
 * @typedef {import("../../types/grid").GridData} GridData
 * @typedef {import("../../types/grid").GridCell} GridCell
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} GridActions
 * @property {(page: number) => void} turn to another page
 * @property {(cell: number) => void} open
 * @property {(cell: number | null) => void} point
 * @property {(image: import("../../types/compare").ImageRef) => string} urlOf
 */

const NOTES = 12;

/**
 * @param {GridData} data @param {number} number of the page @param {Language} language @param {GridActions} actions
 * @returns {HTMLElement}
 */
export function gridView(data, number, language, actions) {
  const { t, locale } = language;
  if (data.version > KNOWN_GRID) return h("p", { class: "patchbay-empty" }, t("card.newer", { version: data.version, known: KNOWN_GRID }));
  return h(
    "div",
    { class: "patchbay-grid-view", lang: locale },
    header(data, number, language, actions),
    h("div", { class: "patchbay-grid-scroll" }, sheet(data, number, language, actions)),
    h("div", { class: "patchbay-grid-foot" }, h("div", { class: "patchbay-grid-detail", role: "status" }, hint(data, language)), notes(data, language)),
  );
}

/** @param {GridData} data @param {number} number @param {Language} language @param {GridActions} actions */
function header(data, number, { t, locale }, actions) {
  const count = counted(data);
  const parts = [
    count.made < count.all ? t("grid.some", { made: count.made, all: count.all }) : t("grid.all", { n: count.all }),
    count.kept > 0 && t("grid.kept", { n: count.kept }),
    count.failed > 0 && t("grid.failed", { n: count.failed }),
    count.missing > 0 && t("grid.goOn"),
  ];
  const level = count.made === count.all && data.level === "ok" ? "ok" : "warning";
  const pages = data.pages.map((page, at) => h("option", { value: at, selected: at === number }, plainText(page.title, 120) || t("grid.page", { n: at + 1 })));
  const choose = h("select", { class: "patchbay-grid-pages", "aria-label": t("grid.pages"), on: { change: (/** @type {Event} */ event) => actions.turn(Number(/** @type {HTMLSelectElement} */ (event.target).value)) } }, ...pages);
  return h(
    "div",
    { class: "patchbay-header" },
    h("span", { class: `patchbay-level patchbay-level-${level}` }, levelIcon(level), foreignText(plainText(data.title, 80))),
    h("span", { class: "patchbay-grid-said" }, parts.filter(Boolean).join(locale === "ja" ? "、" : ", ")),
    data.pages.length > 1 && choose,
    ...data.sheets.slice(0, data.pages.length).flatMap((image, at) => (at === number ? [h("a", { class: "patchbay-grid-sheet", href: actions.urlOf(image), target: "_blank", rel: "noopener", title: t("grid.sheet.hint") }, t("grid.sheet"))] : [])),
  );
}

/** @param {GridData} data @param {number} number @param {Language} language @param {GridActions} actions */
function sheet(data, number, language, actions) {
  const page = pageOf(data, number);
  const rows = page.rows.some(Boolean);
  const heading = (/** @type {string} */ text, /** @type {"row" | "col"} */ scope) => h("th", { scope, title: plainText(text, 200) }, foreignText(plainText(text, 120)));
  const head = page.columns.some(Boolean) && h("tr", {}, rows && h("td", {}), ...page.columns.map((text) => heading(text, "col")));
  const lines = page.cells.map((line, at) => h("tr", {}, rows && heading(page.rows[at] ?? "", "row"), ...line.map((cell) => h("td", {}, cellElement(data, cell, language, actions)))));
  return h("table", { class: "patchbay-grid-sheet-table" }, head && h("thead", {}, head), h("tbody", {}, ...lines));
}

/** @param {GridData} data @param {number} number @param {Language} language @param {GridActions} actions */
function cellElement(data, number, language, { open, point, urlOf }) {
  const { t } = language;
  const cell = /** @type {GridCell} */ (data.cells[number]);
  const words = figure(data, cell, language);
  const name = [plainText(cell.label, 200), words].filter(Boolean).join(": ");
  const picture = cell.picture;
  const events = { pointerenter: () => point(number), pointerleave: () => point(null), focus: () => point(number), blur: () => point(null) };
  if (!picture) {
    return h("div", { class: "patchbay-grid-cell patchbay-grid-none", tabindex: 0, title: plainText(cell.note, 300), "data-cell": number, on: events }, t(cell.state === "failed" ? "grid.cellFailed" : "grid.cellMissing"));
  }
  const kind = isReference(data, cell) ? "patchbay-grid-cell patchbay-grid-reference" : "patchbay-grid-cell";
  return h(
    "button",
    { type: "button", class: kind, "data-cell": number, "aria-label": name, on: { ...events, click: () => open(number) } },
    h("img", { src: urlOf(picture), alt: "", draggable: "false", decoding: "async", loading: "lazy" }),
    words && h("span", { class: "patchbay-grid-figure" }, words),
  );
}

/** The figures of a cell in a few letters. @param {GridData} data @param {GridCell} cell @param {Language} language */
export function figure(data, cell, { t, locale }) {
  const { metrics } = cell;
  if (!metrics) return "";
  if (metrics.identical) return t("grid.identical");
  if (withinFloor(data, cell)) return t("grid.floor");
  const psnr = metrics.psnr === null ? "" : `${formatNumber(metrics.psnr, locale)} dB · `;
  return `${psnr}SSIM ${formatNumber(metrics.ssim, locale)}`;
}

/** Everything about a cell, for the line below and for the enlarged picture. @param {GridData} data @param {GridCell} cell @param {Language} language */
export function detail(data, cell, language) {
  const { t, locale } = language;
  const settings = everySetting(data, cell).map(([name, label]) => h("span", { class: "patchbay-grid-setting" }, `${t(`grid.axis.${name}`)} `, h("b", {}, foreignText(plainText(label, 160)))));
  const { metrics } = cell;
  const compared = metrics && `${t("grid.against", { name: plainText(cell.reference, 160) })} ${metrics.identical ? t("grid.identical") : `MAE ${formatNumber(metrics.mae, locale)}, PSNR ${formatNumber(metrics.psnr, locale)} dB, SSIM ${formatNumber(metrics.ssim, locale, 4)}`}`;
  const more = [compared, cell.seconds === null ? "" : t("grid.seconds", { seconds: formatNumber(cell.seconds, locale) }), cell.made_by && plainText(cell.made_by, 80), reportWords(plainText(cell.note, 300), locale)];
  return h("div", {}, h("p", {}, ...settings), h("p", {}, more.filter(Boolean).join(" · ")));
}

/** @param {GridData} data @param {Language} language */
export function hint(data, { t, locale }) {
  const floor = data.floor?.metrics;
  const said = !data.reference ? "" : floor?.identical ? t("grid.floorNone") : floor ? t("grid.floorIs", { mae: formatNumber(floor.mae, locale) }) : t("grid.floorUnknown");
  return h("p", {}, [t("grid.hint"), said].filter(Boolean).join(" "));
}

/** @param {GridData} data @param {Language} language */
function notes({ notes: all }, { locale }) {
  if (all.length === 0) return null;
  return h("ul", { class: "patchbay-notes" }, ...all.slice(0, NOTES).map((note) => h("li", {}, foreignText(plainText(reportWords(note, locale), 300)))));
}
