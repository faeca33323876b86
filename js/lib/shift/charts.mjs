// The charts of a feature shift and of fitted strengths, as SVG. Across in percent, so that they fill any width; down in
// pixels, so that text keeps its size. Nothing here knows the page.

import { h, svg } from "../ui/dom.mjs";
import { anglePlace, finite } from "./model.mjs";

/**
 * @template T
 * @typedef {import("./model.mjs").Column<T>} Column
 */

/**
 * @typedef {object} Axis
 * @property {(value: number) => number} place 0 at the foot, 1 at the top
 * @property {number} base where bars begin
 * @property {number[]} ticks
 * @property {(value: number) => string} format
 */

/**
 * One chart: a bar for each stream of each block, on bands of what it is held against.
 * @template T
 * @typedef {object} Track
 * @property {string} id
 * @property {string} title
 * @property {string} hint
 * @property {number} height
 * @property {Axis} axis
 * @property {(of: T) => number | null} value
 * @property {{id: string, range: (of: T) => [number, number] | null}[]} [bands]
 * @property {{id: string, value: (of: T) => number | null}[]} [marks]
 * @property {(of: T) => string} [sign] one more class of a bar
 * @property {(value: number) => string} [number] for charts that write each value at the end of its bar
 */

/** Room between two kinds of blocks, in columns. */
const GAP = 0.4;
const PAD = 3;
const PAD_OF_NUMBERS = 14;
const AXIS_HEIGHT = 28;
const MOST_LABELS = 24;

/** @param {number} low @param {number} high @param {(value: number) => string} format @param {number} [base] @returns {Axis} */
export function linearAxis(low, high, format, base = low) {
  const reach = high - low || 1;
  return { place: (value) => (value - low) / reach, base, ticks: [...new Set([low, base, high])], format };
}

/** Cosines by their angle: what tells one verdict from another has room. @param {number[]} bounds @param {(value: number) => string} format @returns {Axis} */
export function angleAxis(bounds, format) {
  return { place: anglePlace, base: 0, ticks: [0, ...bounds, 1], format };
}

/** Factors around 1, by doublings. @param {number} reach @param {(value: number) => string} format @returns {Axis} */
export function factorAxis(reach, format) {
  const doublings = Math.log2(reach);
  const place = (/** @type {number} */ value) => (value > 0 ? 0.5 + Math.log2(value) / (2 * doublings) : 0);
  return { place, base: 1, ticks: [1 / reach, 1, reach], format };
}

/**
 * Left edges and width of columns, in percent; kinds stand apart.
 * @template T
 * @param {Column<T>[]} columns
 */
export function columnPlaces(columns) {
  let at = 0;
  const starts = columns.map(({ kind }, i) => {
    if (i > 0 && columns[i - 1]?.kind !== kind) at += GAP;
    return at++;
  });
  const unit = 100 / Math.max(at, 8);
  return { starts: starts.map((start) => start * unit), width: unit };
}

/**
 * Where a value lies in a chart, in pixels from the top.
 * @param {Pick<Track<unknown>, "axis" | "height" | "number">} track
 * @returns {(value: number) => number}
 */
function heightOf({ axis, height, number }) {
  const pad = number ? PAD_OF_NUMBERS : PAD;
  return (value) => round(pad + (1 - clamp(axis.place(value))) * (height - 2 * pad));
}

/**
 * @template T
 * @param {Track<T>} track
 * @param {Column<T>[]} columns
 * @param {(column: Column<T>) => string} describe what the pointer is told
 */
export function trackChart(track, columns, describe) {
  const { height, axis } = track;
  const y = heightOf(track);
  const { starts, width } = columnPlaces(columns);
  const lines = axis.ticks.map((tick) => svg("line", { class: tick === axis.base ? "patchbay-shift-base" : "patchbay-shift-grid", x1: 0, x2: "100%", y1: y(tick), y2: y(tick) }));
  const groups = columns.map((column, i) =>
    svg(
      "g",
      { class: "patchbay-shift-column", "data-column": i },
      svg("title", {}, describe(column)),
      svg("rect", { class: "patchbay-shift-hit", x: percent(starts[i]), y: 0, width: percent(width), height }),
      ...columnBars(track, column, starts[i] ?? 0, width, y),
    ),
  );
  return svg("svg", { class: `patchbay-shift-chart patchbay-shift-chart-${track.id}`, width: "100%", height, "aria-hidden": "true" }, ...lines, ...groups);
}

/**
 * @template T
 * @param {Track<T>} track @param {Column<T>} column @param {number} start @param {number} width @param {(value: number) => number} y
 */
function columnBars(track, column, start, width, y) {
  const room = (width * 0.92) / column.cells.length;
  return column.cells.flatMap(({ stream, of }, i) => {
    const left = start + width * 0.04 + i * room;
    /** @type {(Node | null)[]} */
    const drawn = (track.bands ?? []).map(({ id, range }) => {
      const [low, high] = range(of) ?? [];
      return low === undefined || high === undefined ? null : box(`patchbay-shift-band-${id}`, left, room, y(low), y(high));
    });
    const value = finite(track.value(of));
    const [ground, end] = [y(track.axis.base), y(value ?? track.axis.base)];
    const sign = track.sign?.(of);
    if (value !== null) drawn.push(box(`patchbay-shift-bar patchbay-shift-${stream}${sign ? ` ${sign}` : ""}`, left + room * 0.17, room * 0.66, ground, end));
    if (value !== null && track.number) drawn.push(svg("text", { class: "patchbay-shift-value", x: percent(left + room / 2), y: round(end > ground ? end + 11 : end - 4), "text-anchor": "middle" }, track.number(value)));
    for (const { id, value: read } of track.marks ?? []) {
      const at = finite(read(of));
      if (at !== null) drawn.push(svg("line", { class: `patchbay-shift-mark-${id}`, x1: percent(left), x2: percent(left + room), y1: y(at), y2: y(at) }));
    }
    return drawn.filter((node) => node !== null);
  });
}

/** A rectangle between two heights; what is not 0 is seen. @param {string} name @param {number} left @param {number} width @param {number} from @param {number} to */
function box(name, left, width, from, to) {
  const tall = Math.abs(to - from);
  if (tall === 0) return null;
  return svg("rect", { class: name, x: percent(left), width: percent(width), y: round(tall < 1 && to < from ? from - 1 : Math.min(from, to)), height: round(Math.max(1, tall)) });
}

/**
 * Numbers of the blocks, with the name of each kind below its first.
 * @template T
 * @param {Column<T>[]} columns
 * @param {(kind: string) => string} kindName
 */
export function columnAxis(columns, kindName) {
  const { starts, width } = columnPlaces(columns);
  const step = [1, 2, 5, 10, 20, 50].find((each) => columns.length / each <= MOST_LABELS) ?? 100;
  const labels = columns.flatMap(({ kind, label }, i) => {
    const first = columns[i - 1]?.kind !== kind;
    const middle = percent((starts[i] ?? 0) + width / 2);
    return [
      label !== "" && (first || Number(label) % step === 0) && svg("text", { class: "patchbay-shift-number", x: middle, y: 10, "text-anchor": "middle" }, label),
      first && kindLabel(kindName(kind), starts[i] ?? 0, width),
    ];
  });
  const marks = columns.map((_, i) => svg("g", { class: "patchbay-shift-column", "data-column": i }, svg("rect", { class: "patchbay-shift-hit", x: percent(starts[i]), y: 0, width: percent(width), height: AXIS_HEIGHT })));
  return svg("svg", { class: "patchbay-shift-axis", width: "100%", height: AXIS_HEIGHT, "aria-hidden": "true" }, ...marks, ...labels);
}

/** At its first column; at the right edge where a narrow column leaves no room. @param {string} name @param {number} start @param {number} width */
function kindLabel(name, start, width) {
  const narrow = start > 90 && width < 9;
  return svg("text", { class: "patchbay-shift-kind", x: narrow ? "100%" : percent(start + width * 0.04), y: 23, "text-anchor": narrow ? "end" : null }, name);
}

/** Shares below this are not drawn: the axis is logarithmic. */
const LEAST_SHARE = 1e-4;

/**
 * Two histograms over each other: before as an area, after as a line. Shares by decades, so that the tails are seen.
 * @param {number[]} before
 * @param {number[]} after
 * @param {string} stream
 * @param {string} label
 */
export function histogramChart(before, after, stream, label) {
  const bins = Math.max(before.length, after.length, 1);
  const top = Math.max(LEAST_SHARE * 10, ...before, ...after);
  const y = (/** @type {number} */ share) => round(share > LEAST_SHARE ? 100 - (98 * Math.log(share / LEAST_SHARE)) / Math.log(top / LEAST_SHARE) : 100);
  const steps = (/** @type {number[]} */ shares) => shares.map((share, i) => `V${y(share)}H${i + 1}`).join("");
  return svg(
    "svg",
    { class: "patchbay-shift-histogram", viewBox: `0 0 ${bins} 100`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("path", { class: "patchbay-shift-before", d: `M0 100${steps(before)}V100Z` }),
    svg("path", { class: `patchbay-shift-after patchbay-shift-${stream}`, d: `M0 100${steps(after)}V100` }),
  );
}

/**
 * A bar across with an interval on it, on an axis from 0 to `whole`.
 * @param {{value: number, low: number | null, high: number | null, whole: number, name: string, plain?: number | null}} of
 */
export function intervalBar({ value, low, high, whole, name, plain = null }) {
  const x = (/** @type {number} */ at) => percent(clamp(at / whole) * 100);
  return svg(
    "svg",
    { class: `patchbay-fit-bar patchbay-fit-bar-${name}`, width: "100%", height: 20, "aria-hidden": "true" },
    svg("rect", { class: "patchbay-fit-track", x: 0, y: 5, width: "100%", height: 10, rx: 2 }),
    svg("rect", { class: "patchbay-fit-error", x: 0, y: 5, width: x(value), height: 10, rx: 2 }),
    low !== null && high !== null && svg("line", { class: "patchbay-fit-interval", x1: x(low), x2: x(high), y1: 10, y2: 10 }),
    ...[low, high].map((end) => end !== null && svg("line", { class: "patchbay-fit-interval", x1: x(end), x2: x(end), y1: 6, y2: 14 })),
    plain !== null && svg("line", { class: "patchbay-fit-plain", x1: x(plain), x2: x(plain), y1: 0, y2: 20 }),
  );
}

/** Labels beside a chart, each at its height. @param {Pick<Track<unknown>, "axis" | "height" | "number">} track */
export function axisLabels(track) {
  const y = heightOf(track);
  const spans = track.axis.ticks.map((tick) => h("span", { style: { top: `${y(tick)}px` } }, track.axis.format(tick)));
  return h("div", { class: "patchbay-shift-ticks", "aria-hidden": "true" }, ...spans);
}

/** @param {number} value */
const clamp = (value) => Math.min(1, Math.max(0, value));

/** @param {number} value */
const round = (value) => Math.round(value * 100) / 100;

/** @param {number | undefined} value */
export const percent = (value) => `${round(value ?? 0)}%`;
