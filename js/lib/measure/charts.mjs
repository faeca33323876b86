// The two pictures of a measurement, as SVG: each evaluation as a bar, and where memory goes.

import { h, setStyle, svg } from "../ui/dom.mjs";
import { formatBytes, formatNumber, plainText } from "../ui/format.mjs";

/**
 * @typedef {import("../../types/measurement").Measurement} Measurement
 * @typedef {import("../../types/measurement").RunRecord} RunRecord
 * @typedef {import("../../types/measurement").ConditionSummary} ConditionSummary
 * @typedef {import("../words/i18n.mjs").Language} Language
 * @typedef {{kind: "loading" | "first" | "steady", ms: number}} Bar
 */

/** A bar longer than this many steady evaluations is cut, and its time written on it. */
const CUT = 3;
const STRIP_HEIGHT = 52;
/** Pixels from bar to bar, as wide as fits into `FULL_WIDTH`, within these bounds. */
const STEP = { least: 2.5, most: 9 };
const FULL_WIDTH = 256;
/** Bars' room between the run after a switch and the warm one. */
const PAUSE = 2;
const MOST_BARS = 120;

/**
 * The last run after a switch and the last warm one: what the strip shows.
 * @param {Measurement} measurement
 * @param {string} label
 * @returns {RunRecord[]}
 */
export function shownRuns(measurement, label) {
  const done = measurement.runs.filter((run) => run.condition === label && run.outcome === "success");
  return [done.filter((run) => run.after_switch).at(-1), done.filter((run) => !run.after_switch).at(-1)].filter((run) => run !== undefined);
}

/** @param {RunRecord} run @returns {Bar[]} */
export function runBars(run) {
  const bars = run.evaluations_ms.slice(0, MOST_BARS).map((ms, at) => ({ kind: /** @type {Bar["kind"]} */ (at === 0 && run.after_switch ? "first" : "steady"), ms }));
  return run.after_switch ? [{ kind: "loading", ms: run.prepare_s * 1000 }, ...bars] : bars;
}

/**
 * The time that fills the height: one scale for all conditions.
 * @param {Measurement} measurement
 */
export function stripTop(measurement) {
  const steady = measurement.conditions.flatMap((condition) => (condition.steady_ms ? [condition.steady_ms.median] : []));
  const bars = measurement.conditions.flatMap((condition) => shownRuns(measurement, condition.label).flatMap(runBars));
  const longest = Math.max(1e-6, ...bars.map((bar) => bar.ms));
  return steady.length > 0 ? Math.min(longest, CUT * Math.max(...steady)) : longest;
}

/** @param {number} ms @param {string} locale */
export function formatDuration(ms, locale) {
  return Math.abs(ms) < 1000 ? `${formatNumber(ms, locale)} ms` : `${formatNumber(ms / 1000, locale)} s`;
}

/**
 * From bar to bar, the same for all conditions, so that strips can be compared; what does not fit can be scrolled.
 * @param {Measurement} measurement
 */
export function stripStep(measurement) {
  const counts = measurement.conditions.map((condition) => {
    const runs = shownRuns(measurement, condition.label);
    return runs.reduce((sum, run) => sum + runBars(run).length, PAUSE * Math.max(0, runs.length - 1));
  });
  const step = rounded(Math.min(STEP.most, Math.max(STEP.least, FULL_WIDTH / Math.max(1, ...counts))));
  return { step, width: Math.max(FULL_WIDTH, Math.ceil(step * Math.max(0, ...counts))) };
}

/**
 * @param {Measurement} measurement
 * @param {ConditionSummary} condition
 * @param {number} top
 * @param {Language} language
 */
export function evaluationStrip(measurement, condition, top, { t, locale }) {
  const { step, width } = stripStep(measurement);
  let x = 0;
  const marks = [];
  for (const bars of shownRuns(measurement, condition.label).map(runBars)) {
    for (const bar of bars) {
      marks.push(...drawBar(bar, rounded(x), step, top, t, locale));
      x += step;
    }
    x += PAUSE * step;
  }
  const words = t("measure.strip.aria", { name: plainText(condition.label, 60), steady: condition.steady_ms ? formatDuration(condition.steady_ms.median, locale) : "–" });
  return svg(
    "svg",
    { class: "patchbay-measure-strip", viewBox: `0 0 ${width} ${STRIP_HEIGHT}`, width, height: STRIP_HEIGHT, role: "img", "aria-label": words },
    svg("line", { class: "patchbay-measure-ground", x1: 0, y1: STRIP_HEIGHT - 0.5, x2: width, y2: STRIP_HEIGHT - 0.5 }),
    ...marks,
  );
}

/** @param {Bar} bar @param {number} x @param {number} step @param {number} top @param {Language["t"]} t @param {string} locale */
function drawBar(bar, x, step, top, t, locale) {
  const tall = rounded(Math.max(1, (Math.min(bar.ms, top) / top) * (STRIP_HEIGHT - 14)));
  const y = rounded(STRIP_HEIGHT - 1 - tall);
  const time = formatDuration(bar.ms, locale);
  const width = rounded(step - Math.min(2, step * 0.25));
  const rectangle = svg("rect", { class: `patchbay-measure-${bar.kind}`, x, y, width, height: tall }, svg("title", {}, `${t(`measure.bar.${bar.kind}`)}: ${time}`));
  if (bar.ms <= top) return [rectangle];
  return [
    rectangle,
    svg("path", { class: "patchbay-measure-cut", d: `M${rounded(x - 1)} ${rounded(y + 7)}l${rounded(width + 2)} -4` }),
    // Loading is written above its bar, an evaluation beside it, over the short ones that follow.
    svg("text", { class: "patchbay-measure-long", x: bar.kind === "loading" ? x : rounded(x + step), y: bar.kind === "loading" ? 10 : 23 }, time),
  ];
}

/** @param {number} value */
const rounded = (value) => Math.round(value * 100) / 100;

/** @param {ConditionSummary[]} conditions */
export function memoryWhole(conditions) {
  return Math.max(1, ...conditions.flatMap(({ memory }) => [memory.process_low.value ?? 0, memory.process_high.value ?? 0]));
}

/**
 * @param {ConditionSummary} condition
 * @param {number} whole bytes that fill the width
 * @param {Language} language
 */
export function memoryBar(condition, whole, { t, locale }) {
  const { process_low: low, process_high: high } = condition.memory;
  const bar = h("div", { class: "patchbay-memory-bar", role: "img", "aria-label": memoryText(condition, locale) });
  for (const { name, size_bytes: size } of condition.segments) {
    const part = h("span", { class: `patchbay-memory-part patchbay-memory-${cssName(name)}`, title: `${t(`memory.${cssName(name)}`)}: ${formatBytes(size, locale)}` });
    setStyle(part, { width: `${rounded((size / whole) * 100)}%` });
    bar.append(part);
  }
  if (low.value !== null && high.value !== null && high.value > low.value * 1.005) {
    const reach = h("span", { class: "patchbay-memory-reach", title: t("memory.reach") });
    setStyle(reach, { left: `${rounded((low.value / whole) * 100)}%`, width: `${rounded(((high.value - low.value) / whole) * 100)}%` });
    bar.append(reach);
  }
  return bar;
}

/** @param {ConditionSummary} condition @param {string} locale */
export function memoryText({ memory }, locale) {
  const { process_low: low, process_high: high } = memory;
  if (low.value === null) return "–";
  const least = formatBytes(low.value, locale);
  return high.value !== null && high.value > low.value * 1.005 ? `${least} – ${formatBytes(high.value, locale)}` : least;
}

const PARTS = ["weights", "activations", "cast_buffers", "rest"];

/** A name that is safe in a class. @param {string} name */
export const cssName = (name) => (PARTS.includes(name) ? name : "rest");
