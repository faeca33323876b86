// Singular values of a LoRA's layers, taken from its file: a run measures Frobenius norms only, because a singular value
// can cost a hundred times as much, and few people ask for it. Pure.

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../../types/report").LayerReport} LayerReport
 */

/** @type {WeakMap<Report, {file: Report, made: Report}>} */
const known = new WeakMap();

/**
 * Whether the figures of the file would complete this report.
 * @param {Report} report
 */
export const lacksSpectral = (report) =>
  (report.kind === "apply" || report.kind === "check") && Boolean(report.lora?.name) && !report.layers.some((layer) => typeof layer.spectral_norm === "number") && report.layers.some((layer) => layer.delta_norm);

/**
 * The report with the spectral norms of the file: for layers whose change is the file's, whole and at whatever scale.
 * @param {Report} report
 * @param {Report} file the same file, measured
 * @returns {Report}
 */
export function withSpectral(report, file) {
  const before = known.get(report);
  if (before?.file === file) return before.made;
  const inFile = new Map(file.layers.map((layer) => [layer.lora_key, layer]));
  const pieces = count(report.layers);
  const made = { ...report, layers: report.layers.map((layer) => (pieces.get(layer.lora_key) === 1 ? completed(layer, inFile.get(layer.lora_key)) : layer)) };
  known.set(report, { file, made });
  return made;
}

/** A layer that was cut, so that its parts have strengths of their own, has no single value. @param {LayerReport[]} layers */
function count(layers) {
  /** @type {Map<string, number>} */
  const pieces = new Map();
  for (const { lora_key: key } of layers) pieces.set(key, (pieces.get(key) ?? 0) + 1);
  return pieces;
}

/** @param {LayerReport} layer @param {LayerReport | undefined} inFile @returns {LayerReport} */
function completed(layer, inFile) {
  if (!layer.delta_norm || !inFile?.delta_norm || typeof inFile.spectral_norm !== "number") return layer;
  return { ...layer, spectral_norm: (inFile.spectral_norm * layer.delta_norm) / inFile.delta_norm };
}

/**
 * The file's name as ComfyUI lists it; a report names no folder.
 * @param {string} name
 * @param {readonly string[]} listed
 * @returns {string | null} nothing where several files have this name
 */
export function listedName(name, listed) {
  const found = listed.filter((each) => each === name || each.split(/[\\/]/).pop() === name);
  return found.length === 1 ? found[0] ?? null : null;
}
