// What stands under the map in a picture: the scale, the signs, the LoRAs, and what did not land with its reasons. Pure.

import { layerName, MISSED_STATES, unappliedByReason } from "../report/blocks.mjs";
import { formatCount, plainText } from "../ui/format.mjs";
import { stateName } from "../words/i18n.mjs";
import { legendStatuses } from "./legend.mjs";
import { SCALES, scaleStops } from "./scale.mjs";
import { foreignSvg, statusSvg } from "./svg_cell.mjs";
import { ownerColour } from "../ui/owner_colours.mjs";
import { reportWords } from "../words/report_words.mjs";
import { fitText, rect, text, textWidth, wrapText } from "../ui/svg_text.mjs";

/**
 * @typedef {import("./svg.mjs").Drawing} Drawing
 * @typedef {import("./svg.mjs").Piece} Piece
 * @typedef {import("../../types/report").LayerState} LayerState
 */

const RAMP = { width: 260, height: 10, inset: 14 };
const KEY = { width: 22, height: 14, gap: 20 };
const LINE = 17;
const SIZE = 11;
const MOST_REASONS = 12;
const MOST_NAMES = 6;

/**
 * @param {Drawing} drawing
 * @param {number} width
 * @returns {Piece}
 */
export function legendSvg(drawing, width) {
  let height = 0;
  /** @type {string[]} */
  const parts = [];
  for (const piece of [ramp(drawing), keys(drawing, width), owners(drawing, width), missing(drawing, width)]) {
    if (piece.text === "") continue;
    parts.push(`<g transform="translate(0 ${height})">\n${piece.text}\n</g>`);
    height += piece.height + 12;
  }
  return { width, height: height - 12, text: parts.join("\n") };
}

/** @param {Drawing} drawing @returns {Piece} */
function ramp({ map, language: { t, locale }, palette }) {
  const { ticks, place, format } = SCALES[map.scale];
  const stops = scaleStops(map.scale).map(([at, colour]) => `<stop offset="${at.toFixed(3)}" stop-color="${colour}"/>`);
  const title = map.scale === "factor" ? t("legend.factor") : map.view === "resident" ? t("map.view.resident") : t(`metric.${map.metric.id}.hint`);
  const lines = [
    `<defs><linearGradient id="ramp">${stops.join("")}</linearGradient></defs>`,
    text(0, 9, title, { fill: palette.soft, "font-size": SIZE }),
    rect(RAMP.inset, 16, RAMP.width, RAMP.height, { fill: "url(#ramp)", rx: 2 }),
    ...ticks.map((tick) => text(RAMP.inset + place(tick) * RAMP.width, 38, format(tick, locale), { fill: palette.soft, "font-size": 10, "text-anchor": "middle" })),
  ];
  return { width: RAMP.width, height: 42, text: lines.join("\n") };
}

/** Only the signs that occur. @param {Drawing} drawing @param {number} width @returns {Piece} */
function keys({ map, language: { t }, palette }, width) {
  const box = { x: 0, y: 0, width: KEY.width, height: KEY.height };
  const all = legendStatuses(map).map((status) => ({ sign: statusSvg(status, null, box, palette), words: t(`legend.${status}`) }));
  if (map.foreign) all.push({ sign: rect(0, 0, KEY.width, KEY.height, { fill: "#179fa5" }) + foreignSvg(box), words: t("legend.foreign") });
  let [x, y] = [0, 0];
  const items = all.map(({ sign, words }) => {
    const room = KEY.width + 8 + textWidth(words, SIZE) + KEY.gap;
    if (x > 0 && x + room - KEY.gap > width) [x, y] = [0, y + KEY.height + 8];
    const item = `<g transform="translate(${x} ${y})">${sign}${text(KEY.width + 8, 11, words, { fill: palette.soft, "font-size": SIZE })}</g>`;
    x += Math.ceil(room);
    return item;
  });
  return { width, height: y + KEY.height, text: items.join("\n") };
}

/** @param {Drawing} drawing @param {number} width @returns {Piece} */
function owners({ map, language: { t, locale }, palette }, width) {
  if (map.owners.length < 2) return { width: 0, height: 0, text: "" };
  const lines = map.owners.flatMap(({ name, share, foreign }, i) => {
    const words = [foreign ? t("map.foreign") : plainText(name, 80), share === null ? "" : SCALES.share.format(share, locale)].filter(Boolean).join(" · ");
    return [rect(0, i * LINE + 1, 10, 10, { fill: ownerColour(i), rx: 2 }), text(18, i * LINE + 10, fitText(words, SIZE, width - 18), { fill: palette.soft, "font-size": SIZE })];
  });
  return { width: 0, height: map.owners.length * LINE - 4, text: lines.join("\n") };
}

/** By reason, with the layers for which it holds. @param {Drawing} drawing @param {number} width @returns {Piece} */
function missing({ map, language: { t, locale }, palette }, width) {
  const layers = map.groups.flatMap((group) => group.rows).flatMap((row) => row.layers);
  const groups = unappliedByReason(layers).filter(({ state }) => MISSED_STATES.includes(/** @type {LayerState} */ (state)));
  const n = groups.reduce((sum, group) => sum + group.count, 0);
  if (n === 0) return { width, height: 0, text: "" };
  const reasons = groups.flatMap(({ state, reasons: all }) => all.map(({ reason, layers: its }) => ({ state, reason, its })));
  const lines = [text(0, 10, t("map.missing", { n: formatCount(n, locale) }), { "font-weight": 700 })];
  let y = 10;
  for (const { state, reason, its } of reasons.slice(0, MOST_REASONS)) {
    const names = its.slice(0, MOST_NAMES).map((layer) => plainText(layerName(layer), 80));
    if (its.length > names.length) names.push(t("card.more", { n: formatCount(its.length - names.length, locale) }));
    const head = `${formatCount(its.length, locale)} ${stateName(state, t)}${reason ? `: ${plainText(reportWords(reason, locale), 300)}` : ""}`;
    for (const [words, fill] of [...wrapText(head, SIZE, width, 3).map((each) => [each, palette.ink]), ...wrapText(names.join(", "), SIZE, width - 14, 3).map((each) => [each, palette.soft])]) {
      y += LINE;
      lines.push(text(fill === palette.ink ? 0 : 14, y, words ?? "", { fill: fill ?? "", "font-size": SIZE }));
    }
  }
  const rest = reasons.length - MOST_REASONS;
  if (rest > 0) lines.push(text(0, (y += LINE), t("card.more", { n: formatCount(rest, locale) }), { fill: palette.soft, "font-size": SIZE }));
  return { width, height: y + 4, text: lines.join("\n") };
}
