// The map as a picture that stands on its own: SVG text with title, legend and what did not land. Pure.

import { endOfText, formatCount, plainText } from "../ui/format.mjs";
import { isTextEncoder } from "./encoders.mjs";
import { drawsAsList, drawsWholeBlocks, shownRows } from "./figures.mjs";
import { cellSvg, patterns } from "./svg_cell.mjs";
import { legendSvg } from "./svg_legend.mjs";
import { groupTitle, mapCaption, rowValue } from "./words.mjs";
import { escapeXml, fitText, line, rect, text, textWidth, wrapText } from "../ui/svg_text.mjs";

/**
 * @typedef {import("../../types/map").ModelMap} ModelMap
 * @typedef {import("../../types/map").MapGroup} MapGroup
 * @typedef {import("../../types/map").MapRow} MapRow
 * @typedef {import("../../types/map").MapColumn} MapColumn
 * @typedef {import("../words/i18n.mjs").Language} Language
 * @typedef {{ground: string, ink: string, soft: string, line: string, sunk: string, alarm: string}} Palette
 * @typedef {{map: ModelMap, language: Language, palette: Palette}} Drawing
 * @typedef {{width: number, height: number, text: string}} Piece
 */

/** @type {Record<"dark" | "light", Palette>} */
export const PALETTES = {
  dark: { ground: "#26262a", ink: "#f0f0f0", soft: "#bdbdc4", line: "#5a5a62", sunk: "#1a1a1d", alarm: "#ff7a5c" },
  light: { ground: "#ffffff", ink: "#1c1c1f", soft: "#55555e", line: "#b9b9c2", sunk: "#eeeef1", alarm: "#c22a0a" },
};

const CELL = { width: 30, height: 20, gap: 2 };
const BAND_GAP = 6;
const MARGIN = 28;
const GROUP_GAP = 34;
const LEAST_WIDTH = 680;
/** What lies outside of the model's blocks goes under these, where that makes the picture no taller than this. */
const LEAST_HEIGHT = 340;
const VALUE = 52;
const TITLE = { size: 18, line: 24, most: 2 };
const SUBTITLE = { size: 12, line: 18, most: 4 };
const HEADING = { most: 22, size: 10, line: 18 };
/** A row outside of blocks: pixels of its name. */
const LIST_LABEL = { least: 90, most: 230, gap: 10 };
const MOST_ROWS = 400;
const FONT = "Inter, 'Noto Sans', 'Noto Sans CJK JP', 'Hiragino Sans', Meiryo, system-ui, sans-serif";

/**
 * @param {ModelMap} map
 * @param {{title: string, subtitle: string, sides?: string, language: Language, palette: Palette}} how `sides` names the two that are compared
 * @returns {{svg: string, width: number, height: number}}
 */
export function mapSvg(map, { title, subtitle, sides = "", language, palette }) {
  const drawing = { map, language, palette };
  const groups = map.groups.map((group) => ({ ...group, rows: shownRows(map, group), rest: group.rows.length })).filter(({ rows, rest }) => rows.length > 0 || (rest > 0 && !drawsWholeBlocks(map)));
  const isOfTheModel = ofTheModel(map);
  const inBlocks = groups.filter(isOfTheModel);
  const pieces = groups.map((group) => groupSvg(group, group.rest - group.rows.length, headRoom(map, isOfTheModel(group) ? inBlocks : [group]), drawing));
  const columns = inColumns(groups.map(isOfTheModel), pieces);
  const width = Math.max(LEAST_WIDTH, columns.reduce((sum, column) => sum + column.width + GROUP_GAP, 2 * MARGIN - GROUP_GAP));
  const inside = width - 2 * MARGIN;
  const head = headSvg([title, subtitle, mapCaption(map, language), sides], inside, palette);
  const legendTop = head.height + Math.max(0, ...columns.map((column) => column.height)) + 26;
  const legend = legendSvg(drawing, inside);
  const height = legendTop + legend.height + MARGIN - 6;
  let x = MARGIN;
  const placed = columns.map((column) => {
    const at = x;
    x += column.width + GROUP_GAP;
    return moved(at, head.height, column.text);
  });
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" xml:lang="${language.locale}" font-family="${FONT}" font-size="12" fill="${palette.ink}">`,
    `<title>${escapeXml(title)}</title>`,
    `<desc>${escapeXml(subtitle)}</desc>`,
    patterns(palette),
    rect(0, 0, width, height, { fill: palette.ground }),
    head.text,
    ...placed,
    moved(MARGIN, legendTop, legend.text),
    "</svg>",
  ].filter(Boolean);
  return { svg: `${svg.join("\n")}\n`, width, height };
}

/** Title, what the report says, what the map shows, and the names of two that are compared. @param {string[]} lines @param {number} width @param {Palette} palette @returns {Piece} */
function headSvg([title = "", subtitle = "", caption = "", sides = ""], width, palette) {
  let y = MARGIN - 4;
  /** @type {string[]} */
  const parts = [];
  const add = (/** @type {string} */ words, /** @type {{size: number, line: number, most: number}} */ { size, line: height, most }, /** @type {import("../ui/svg_text.mjs").Attributes} */ look) => {
    for (const each of wrapText(words, size, width, most)) parts.push(text(MARGIN, (y += height), each, { "font-size": size, ...look }));
  };
  add(title, TITLE, { "font-weight": 700 });
  y += 2;
  add(subtitle, SUBTITLE, { fill: palette.soft });
  y += 6;
  add(caption, SUBTITLE, { "font-weight": 600 });
  add(sides, SUBTITLE, { fill: palette.soft });
  return { width, height: y + 20, text: parts.join("\n") };
}

/** Blocks of the diffusion model: what a reader looks for first. @param {ModelMap} map @returns {(group: MapGroup) => boolean} */
const ofTheModel = (map) => (group) => !drawsAsList(map, group) && !isTextEncoder(group.kind);

/**
 * Side by side; what lies outside of the model's blocks stands under them where there is room.
 * @param {boolean[]} ofBlocks whether a piece shows blocks of the model
 * @param {Piece[]} pieces
 * @returns {Piece[]}
 */
function inColumns(ofBlocks, pieces) {
  const most = Math.max(LEAST_HEIGHT, ...pieces.map(({ height }) => height));
  /** @type {Piece[]} */
  const columns = [];
  pieces.forEach((piece, i) => {
    const above = ofBlocks[i] ? undefined : columns.find(({ height }) => height + GROUP_GAP + piece.height <= most);
    if (!above) return void columns.push({ ...piece });
    above.text += `\n${moved(0, above.height + GROUP_GAP, piece.text)}`;
    above.height += GROUP_GAP + piece.height;
    above.width = Math.max(above.width, piece.width);
  });
  return columns;
}

/** @param {number} x @param {number} y @param {string} content */
const moved = (x, y, content) => `<g transform="translate(${x} ${y})">\n${content}\n</g>`;

/** Height of the headings over the blocks, the same for all, so that rows are level. @param {ModelMap} map @param {MapGroup[]} groups */
function headRoom(map, groups) {
  const columns = drawsWholeBlocks(map) ? [] : groups.flatMap((group) => group.columns);
  const longest = Math.max(0, ...columns.map(({ label }) => textWidth(endOfText(label, HEADING.most), HEADING.size)));
  return { bands: columns.some(({ band }) => band) ? HEADING.line : 0, names: columns.length > 0 ? Math.ceil(longest) + 14 : 8 };
}

/** Where the columns begin, with a gap between streams. @param {MapColumn[]} columns */
function columnPlaces(columns) {
  let x = 0;
  return columns.map(({ band }, i) => {
    if (i > 0 && columns[i - 1]?.band !== band) x += BAND_GAP;
    const at = x;
    x += CELL.width + CELL.gap;
    return at;
  });
}

/**
 * @param {MapGroup} group with the rows that are shown
 * @param {number} rest rows that nothing touched
 * @param {{bands: number, names: number}} head
 * @param {Drawing} drawing
 * @returns {Piece}
 */
function groupSvg(group, rest, head, drawing) {
  const { map, language, palette } = drawing;
  const list = drawsAsList(map, group);
  const whole = drawsWholeBlocks(map);
  const rows = group.rows.slice(0, MOST_ROWS);
  const label = list ? listLabel(rows, language) : Math.ceil(8 + textWidth(String(rows.at(-1)?.label ?? ""), 11));
  const places = list || whole ? [0] : columnPlaces(group.columns);
  const cells = (whole && !list ? 4 * CELL.width : (places.at(-1) ?? 0) + CELL.width) + CELL.gap;
  const top = 18 + (list ? 8 : head.bands + head.names);
  const lines = [text(0, 12, groupTitle(group.kind, language.t), { "font-weight": 700 })];
  if (!list && !whole) lines.push(...headings(group.columns, places, label, head, palette));
  rows.forEach((row, i) => lines.push(rowSvg(row, top + i * (CELL.height + CELL.gap), { label, list, places, cells: list || whole ? cells - CELL.gap : null, value: label + cells + VALUE - 8 }, drawing)));
  const hidden = rest + group.rows.length - rows.length;
  const below = top + rows.length * (CELL.height + CELL.gap) + 12;
  if (hidden > 0 && !whole) lines.push(text(0, below, language.t("map.rest", { n: formatCount(hidden, language.locale) }), { fill: palette.soft, "font-size": 11 }));
  return { width: Math.ceil(label + cells + VALUE), height: hidden > 0 ? below + 6 : below - 12, text: lines.join("\n") };
}

/** @param {MapRow[]} rows @param {Language} language */
function listLabel(rows, { t }) {
  const longest = Math.max(0, ...rows.map((row) => textWidth(rowLabel(row, t), 11)));
  return Math.min(LIST_LABEL.most, Math.max(LIST_LABEL.least, Math.ceil(longest) + LIST_LABEL.gap));
}

/** @param {MapRow} row @param {Language["t"]} t */
const rowLabel = (row, t) => fitText(plainText(row.label, 100) || t("column.none"), 11, LIST_LABEL.most - LIST_LABEL.gap);

/** @param {MapColumn[]} columns @param {number[]} places @param {number} label @param {{bands: number, names: number}} head @param {Palette} palette */
function headings(columns, places, label, head, palette) {
  const foot = 18 + head.bands + head.names - 6;
  /** @type {string[]} */
  const lines = [];
  columns.forEach(({ label: name, band }, i) => {
    const x = label + (places[i] ?? 0);
    if (band && columns[i - 1]?.band !== band) {
      const last = columns.findLastIndex((column) => column.band === band);
      const end = label + (places[last] ?? 0) + CELL.width;
      lines.push(text((x + end) / 2, 28, band, { fill: palette.soft, "font-size": 11, "text-anchor": "middle" }), line([x, 33], [end, 33], { stroke: palette.soft }));
    }
    lines.push(text(0, 0, endOfText(name, HEADING.most), { transform: `translate(${x + CELL.width / 2 + 4} ${foot}) rotate(-90)`, fill: palette.soft, "font-size": HEADING.size }));
  });
  return lines;
}

/**
 * @param {MapRow} row
 * @param {number} y
 * @param {{label: number, list: boolean, places: number[], cells: number | null, value: number}} where
 * @param {Drawing} drawing
 */
function rowSvg(row, y, { label, list, places, cells, value: end }, drawing) {
  const { map, language, palette } = drawing;
  const middle = y + CELL.height / 2 + 4;
  const box = (/** @type {number} */ x, /** @type {number} */ width) => ({ x, y, width, height: CELL.height });
  const drawn = cells !== null ? [cellSvg(row, row, box(label, cells), drawing)] : row.cells.map((cell, i) => cellSvg(row, cell, box(label + (places[i] ?? 0), CELL.width), drawing));
  const value = rowValue(map, row, language.locale);
  return [
    text(list ? 0 : label - 6, middle, list ? rowLabel(row, language.t) : row.label, { fill: row.stranger ? palette.alarm : palette.soft, "font-size": 11, "text-anchor": list ? "start" : "end" }),
    ...drawn,
    value && text(end, middle, value, { "font-size": 11, "text-anchor": "end" }),
  ].filter(Boolean).join("\n");
}
