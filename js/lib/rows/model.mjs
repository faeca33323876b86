// The rows as a value: the text that the node keeps (nodes/core/strengths/rows.py), read, changed and written. Pure.

/**
 * @typedef {object} Row
 * @property {boolean} on
 * @property {string} lora
 * @property {number} strength
 * @property {number | null} clip null means the same as `strength`
 * @property {string} blocks
 */

export const STRONGEST = 100;
const TAG = /<lora:([^<>]*)>/gi;

/** @param {string} lora @returns {Row} */
export const newRow = (lora) => ({ on: true, lora, strength: 1, clip: null, blocks: "" });

/**
 * @param {string} text
 * @returns {{rows: Row[], problem: string}} no rows where it cannot be read, and why
 */
export function parseRows(text) {
  const plain = text.trim();
  if (!plain) return { rows: [], problem: "" };
  if (!/^[[{]/.test(plain)) {
    const rows = rowsOfTags(plain);
    return { rows, problem: rows.length > 0 ? "" : plain.slice(0, 60) };
  }
  try {
    const data = JSON.parse(plain);
    return { rows: (Array.isArray(data) ? data : [data]).map(readRow), problem: "" };
  } catch (error) {
    return { rows: [], problem: error instanceof Error ? error.message : String(error) };
  }
}

/** @param {unknown} item @returns {Row} */
function readRow(item) {
  if (typeof item !== "object" || item === null) throw new Error(String(item).slice(0, 40));
  const { on, lora, strength, clip, blocks } = /** @type {Record<string, unknown>} */ (item);
  return {
    on: on !== false,
    lora: typeof lora === "string" && lora !== "None" ? lora : "",
    strength: limited(strength) ?? 1,
    clip: limited(clip),
    blocks: typeof blocks === "string" ? blocks : "",
  };
}

/** @param {unknown} value @returns {number | null} */
function limited(value) {
  return typeof value === "number" && Number.isFinite(value) ? Math.max(-STRONGEST, Math.min(STRONGEST, value)) : null;
}

/** As Python writes it. @param {Row[]} rows */
export const formatRows = (rows) =>
  JSON.stringify(rows.map(({ on, lora, strength, clip, blocks }) => ({ on, lora, strength, ...(clip === null ? {} : { clip }), ...(blocks ? { blocks } : {}) })));

/** The rows that the tags of a text mean; tags with anything else than numbers are left out. @param {string} text @returns {Row[]} */
export function rowsOfTags(text) {
  return [...text.matchAll(TAG)].flatMap(([, inside = ""]) => {
    const [name = "", ...numbers] = inside.split(":").map((part) => part.trim());
    const values = numbers.map((part) => (part === "" ? null : limited(Number(part))));
    if (!name || values.length > 2 || values.includes(null)) return [];
    return [{ ...newRow(name), strength: values[0] ?? 1, clip: values[1] ?? null }];
  });
}

/** @param {Row[]} rows @param {number} from @param {number} to index that the row has afterwards */
export function moved(rows, from, to) {
  const rest = rows.filter((_, at) => at !== from);
  const row = rows[from];
  return row ? [...rest.slice(0, to), row, ...rest.slice(to)] : rows;
}

/** @param {Row[]} rows @param {number} at @param {Partial<Row>} changes */
export const changed = (rows, at, changes) => rows.map((row, index) => (index === at ? { ...row, ...changes } : row));

/** Only this row on; all of `before` again where it is the only one already. @param {Row[]} rows @param {number} only @param {boolean[] | null} before */
export function soloed(rows, only, before) {
  const isSolo = rows.every(({ on }, at) => on === (at === only));
  return rows.map((row, at) => ({ ...row, on: isSolo ? before?.[at] ?? true : at === only }));
}

/** File name without folder and ending. @param {string} lora */
export const shortName = (lora) => (lora.split(/[\\/]/).pop() ?? lora).replace(/\.(safetensors|sft|pth?|bin|ckpt)$/i, "");
