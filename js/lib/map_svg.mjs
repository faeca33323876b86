// The map as a picture that stands on its own: SVG text with title, legend and the reasons of what did not land. Pure.

import { plainText } from "./format.mjs";
import { drawsWholeBlocks } from "./map_figures.mjs";
import { SCALES, colourOf, scaleStops } from "./map_scale.mjs";
import { asLine, describe, groupTitle } from "./map_words.mjs";
import { ownerColour } from "./owner_colours.mjs";

/**
 * @typedef {import("../types/map").ModelMap} ModelMap
 * @typedef {import("../types/map").MapGroup} MapGroup
 * @typedef {import("../types/map").MapRow} MapRow
 * @typedef {import("../types/map").MapCell} MapCell
 * @typedef {import("./i18n.mjs").Language} Language
 * @typedef {{ground: string, ink: string, soft: string, line: string, sunk: string, alarm: string}} Palette
 */

/** @type {Record<"dark" | "light", Palette>} */
export const PALETTES = {
  dark: { ground: "#26262a", ink: "#f0f0f0", soft: "#bdbdc4", line: "#5a5a62", sunk: "#1a1a1d", alarm: "#ff7a5c" },
  light: { ground: "#ffffff", ink: "#1c1c1f", soft: "#55555e", line: "#b9b9c2", sunk: "#eeeef1", alarm: "#c22a0a" },
};

const CELL = { width: 30, height: 18, gap: 2 };
const LABEL = 26;
const VALUE = 54;
const LIST_LABEL = 190;
const MARGIN = 24;
const GROUP_GAP = 36;
const HEAD = 104;
const TOP = 78;
const MOST_ROWS = 400;
const FONT = "Inter, 'Noto Sans', 'Noto Sans CJK JP', 'Hiragino Sans', Meiryo, system-ui, sans-serif";

/**
 * @param {ModelMap} map
 * @param {{title: string, subtitle: string, language: Language, palette: Palette}} how
 * @returns {{svg: string, width: number, height: number}}
 */
export function mapSvg(map, { title, subtitle, language, palette }) {
  const groups = map.groups.filter((group) => group.rows.length > 0);
  /** @type {string[]} */
  const parts = [];
  let [x, tallest] = [MARGIN, 0];
  for (const group of groups) {
    const { width, height, text } = groupSvg(map, group, x, language, palette);
    parts.push(text);
    tallest = Math.max(tallest, height);
    x += width + GROUP_GAP;
  }
  const width = Math.max(640, x - GROUP_GAP + MARGIN);
  const foot = TOP + tallest + 28;
  const height = foot + 58 + (map.owners.length > 1 ? map.owners.length * 18 : 0);
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" font-family="${FONT}" font-size="12" fill="${palette.ink}">`,
    `<title>${escape(title)}</title>`,
    `<desc>${escape(subtitle)}</desc>`,
    hatch(palette),
    `<rect width="${width}" height="${height}" fill="${palette.ground}"/>`,
    text(MARGIN, 36, title, { "font-size": 18, "font-weight": 700 }),
    text(MARGIN, 58, subtitle, { fill: palette.soft }),
    ...parts,
    legend(map, MARGIN, foot, language, palette),
    owners(map, MARGIN, foot + 56, palette, language),
    "</svg>",
  ].filter(Boolean);
  return { svg: `${svg.join("\n")}\n`, width, height };
}

/** @param {Palette} palette */
const hatch = ({ ground }) =>
  `<defs><pattern id="foreign" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2" height="5" fill="${ground}"/></pattern></defs>`;

/** @param {ModelMap} map @param {MapGroup} group @param {number} x @param {Language} language @param {Palette} palette */
function groupSvg(map, group, x, language, palette) {
  const list = group.columns.length === 0;
  const label = list ? LIST_LABEL : LABEL;
  const columns = list ? 1 : group.columns.length;
  const cells = columns * (CELL.width + CELL.gap);
  const whole = drawsWholeBlocks(map);
  const top = TOP + (list || whole ? 24 : HEAD);
  const rows = group.rows.slice(0, MOST_ROWS);
  const lines = [`<g>`, text(x, TOP + 12, groupTitle(group.kind, language.t), { "font-weight": 700 })];
  (whole ? [] : group.columns).forEach(({ label: name, band }, i) => {
    const at = x + label + i * (CELL.width + CELL.gap) + CELL.width / 2 + 4;
    if (band && group.columns[i - 1]?.band !== band) lines.push(text(at - CELL.width / 2 - 4, TOP + 30, band, { fill: palette.soft, "font-size": 11 }));
    lines.push(text(0, 0, plainText(name, 22), { transform: `translate(${at} ${top - 6}) rotate(-90)`, fill: palette.soft, "font-size": 10 }));
  });
  rows.forEach((row, i) => lines.push(rowSvg(map, row, x, top + i * (CELL.height + CELL.gap), label, list || whole ? cells - CELL.gap : null, language, palette)));
  const rest = group.rows.length - rows.length;
  if (rest > 0) lines.push(text(x, top + (rows.length + 1) * (CELL.height + CELL.gap), `+ ${rest}`, { fill: palette.soft }));
  lines.push("</g>");
  return { width: label + cells + VALUE, height: top - TOP + (rows.length + (rest > 0 ? 1 : 0)) * (CELL.height + CELL.gap), text: lines.join("\n") };
}

/**
 * @param {ModelMap} map
 * @param {MapRow} row
 * @param {number} x
 * @param {number} y
 * @param {number} label
 * @param {number | null} wide pixels of the one cell of a row that has no others
 * @param {Language} language
 * @param {Palette} palette
 */
function rowSvg(map, row, x, y, label, wide, language, palette) {
  const list = label === LIST_LABEL;
  const middle = y + CELL.height / 2 + 4;
  const cells = wide !== null ? [cellSvg(map, row, row, x + label, y, language, palette, wide)] : row.cells.map((cell, i) => cellSvg(map, row, cell, x + label + i * (CELL.width + CELL.gap), y, language, palette));
  const value = row.value === null ? "" : SCALES[map.scale].format(row.value, language.locale);
  const end = x + label + (list ? 1 : row.cells.length) * (CELL.width + CELL.gap) + VALUE - 8;
  const name = list ? plainText(row.label, 30) || language.t("column.none") : row.label;
  return [
    text(list ? x : x + label - 6, middle, name, { fill: palette.soft, "font-size": 11, "text-anchor": list ? "start" : "end" }),
    ...cells,
    value && text(end, middle, value, { "font-size": 11, "text-anchor": "end" }),
  ].filter(Boolean).join("\n");
}

/**
 * @param {ModelMap} map
 * @param {MapRow} row
 * @param {MapCell | MapRow} cell
 * @param {number} x
 * @param {number} y
 * @param {Language} language
 * @param {Palette} palette
 * @param {number} [width]
 */
function cellSvg(map, row, cell, x, y, language, palette, width = CELL.width) {
  const told = describe(map, row, "column" in cell ? cell : null, language);
  const missed = cell.status === "partial" || cell.status === "missed";
  const fill = cell.value !== null ? colourOf(map.scale, cell.value) : cell.status === "untouched" ? "none" : palette.sunk;
  const shapes = [rect(x, y, width, CELL.height, { fill, stroke: missed ? palette.alarm : palette.line, "stroke-width": missed ? 2 : 1 })];
  for (const part of "parts" in cell ? cell.parts : []) {
    const of = part.value === null ? palette.sunk : colourOf(map.scale, part.value);
    shapes.push(rect(x + part.from * width, y, (part.to - part.from) * width, CELL.height, { fill: of }));
  }
  if (cell.foreign) shapes.push(rect(x, y, width, CELL.height, { fill: "url(#foreign)" }));
  if (cell.status === "unmeasured") shapes.push(text(x + width / 2, y + 12, "?", { "text-anchor": "middle", fill: palette.soft, "font-size": 10 }));
  if (cell.status === "skipped") shapes.push(rect(x + 10, y + CELL.height / 2 - 1, width - 20, 2, { fill: palette.soft }));
  let left = x;
  for (const { owner, share } of "shares" in cell ? cell.shares : []) {
    shapes.push(rect(left, y + CELL.height - 5, share * width, 5, { fill: ownerColour(owner) }));
    left += share * width;
  }
  return `<g>${shapes.join("")}<title>${escape(asLine(told))}</title></g>`;
}

/** @param {ModelMap} map @param {number} x @param {number} y @param {Language} language @param {Palette} palette */
function legend(map, x, y, { t, locale }, palette) {
  const { ticks, place, format } = SCALES[map.scale];
  const width = 240;
  const stops = scaleStops(map.scale).map(([at, colour]) => `<stop offset="${at.toFixed(3)}" stop-color="${colour}"/>`);
  const title = map.scale === "factor" ? t("legend.factor") : map.view === "resident" ? t("map.view.resident") : t(`metric.${map.metric.id}.hint`);
  return [
    `<defs><linearGradient id="ramp">${stops.join("")}</linearGradient></defs>`,
    text(x, y, title, { fill: palette.soft, "font-size": 11 }),
    rect(x, y + 8, width, 10, { fill: "url(#ramp)" }),
    ...ticks.map((tick) => text(x + place(tick) * width, y + 32, format(tick, locale), { fill: palette.soft, "font-size": 10, "text-anchor": "middle" })),
  ].join("\n");
}

/** @param {ModelMap} map @param {number} x @param {number} y @param {Palette} palette @param {Language} language */
function owners(map, x, y, palette, { t, locale }) {
  if (map.owners.length < 2) return "";
  return map.owners
    .map(({ name, share, foreign }, i) => {
      const line = `${foreign ? t("map.foreign") : plainText(name, 80)} ${share === null ? "" : SCALES.share.format(share, locale)}`;
      return rect(x, y + i * 18, 10, 10, { fill: ownerColour(i) }) + text(x + 16, y + 9 + i * 18, line, { fill: palette.soft, "font-size": 11 });
    })
    .join("\n");
}

/** @param {number} x @param {number} y @param {number} width @param {number} height @param {Record<string, string | number>} more */
const rect = (x, y, width, height, more) => `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"${attributes(more)}/>`;

/** @param {number} x @param {number} y @param {string} content @param {Record<string, string | number>} [more] */
const text = (x, y, content, more = {}) => `<text x="${round(x)}" y="${round(y)}"${attributes(more)}>${escape(content)}</text>`;

/** @param {Record<string, string | number>} values */
const attributes = (values) => Object.entries(values).map(([name, value]) => ` ${name}="${escape(String(value))}"`).join("");

/** @param {number} value */
const round = (value) => Number(value.toFixed(1));

/** Text of a file as XML text: no markup, no character that XML forbids. @param {string} value */
const escape = (value) =>
  plainText(value, 600)
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|[\ufffe\uffff]/g, "�")
    .replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
