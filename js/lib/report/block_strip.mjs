// One small cell for each block in the order of the model; the colour is how strongly the block was changed.

import { blockColumns } from "./blocks.mjs";
import { h, setStyle } from "../ui/dom.mjs";
import { formatNumber, formatRatio, plainText, shortKind } from "../ui/format.mjs";
import { stateName } from "../words/i18n.mjs";
import { RATIO_TICKS, ratioColour, scaleGradient, scalePosition } from "../ui/scale.mjs";

/**
 * @typedef {import("./blocks.mjs").BlockCell} BlockCell
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

/**
 * @param {import("../../types/report").Report} report
 * @param {Language} language
 * @returns {HTMLElement | null} nothing where no block is known
 */
export function renderBlockStrip(report, language) {
  const distances = new Map((report.model_blocks ?? []).flatMap(({ block, distance }) => (distance === null ? [] : [[block, distance]])));
  const columns = distances.size > 0 ? distanceColumns(report, distances) : blockColumns(report);
  if (columns.length === 0 || (report.layers.length === 0 && distances.size === 0)) return null;
  const { t } = language;
  const strongest = Math.max(...columns.flatMap((column) => column.cells.map((cell) => cell.norm ?? 0)));
  const inspected = report.kind === "inspect";
  const [name, hint] = distances.size > 0 ? [t("metric.distance"), t("metric.distance.hint")] : [t("card.strip"), t(inspected ? "card.strip.file" : "card.strip.hint")];
  const detail = h("span", { class: "patchbay-strip-detail" }, hint);
  const groups = columns.map((column) =>
    h(
      "div",
      { class: "patchbay-strip-group", style: { "--patchbay-count": column.cells.length } },
      h("span", { class: "patchbay-strip-kind" }, columnName(column.kind, t)),
      h("div", { class: "patchbay-strip-cells" }, ...column.cells.map((cell) => cellElement(cell, strongest, language))),
    ),
  );
  const strip = h("div", { class: "patchbay-strip", role: "group", "aria-label": name }, ...groups);
  /** @param {EventTarget | null} target */
  const show = (target) => {
    const cell = target instanceof Element ? target.closest(".patchbay-cell") : null;
    detail.textContent = cell?.getAttribute("aria-label") ?? hint;
  };
  strip.addEventListener("pointerover", (event) => show(event.target));
  strip.addEventListener("pointerleave", () => show(null));
  strip.addEventListener("focusin", (event) => show(event.target));
  strip.addEventListener("focusout", () => show(null));
  strip.addEventListener("keydown", (event) => moveFocus(strip, event));
  strip.querySelector(".patchbay-cell")?.setAttribute("tabindex", "0");
  return h("div", { class: "patchbay-blocks" }, strip, h("div", { class: "patchbay-strip-foot" }, detail, !inspected && legend(language)));
}

/**
 * How far a second model lies from the first, block by block.
 * @param {import("../../types/report").Report} report
 * @param {Map<string, number>} distances by block
 */
function distanceColumns(report, distances) {
  return blockColumns({ ...report, layers: [] }).map(({ kind, cells }) => ({
    kind,
    cells: cells.map((cell) => {
      const ratio = distances.get(cell.address) ?? null;
      /** @type {BlockCell} */
      const apart = { ...cell, ratio, apart: true, status: ratio === null ? "unmeasured" : "applied" };
      return apart;
    }),
  }));
}

/** @param {string} kind @param {Language["t"]} t */
function columnName(kind, t) {
  if (kind === "other" || kind === "te") return t(`column.${kind}`);
  return kind === "" ? t("column.none") : plainText(shortKind(kind), 24);
}

/**
 * Colour says "changed this much", which a file alone cannot know: there the cell is filled by the delta's own size.
 * @param {BlockCell} cell
 * @param {number} strongest largest norm of all cells
 * @param {Language} language
 */
function cellElement(cell, strongest, language) {
  const classes = ["patchbay-cell", `patchbay-cell-${cell.status}`];
  if (cell.foreign) classes.push("patchbay-cell-foreign");
  if (cell.ratio !== null) classes.push("patchbay-cell-coloured");
  const element = h("span", { class: classes.join(" "), role: "img", tabindex: -1, "aria-label": describeCell(cell, language) });
  if (cell.ratio !== null) setStyle(element, { "--patchbay-ratio": ratioColour(cell.ratio) });
  if (cell.status === "present") setStyle(element, { "--patchbay-fill": `${strongest > 0 ? Math.round((100 * (cell.norm ?? 0)) / strongest) : 0}%` });
  return element;
}

/**
 * `double 3 · change 2.31% · 11 applied, 1 shape does not fit`
 * @param {BlockCell} cell
 * @param {Language} language
 */
export function describeCell(cell, { t, locale }) {
  const parts = [plainText(cell.address === "other" || cell.address === "te" || cell.address === "" ? columnName(cell.address, t) : cell.name, 60)];
  if (cell.foreign) parts.push(t("cell.foreign"));
  if (cell.apart) return [...parts, cell.ratio === null ? t("legend.unmeasured") : `${t("metric.distance")} ${formatRatio(cell.ratio, locale)}`].join(" · ");
  if (cell.total === 0) return [...parts, t("cell.untouched")].join(" · ");
  const applied = cell.counts.applied ?? 0;
  if (applied > 0) {
    parts.push(cell.ratio === null ? t("cell.unmeasured") : t("cell.change", { ratio: formatRatio(cell.ratio, locale) }));
    if (cell.measured > 0 && cell.measured < applied) parts.push(t("cell.partlyMeasured", { measured: cell.measured, applied }));
  }
  if (cell.status === "present" && cell.norm !== null) parts.push(t("cell.norm", { norm: formatNumber(cell.norm, locale) }));
  parts.push(Object.entries(cell.counts).map(([state, n]) => `${n} ${stateName(state, t)}`).join(", "));
  return parts.join(" · ");
}

/**
 * Arrow keys, Home and End go from cell to cell; only one of them is in the tab order.
 * @param {HTMLElement} strip
 * @param {KeyboardEvent} event
 */
function moveFocus(strip, event) {
  const cells = /** @type {HTMLElement[]} */ ([...strip.querySelectorAll(".patchbay-cell")]);
  const at = cells.indexOf(/** @type {HTMLElement} */ (event.target));
  const targets = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: cells.length - 1 };
  const target = cells[targets[/** @type {keyof typeof targets} */ (event.key)] ?? -1];
  if (at < 0 || !target) return;
  event.preventDefault();
  event.stopPropagation();
  cells[at]?.setAttribute("tabindex", "-1");
  target.setAttribute("tabindex", "0");
  target.focus();
}

/** @param {Language} language */
function legend({ locale }) {
  const ticks = RATIO_TICKS.map((ratio) =>
    h("span", { class: "patchbay-tick", style: { left: `${scalePosition(ratio) * 100}%` } }, formatRatio(ratio, locale)),
  );
  const ramp = h("span", { class: "patchbay-ramp", style: { background: scaleGradient() } });
  return h("span", { class: "patchbay-legend", "aria-hidden": "true" }, ramp, ...ticks);
}
