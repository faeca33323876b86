// The report and the map as files. Pure: text out, nothing else.

import { plainText } from "../ui/format.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../../types/report").LayerReport} LayerReport
 */

/** Columns of the table, fields of a layer. @type {(keyof LayerReport)[]} */
const COLUMNS = [
  "state", "block", "layer", "model_key", "lora_key", "slice", "shape", "format", "rank", "alpha", "scale", "scale_source", "strength",
  "block_strength", "delta_norm", "weight_norm", "norm_ratio", "spectral_norm", "owner", "reason", "not_measured", "stored", "stock",
  "stock_reason",
];

/**
 * The layers as comma-separated values (RFC 4180, with a heading line).
 * @param {LayerReport[]} layers
 */
export function layersCsv(layers) {
  const lines = [COLUMNS.join(","), ...layers.map((layer) => COLUMNS.map((name) => csvField(layer[name])).join(","))];
  return `${lines.join("\r\n")}\r\n`;
}

/**
 * The same table with tabs, which spreadsheets and text editors take from the clipboard.
 * @param {LayerReport[]} layers
 */
export const layersTable = (layers) =>
  [COLUMNS.join("\t"), ...layers.map((layer) => COLUMNS.map((name) => safeText(layer[name]).replace(/[\t\r\n]+/g, " ")).join("\t"))].join("\n");

/** @param {unknown} value */
function csvField(value) {
  const text = safeText(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * A text that begins like a formula gets an apostrophe: a spreadsheet would run it.
 * @param {unknown} value
 */
function safeText(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = Array.isArray(value) ? value.join(" ") : String(value);
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}

/** @param {object} report or a measurement */
export const reportJson = (report) => `${JSON.stringify(report, null, 2)}\n`;

/**
 * A name for a file that any system takes.
 * @param {Report} report
 * @param {string} ending
 */
export function exportName(report, ending) {
  const subject = report.lora?.name || report.title || "report";
  const plain = plainText(subject, 80).replace(/\.safetensors$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "");
  return `patchbay-${plain || "report"}-${plainText(report.kind, 20).replace(/[^a-z0-9]+/gi, "-")}.${ending}`;
}
