// One cell of the map as SVG text, with the same signs as on the page. Pure.

import { colourOf } from "./scale.mjs";
import { asLine, describe } from "./words.mjs";
import { ownerColour } from "../ui/owner_colours.mjs";
import { escapeXml, line, rect } from "../ui/svg_text.mjs";

/**
 * @typedef {import("../../types/map").MapRow} MapRow
 * @typedef {import("../../types/map").MapCell} MapCell
 * @typedef {import("../../types/map").CellStatus} CellStatus
 * @typedef {import("./svg.mjs").Drawing} Drawing
 * @typedef {import("./svg.mjs").Palette} Palette
 * @typedef {{x: number, y: number, width: number, height: number}} Box
 */

const SHARE_HEIGHT = 6;
/** Of the corners. */
const ROUND = 2;

/** What cells are filled with: hatching for the patches of others, dots for what was not measured. @param {Palette} palette */
export const patterns = ({ ground, soft }) =>
  `<defs><pattern id="foreign" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2" height="6" fill="${ground}"/></pattern>` +
  `<pattern id="unmeasured" width="4" height="4" patternUnits="userSpaceOnUse"><circle cx="2" cy="2" r="0.9" fill="${soft}"/></pattern></defs>`;

/**
 * @param {MapRow} row
 * @param {MapCell | MapRow} cell
 * @param {Box} box
 * @param {Drawing} drawing
 */
export function cellSvg(row, cell, box, { map, language, palette }) {
  const told = describe(map, row, "column" in cell ? cell : null, language);
  const shapes = [statusSvg(cell.status, cell.value === null ? null : colourOf(map.scale, cell.value), box, palette)];
  for (const part of "parts" in cell ? cell.parts : []) {
    const fill = part.value === null ? palette.sunk : colourOf(map.scale, part.value);
    shapes.push(rect(box.x + part.from * box.width, box.y, (part.to - part.from) * box.width, box.height, { fill }));
  }
  if (cell.foreign) shapes.push(foreignSvg(box));
  let left = box.x;
  for (const { owner, share } of "shares" in cell ? cell.shares : []) {
    shapes.push(rect(left, box.y + box.height - SHARE_HEIGHT, share * box.width, SHARE_HEIGHT, { fill: ownerColour(owner) }));
    left += share * box.width;
  }
  return `<g>${shapes.join("")}<title>${escapeXml(asLine(told))}</title></g>`;
}

/** @param {Box} box */
export const foreignSvg = ({ x, y, width, height }) => rect(x, y, width, height, { fill: "url(#foreign)" });

/**
 * @param {CellStatus} status
 * @param {string | null} colour of its figure
 * @param {Box} box
 * @param {Palette} palette
 */
export function statusSvg(status, colour, { x, y, width, height }, palette) {
  const missed = status === "partial" || status === "missed";
  const fill = colour ?? (status === "untouched" ? "none" : palette.sunk);
  // A stroke lies half outside of its shape; a colour needs none.
  const inset = missed ? 1 : colour === null ? 0.5 : 0;
  /** @type {import("../ui/svg_text.mjs").Attributes} */
  const outline = missed ? { stroke: palette.alarm, "stroke-width": 2 } : colour === null ? { stroke: palette.line } : {};
  const shape = rect(x + inset, y + inset, width - 2 * inset, height - 2 * inset, { fill, rx: ROUND, ...outline });
  if (colour !== null) return shape;
  const [cx, cy] = [x + width / 2, y + height / 2];
  if (status === "missed") return shape + line([x + 2, y + height - 2], [x + width - 2, y + 2], { stroke: palette.alarm, "stroke-width": 1.5 });
  if (status === "skipped") return shape + rect(cx - 5, cy - 1, 10, 2, { fill: palette.soft });
  if (status === "dead") return `${shape}<circle cx="${cx}" cy="${cy}" r="3.4" fill="none" stroke="${palette.soft}"/>`;
  if (status === "unmeasured") return shape + rect(x, y, width, height, { fill: "url(#unmeasured)" });
  return shape;
}
