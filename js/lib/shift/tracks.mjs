// Which charts a feature shift has: what each bar is, its axis, and the bands that it is held against. Pure.

import { formatNumber, formatRatio } from "../ui/format.mjs";
import { angleAxis, factorAxis, linearAxis } from "./charts.mjs";
import { cosineFloor, factorReach, finite, roundAbove } from "./model.mjs";

/**
 * @typedef {import("../../types/shift").ShiftData} ShiftData
 * @typedef {import("../../types/shift").ShiftRow} ShiftRow
 * @typedef {import("./charts.mjs").Track<ShiftRow>} ShiftTrack
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

/** Figures of one kind that are known. @param {ShiftData} data @param {keyof ShiftRow} name */
const values = (data, name) => data.rows.map((row) => finite(row[name])).filter((value) => value !== null);

/**
 * The LoRA's change here against its change on its own model: direction, with the control of another seed, and size,
 * with what the run-to-run floor alone could do to it.
 * @param {ShiftData} data
 * @param {Language} language
 * @returns {ShiftTrack[]}
 */
export function transferTracks(data, { t, locale }) {
  const number = (/** @type {number} */ value) => formatNumber(value, locale);
  const times = (/** @type {number} */ value) => (value >= 1 ? `×${number(value)}` : `÷${number(1 / value)}`);
  return [
    {
      id: "direction",
      title: t("shift.track.direction"),
      hint: t("shift.track.direction.hint"),
      height: 88,
      axis: angleAxis(data.bounds ?? [], number),
      value: (row) => finite(row.change_cosine),
      bands: [{ id: "control", range: (row) => (finite(row.seed_cosine) === null ? null : [0, finite(row.seed_cosine) ?? 0]) }],
    },
    {
      id: "ratio",
      title: t("shift.track.ratio"),
      hint: t("shift.track.ratio.hint"),
      height: 58,
      axis: factorAxis(factorReach(values(data, "ratio")), times),
      value: (row) => finite(row.ratio),
      bands: [{ id: "floor", range: floorOfRatio }],
    },
  ];
}

/** A change of size s seen through noise of size n may be s - n or s + n. @param {ShiftRow} row @returns {[number, number] | null} */
function floorOfRatio(row) {
  const [floor, shift] = [finite(row.floor), finite(row.shift)];
  if (!floor || !shift) return null;
  const share = Math.min(0.999, floor / shift);
  return [1 - share, 1 / (1 - share)];
}

/**
 * How far the features moved, whatever moved them.
 * @param {ShiftData} data
 * @param {Language} language
 * @returns {ShiftTrack[]}
 */
export function featureTracks(data, { t, locale }) {
  const ratio = (/** @type {number} */ value) => formatRatio(value, locale);
  const number = (/** @type {number} */ value) => formatNumber(value, locale);
  const references = data.transfer ? values(data, "reference_shift") : [];
  return [
    {
      id: "shift",
      title: t("shift.track.shift"),
      hint: t("shift.track.shift.hint"),
      height: 76,
      axis: linearAxis(0, roundAbove(Math.max(0, ...values(data, "shift"), ...references)), ratio),
      value: (row) => finite(row.shift),
      bands: [
        { id: "seeds", range: (row) => (finite(row.seeds) === null ? null : [0, finite(row.seeds) ?? 0]) },
        { id: "floor", range: (row) => (finite(row.floor) ? [0, finite(row.floor) ?? 0] : null) },
      ],
      marks: data.transfer ? [{ id: "reference", value: (row) => finite(row.reference_shift) }] : [],
    },
    {
      id: "frechet",
      title: t("shift.track.frechet"),
      hint: t("shift.track.frechet.hint"),
      height: 46,
      axis: linearAxis(0, roundAbove(Math.max(0, ...values(data, "frechet"))), number),
      value: (row) => finite(row.frechet),
    },
    {
      id: "cosine",
      title: t("shift.track.cosine"),
      hint: t("shift.track.cosine.hint"),
      height: 46,
      axis: linearAxis(cosineFloor(values(data, "cosine")), 1, number, 1),
      value: (row) => finite(row.cosine),
    },
  ];
}
