// Pictures that a running node shows on its panel as they come.

import { api } from "../../../../scripts/api.js";
import { nodeByExecutionId } from "./app.mjs";

/**
 * @typedef {object} Arrival
 * @property {import("../../types/compare").ImageRef} picture
 * @property {string} label
 * @property {number} value 1 for the first one
 * @property {number} max
 */

/** @type {Map<unknown, (arrival: Arrival) => void>} */
const waiting = new Map();

api.addEventListener("patchbay.picture", ({ detail }) => {
  waiting.get(nodeByExecutionId(String(detail?.node)))?.(detail);
});

/** @param {import("../../types/app").ComfyNode} node @param {(arrival: Arrival) => void} show @returns {() => void} stops it */
export function onArrival(node, show) {
  waiting.set(node, show);
  return () => void waiting.delete(node);
}
