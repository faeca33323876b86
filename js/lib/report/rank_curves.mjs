// What smaller ranks keep of a LoRA: a curve for each block and for the file, the ranks that blocks need, and a smaller file.

import { foreignText, h, svg } from "../ui/dom.mjs";
import { formatBytes, formatCount, formatRatio, plainText } from "../ui/format.mjs";
import { reportWords } from "../words/report_words.mjs";
import { barCell, barStrip, placeName } from "./bar_strip.mjs";

/**
 * @typedef {import("../../types/report").RankCurve} RankCurve
 * @typedef {import("../../types/report").Resized} Resized
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {{state: "busy" | "done" | "failed", energy: number, made?: Resized, problem?: string}} Saving
 */

const WIDTH = 320;
const HEIGHT = 96;
const LEFT = 30;
const BOTTOM = 14;
const SHARES = [95, 98, 99];
/** Curves of single blocks that are drawn at most. */
const MOST_CURVES = 120;

/**
 * @param {{ranks?: RankCurve[]}} report
 * @param {Language} language
 * @param {Saving | null} saving
 * @param {((energy: number) => void) | null} save writes a smaller file; null where the file's name is not known
 */
export function renderRanks({ ranks }, language, saving, save) {
  const [whole, ...blocks] = ranks ?? [];
  if (!whole || whole.ranks.length < 2) return null;
  const { t, locale } = language;
  const needed = t("rank.needed", { stored: formatCount(whole.stored, locale), low: whole.needed[0] ?? 0, middle: whole.needed[1] ?? 0, high: whole.needed[2] ?? 0 });
  const cells = blocks.map((curve) => ({ block: curve.block, cell: barCell(curve.block, curve.stored > 0 ? (curve.needed[2] ?? 0) / curve.stored : 0, false, blockWords(curve, language), language) }));
  return h(
    "div",
    { class: "patchbay-ranks" },
    h("p", {}, h("strong", {}, t("rank.title")), " ", needed),
    chart(whole, blocks, language),
    barStrip(cells, t("rank.strip"), language),
    h("p", { class: "patchbay-muted patchbay-caption" }, t("rank.strip")),
    saveButtons(whole, language, saving, save),
  );
}

/** @param {RankCurve} curve @param {Language} language */
function blockWords(curve, { t, locale }) {
  const words = [t("rank.needed", { stored: formatCount(curve.stored, locale), low: curve.needed[0] ?? 0, middle: curve.needed[1] ?? 0, high: curve.needed[2] ?? 0 })];
  if (curve.over_ranked > 0) words.push(t("rank.over", { n: curve.over_ranked, layers: curve.layers }));
  if (curve.dead > 0) words.push(t("rank.dead", { n: curve.dead }));
  return words;
}

/** Share kept over rank, the file thick, its blocks thin. @param {RankCurve} whole @param {RankCurve[]} blocks @param {Language} language */
function chart(whole, blocks, language) {
  const most = Math.max(2, whole.ranks.at(-1) ?? 2);
  /** @param {number} rank */
  const x = (rank) => LEFT + (Math.log(rank) / Math.log(most)) * (WIDTH - LEFT - 4);
  /** @param {number} share */
  const y = (share) => 4 + (1 - share) * (HEIGHT - BOTTOM - 4);
  /** @param {RankCurve} curve */
  const path = (curve) => curve.ranks.map((rank, at) => `${at > 0 ? "L" : "M"}${rounded(x(rank))} ${rounded(y(curve.kept[at] ?? 0))}`).join("");
  const ticks = powers(most).map((rank) => svg("text", { class: "patchbay-rank-tick", x: rounded(x(rank)), y: HEIGHT - 2, "text-anchor": rank === 1 ? "start" : rank === most ? "end" : "middle" }, rank));
  const grid = [0, 0.5, 1].flatMap((share) => [
    svg("line", { class: "patchbay-rank-grid", x1: LEFT, x2: WIDTH - 4, y1: rounded(y(share)), y2: rounded(y(share)) }),
    svg("text", { class: "patchbay-rank-tick", x: LEFT - 4, y: rounded(y(share)) + 3.5, "text-anchor": "end" }, `${share * 100}%`),
  ]);
  const marks = whole.needed.map((rank, at) => svg("circle", { class: "patchbay-rank-mark", cx: rounded(x(rank || 1)), cy: rounded(y((SHARES[at] ?? 0) / 100)), r: 2.6 }, svg("title", {}, `${SHARES[at]}%: ${rank}`)));
  return svg(
    "svg",
    { class: "patchbay-rank-chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": language.t("rank.chart") },
    ...grid,
    ...ticks,
    ...blocks.slice(0, MOST_CURVES).map((curve) => svg("path", { class: "patchbay-rank-block", d: path(curve) }, svg("title", {}, placeName(curve.block, language)))),
    svg("path", { class: "patchbay-rank-whole", d: path(whole) }),
    ...marks,
  );
}

/** 1, 2, 4, ... with the last one. @param {number} most */
function powers(most) {
  const found = [];
  for (let rank = 1; rank < most / 1.4; rank *= 2) found.push(rank);
  return [...found, most];
}

/** @param {number} value */
const rounded = (value) => Math.round(value * 10) / 10;

/** @param {RankCurve} whole @param {Language} language @param {Saving | null} saving @param {((energy: number) => void) | null} save */
function saveButtons(whole, { t, locale }, saving, save) {
  if (!save || whole.stored < 2) return "";
  const button = (/** @type {number} */ share) =>
    h("button", { type: "button", class: "patchbay-button", disabled: saving?.state === "busy", title: t("rank.save.hint", { share }), on: { click: () => save(share / 100) } }, t("rank.save", { share }));
  return h("div", { class: "patchbay-rank-save" }, ...SHARES.map(button), h("span", { role: "status", class: saving?.state === "failed" ? "patchbay-rank-failed" : "" }, savingWords(saving, t, locale)));
}

/** @param {Saving | null} saving @param {Language["t"]} t @param {string} locale */
function savingWords(saving, t, locale) {
  if (!saving) return "";
  if (saving.state === "busy") return t("rank.busy");
  if (saving.state === "failed" || !saving.made) return foreignText(plainText(reportWords(saving.problem, locale), 300));
  const { file, size_bytes, before_bytes, error } = saving.made;
  return foreignText(t("rank.done", { file: plainText(file, 160), size: formatBytes(size_bytes, locale), before: formatBytes(before_bytes, locale), error: formatRatio(error, locale) }));
}
