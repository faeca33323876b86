// Pictures that a running node shows on its panel as they come.

import { api } from "../../../../scripts/api.js";
import { nodeByExecutionId } from "./app.mjs";

/**
 * @typedef {object} Arrival
 * @property {import("../../types/compare").ImageRef} picture
 * @property {string} label
 * @property {number} value 1 for the first one
 * @property {number} max 0 where nobody knows how many there will be
 *
 * @typedef {object} Arrivals
 * @property {() => Arrival[]} shown none where no run goes on
 * @property {() => boolean} end the result is there; whether there were pictures
 * @property {() => void} dispose
 */

/** The oldest go first. */
const MOST_SHOWN = 60;

/** @type {Map<unknown, (arrival: Arrival) => void>} */
const waiting = new Map();

api.addEventListener("patchbay.picture", ({ detail }) => {
  waiting.get(nodeByExecutionId(String(detail?.node)))?.(detail);
});

/**
 * Collects the pictures of the run that goes on.
 * @param {import("../../types/app").ComfyNode} node
 * @param {() => void} changed
 * @returns {Arrivals}
 */
export function collectArrivals(node, changed) {
  /** @type {Arrival[]} */
  let arrived = [];
  waiting.set(node, (arrival) => {
    arrived = arrival.value === 1 ? [arrival] : [...arrived, arrival].slice(-MOST_SHOWN);
    changed();
  });
  return {
    shown: () => arrived,
    end() {
      const some = arrived.length > 0;
      arrived = [];
      return some;
    },
    dispose: () => void waiting.delete(node),
  };
}
