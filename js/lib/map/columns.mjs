// Which layers of a container stand under one another: the columns of the map. Pure.

/**
 * @typedef {import("../../types/map").MapColumn} MapColumn
 */

/** More columns than this cannot be told apart in a side bar; then layers are gathered by what they do. */
export const MOST_COLUMNS = 26;

const IMAGE_STREAM = /^(img|image|x)[_.]/;
const TEXT_STREAM = /^(txt|text|context|c|add)[_.]/;
const ATTENTION = /attn|attention|(^|\.)(to_)?[qkvo](_proj)?(\.|$)|qkv/;
/** Containers inside a block, with their numbers: they stand before every name and tell no two apart. */
const INNER_CONTAINER = /^(?:\d+\.)*(?:\w*blocks?|layers?)\.(?:\d+\.)*(?=.*[a-z])/i;
const MLP = /mlp|(^|\.)ff|feed_?forward|(^|\.)w[123](\.|$)|(^|\.)fc[12](\.|$)/;

/**
 * Columns for the layers of one kind of block, and the column of every layer.
 * @param {readonly string[]} layers paths inside the block, in the model's order, each once
 * @returns {{columns: MapColumn[], columnOf: (layer: string) => string}}
 */
export function layerColumns(layers) {
  const columnOf = remembered(LADDER.find((key) => new Set(layers.map(key)).size <= MOST_COLUMNS) ?? whatever);
  const keys = [...new Set(layers.map(columnOf))];
  const bands = new Map(keys.map((key) => [key, bandOf(key)]));
  const banded = new Set(bands.values()).size > 1 && [...bands.values()].includes("txt");
  const columns = keys.map((key) => {
    const band = banded ? bands.get(key) ?? "" : "";
    return { key, band, label: band ? key.replace(band === "img" ? IMAGE_STREAM : TEXT_STREAM, "") : key };
  });
  shorten(columns);
  const order = ["img", "txt", ""];
  columns.sort((a, b) => order.indexOf(a.band) - order.indexOf(b.band));
  return { columns, columnOf };
}

/** `transformer_blocks.attn1.to_q` is headed `attn1.to_q`, unless two columns would then be called alike. @param {MapColumn[]} columns */
function shorten(columns) {
  const short = columns.map(({ band, label }) => ({ band, label: label.replace(INNER_CONTAINER, "") }));
  const times = new Map();
  for (const { band, label } of short) times.set(`${band} ${label}`, (times.get(`${band} ${label}`) ?? 0) + 1);
  columns.forEach((column, i) => {
    const { band, label } = short[i] ?? column;
    if (times.get(`${band} ${label}`) === 1) column.label = label;
  });
}

/** Each name is worked out once: every block has the same ones. @param {(layer: string) => string} columnOf */
function remembered(columnOf) {
  /** @type {Map<string, string>} */
  const known = new Map();
  return (/** @type {string} */ layer) => {
    const before = known.get(layer);
    if (before !== undefined) return before;
    const column = columnOf(layer);
    known.set(layer, column);
    return column;
  };
}

/** @param {string} key */
const bandOf = (key) => (TEXT_STREAM.test(key) ? "txt" : IMAGE_STREAM.test(key) ? "img" : "");

/** From the layer itself to "everything", each step with fewer columns. @type {((layer: string) => string)[]} */
const LADDER = [
  (layer) => layer,
  (layer) => layer.split(".").filter((segment) => !/^\d+$/.test(segment)).join("."),
  (layer) => layer.split(".").filter((segment) => !/^\d+$/.test(segment)).slice(-2).join("."),
  (layer) => [bandOf(layer), roleOf(layer)].filter(Boolean).join("_"),
];

/** @param {string} layer */
const roleOf = (layer) => (MLP.test(layer) ? "mlp" : ATTENTION.test(layer) ? "attn" : "rest");

const whatever = () => "all";

/**
 * A path with a number in it, taken apart: `encoder.layers.3.mlp.fc1` is row 3 of `encoder.layers`. Some files join the
 * names with underscores.
 * @param {string} layer
 */
export function splitLayer(layer) {
  const match = /^(.+?)\.(\d+)\.(.+)$/.exec(layer) ?? /^(\w+?_(?:layers|block))_(\d+)_(\w+)$/.exec(layer);
  return match ? { kind: match[1] ?? "", index: Number(match[2]), rest: match[3] ?? "" } : null;
}
