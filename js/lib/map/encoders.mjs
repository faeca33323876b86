// Text encoders in the map: the blocks of each are a group of their own, for a model may have several. Pure.

import { splitLayer } from "./columns.mjs";

/** Block address of every layer of a text encoder, and the group of those that lie in no block of it. */
const TEXT_ENCODER = "te";

/** What a path is made of beside the encoder's own name. */
const CONTAINERS = /^(?:text_encoders?|text_model|transformer|encoder|model|block|(?:\w+_)?layers)$/;

/** @param {string} kind of a group */
export const isTextEncoder = (kind) => kind === TEXT_ENCODER || kind.startsWith(`${TEXT_ENCODER} `);

/**
 * Group, row and name inside the row of a text encoder's layer.
 * @param {string} layer
 * @returns {{kind: string, label: string, address: string, name: string}}
 */
export function encoderPlace(layer) {
  const inside = splitLayer(layer);
  if (!inside) return { kind: TEXT_ENCODER, label: layer, address: `${TEXT_ENCODER}|${layer}`, name: "" };
  return { kind: `${TEXT_ENCODER} ${inside.kind}`, label: String(inside.index), address: `${TEXT_ENCODER}|${inside.kind}.${inside.index}`, name: inside.rest };
}

/**
 * Which encoder a group belongs to: `clip_l`, `t5xxl`, `te1`; empty where its names do not say so.
 * @param {string} kind
 */
export function encoderName(kind) {
  const path = kind.slice(TEXT_ENCODER.length + 1);
  const numbered = /^lora_(te\d)_/.exec(path);
  const first = path.split(".")[0] ?? "";
  return numbered?.[1] ?? (path.includes(".") && !CONTAINERS.test(first) ? first : "");
}
