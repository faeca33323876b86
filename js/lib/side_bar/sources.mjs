// Which reports the side bar can show, and which of them it shows. Pure.

import { alike } from "../ui/alike.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 *
 * @typedef {object} Source a report that can be shown
 * @property {string} key the node, or the file
 * @property {string} title
 * @property {Report} report
 * @property {string} text the report for people
 * @property {string} [earlier] how the inputs that made it differ from the canvas, in one line
 * @property {boolean} [idle] its node is bypassed or muted now
 * @property {number | string} [nodeId]
 * @property {import("../../types/measurement").Measurement | null} [measurement]
 * @property {import("../measure/block_figures.mjs").BlockExtras} [extras] figures of whole blocks that this node measured
 *
 * @typedef {{report: Report, text: string, at: number}} Run a result of one node at a time (milliseconds)
 */

/** Results of one node that are kept for comparing. */
export const RUNS_KEPT = 8;

/** What answers "what was patched" best comes first. */
const KINDS = ["patches", "apply", "check", "inspect", "model"];

/**
 * The source to show: the chosen one, or the selected node's while the panel follows the selection, or the newest, or the
 * one that says most.
 * @param {Source[]} sources
 * @param {{chosen: string | null, follow: boolean, selected: string | null, newest: string | null}} wish
 * @returns {Source | null}
 */
export function chooseSource(sources, { chosen, follow, selected, newest }) {
  const named = (/** @type {string | null} */ key) => sources.find((source) => source.key === key);
  const best = [...sources].sort((a, b) => rank(a) - rank(b))[0] ?? null;
  return (follow ? named(selected) : undefined) ?? named(chosen) ?? named(newest) ?? best;
}

/** @param {Source} source */
function rank({ report, idle }) {
  const at = KINDS.indexOf(report.kind);
  return (at < 0 ? KINDS.length : at) + (idle ? 100 : 0);
}

/**
 * Adds a result to those of its node, newest last. A cached node sends the same again, which is no new result.
 * @param {Run[]} runs
 * @param {Run} run
 * @returns {Run[]}
 */
export function withRun(runs, run) {
  const same = runs.find((known) => alike(known.report, run.report));
  return [...runs, ...(same ? [] : [run])].sort((a, b) => a.at - b.at).slice(-RUNS_KEPT);
}

/**
 * What the shown report can be compared with: earlier results of its node, then the other reports.
 * @param {Source} shown
 * @param {Source[]} sources
 * @param {Run[]} runs of the shown node
 * @returns {{id: string, title: string | null, at: number | null, report: Report}[]}
 */
export function comparable(shown, sources, runs) {
  const earlier = runs
    .filter((run) => !alike(run.report, shown.report))
    .map((run) => ({ id: `run ${run.at}`, title: null, at: run.at, report: run.report }))
    .reverse();
  const others = sources.filter((source) => source.key !== shown.key && source.report.layers.length > 0).map(({ key, title, report }) => ({ id: `node ${key}`, title, at: null, report }));
  return [...earlier, ...others];
}
