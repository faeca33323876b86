// What the map says in words: for the pointer, for screen readers and for pictures that leave the page. Pure.

import { MISSED_STATES } from "../report/blocks.mjs";
import { formatCount, plainText, shortKind } from "../ui/format.mjs";
import { stateName } from "../words/i18n.mjs";
import { encoderName, isTextEncoder } from "./encoders.mjs";
import { SCALES } from "./scale.mjs";
import { reportWords } from "../words/report_words.mjs";

/**
 * @typedef {import("../../types/map").ModelMap} ModelMap
 * @typedef {import("../../types/map").MapCell} MapCell
 * @typedef {import("../../types/map").MapRow} MapRow
 * @typedef {import("../../types/report").LayerReport} LayerReport
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

const MOST_REASONS = 4;

/** @param {string} kind @param {Language["t"]} t */
export function groupTitle(kind, t) {
  if (kind === "other") return t("column.other");
  if (isTextEncoder(kind)) return [t("map.encoder"), plainText(encoderName(kind), 24)].filter(Boolean).join(" · ");
  return kind === "" ? t("column.none") : plainText(shortKind(kind), 32);
}

/** @param {MapRow} row @param {Language["t"]} t */
export function rowName(row, t) {
  if (row.address === "") return t("column.none");
  const { kind, rest } = /** @type {{kind: string, rest: string}} */ (/^(?<kind>other|te)\|(?<rest>.*)$/s.exec(row.address)?.groups ?? { kind: "", rest: "" });
  return kind ? plainText(`${t(kind === "te" ? "map.encoder" : "column.other")} ${rest}`, 120) : plainText(row.name, 80);
}

/** Fates that leave a weight as it was. @type {import("../../types/map").CellStatus[]} */
const NOTHING_ADDED = ["skipped", "dead"];

/** The figure at the end of a row: a dash only where something is not known. @param {ModelMap} map @param {MapRow} row @param {string} locale */
export function rowValue(map, row, locale) {
  if (row.value !== null) return SCALES[map.scale].format(row.value, locale);
  if (row.status === "untouched") return "";
  return NOTHING_ADDED.includes(row.status) && map.scale !== "factor" ? "0" : "–";
}

/** What the whole map shows: view, figure, and the model's own. @param {ModelMap} map @param {Language} language */
export function mapCaption(map, { t, locale }) {
  const what = [t(`map.view.${map.view}`), map.view === "resident" ? "" : t(`metric.${map.metric.id}`)];
  if (map.scale === "factor") what.unshift(t("map.compare.difference"));
  if (map.value !== null) what.push(`${t("map.whole")} ${SCALES[map.scale].format(map.value, locale)}`);
  return what.filter(Boolean).join(" · ");
}

/**
 * The head line and the facts on a cell or a whole row.
 * @param {ModelMap} map
 * @param {MapRow} row
 * @param {MapCell | null} cell
 * @param {Language} language
 * @returns {{title: string, facts: string[], reasons: string[]}}
 */
export function describe(map, row, cell, language) {
  const { t, locale } = language;
  const it = cell ?? row;
  const title = [rowName(row, t), cell ? plainText(cell.name, 100) : ""].filter(Boolean).join(" · ");
  const facts = [valueText(map, it, language), ...statesText(it.layers, language)];
  if (row.stranger) facts.push(t("cell.foreign"));
  const shares = it.shares ?? [];
  if (it.foreign && shares.length === 0) facts.push(t("map.foreign"));
  const names = partNames(cell?.column ?? "", cell?.parts.length ?? 0);
  for (const [i, part] of (cell?.parts ?? []).entries()) {
    const name = names[i] ?? `${Math.round(part.from * 100)}–${Math.round(part.to * 100)} %`;
    facts.push(`${name}: ${SCALES[map.scale].format(part.value, locale)}`);
  }
  for (const { owner, share } of shares) {
    const by = map.owners[owner];
    facts.push(`${by?.foreign ? t("map.foreign") : plainText(by?.name ?? "", 80)}: ${SCALES.share.format(share, locale)}`);
  }
  return { title, facts: facts.filter(Boolean), reasons: reasonsOf(it.layers, language) };
}

/**
 * What the slices of a fused weight are, by the same rule as nodes/core/model/slices.py.
 * @param {string} layer
 * @param {number} count
 */
function partNames(layer, count) {
  const last = layer.split(".").pop() ?? "";
  if (/qkv|in_proj/.test(last) && count === 3) return ["q", "k", "v"];
  if (last === "linear1" && count === 4) return ["q", "k", "v", "mlp"];
  if (last === "linear2" && count === 2) return ["attn", "mlp"];
  return [];
}

/** @param {ModelMap} map @param {MapCell | MapRow} it @param {Language} language */
function valueText(map, it, { t, locale }) {
  const { format } = SCALES[map.scale];
  if (it.pair) {
    const own = SCALES[map.view === "resident" ? "share" : map.metric.scale].format;
    return `${own(it.pair[0], locale)} → ${own(it.pair[1], locale)} (${format(it.value, locale)})`;
  }
  if (it.status === "untouched" && it.value === null) return t("cell.untouched");
  if (it.value !== null) return `${t(map.view === "resident" ? "map.view.resident" : `metric.${map.metric.id}`)} ${format(it.value, locale)}`;
  if (it.status !== "unmeasured") return "";
  const why = it.layers.map((layer) => layer.not_measured).find(Boolean);
  return why ? `${t("cell.unmeasured")}: ${plainText(reportWords(why, locale), 200)}` : t("cell.unmeasured");
}

/** @param {LayerReport[]} layers @param {Language} language */
function statesText(layers, { t, locale }) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { state } of layers) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, n]) => `${formatCount(n, locale)} ${stateName(state, t)}`);
}

/** @param {LayerReport[]} layers @param {Language} language */
function reasonsOf(layers, { t, locale }) {
  const missed = layers.filter((layer) => MISSED_STATES.includes(layer.state) && layer.reason);
  const reasons = [...new Set(missed.map((layer) => plainText(reportWords(layer.reason, locale), 240)))];
  const rest = reasons.length - MOST_REASONS;
  return rest > 0 ? [...reasons.slice(0, MOST_REASONS), t("card.more", { n: rest })] : reasons;
}

/** Everything on one line, for a screen reader. @param {ReturnType<typeof describe>} told */
export const asLine = ({ title, facts, reasons }) => [title, ...facts, ...reasons].join(" · ");
