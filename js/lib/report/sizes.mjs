// The sizes of a large file's layers, which a node leaves out of its report: the server works them out when they are asked for.

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {{report: Report, text: string}} Sized
 */

/** Answers that are kept; one for each run whose report was opened. */
const KEPT = 32;

/** By token; null where the server no longer has them. @type {Map<string, Promise<Sized | null>>} */
const asked = new Map();

/** @type {Map<string, Sized | null>} */
const answers = new Map();

/**
 * Asks for the report with its sizes, once.
 * @param {Report} report with `sizes`
 * @param {(route: string) => Promise<any>} ask
 * @returns {Promise<Sized | null>} nothing where the file is no longer in memory
 */
export function askSizes(report, ask) {
  const token = report.sizes;
  const known = asked.get(token);
  if (known) return known;
  const answer = ask(`/patchbay/sizes?of=${encodeURIComponent(token)}`).then(
    (found) => keep(token, found?.report?.schema === report.schema ? { report: { ...found.report, inputs: report.inputs }, text: String(found.text ?? "") } : null),
    () => keep(token, null),
  );
  asked.set(token, answer);
  return answer;
}

/**
 * What was answered so far: the report with its sizes, null where there is none, undefined where nobody asked.
 * @param {Report} report
 */
export const knownSizes = (report) => (report.sizes ? answers.get(report.sizes) : null);

/** @param {string} token @param {Sized | null} answer */
function keep(token, answer) {
  answers.set(token, answer);
  for (const old of [...answers.keys()].slice(0, -KEPT)) {
    answers.delete(old);
    asked.delete(old);
  }
  return answer;
}
