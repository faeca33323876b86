// One fixed scale for "how strongly was this changed". It is never fitted to the picture, so that two cards compare.

/**
 * Relative change and its colour. Lightness rises evenly from step to step, so the order survives every kind of
 * colour blindness and a grey print; see tests/unit/js/scale.test.mjs.
 * @type {readonly (readonly [number, string])[]}
 */
export const RATIO_STOPS = [
  [0.001, "#392d7d"],
  [0.00316, "#3353a0"],
  [0.01, "#2579ab"],
  [0.0316, "#179fa5"],
  [0.1, "#53c48e"],
  [0.316, "#b3dc5e"],
  [1, "#fcec5e"],
];

/** Where the legend is labelled. */
export const RATIO_TICKS = [0.001, 0.01, 0.1, 1];

const LOWEST = 0.001;
const DECADES = 3;

/**
 * Place of a relative change on the scale, in 0..1: 0.1 % and less is 0, 100 % and more is 1, by decades between.
 * @param {number} ratio
 */
export function scalePosition(ratio) {
  if (!(ratio > LOWEST)) return 0;
  return Math.min(1, Math.log10(ratio / LOWEST) / DECADES);
}

/**
 * @param {number} ratio
 * @returns {string} `#rrggbb`
 */
export const ratioColour = (ratio) => colourAt(scalePosition(ratio));

/**
 * The colour at a place of the scale, in 0..1.
 * @param {number} position
 * @returns {string} `#rrggbb`
 */
export function colourAt(position) {
  const at = Math.min(1, Math.max(0, position)) * (RATIO_STOPS.length - 1);
  const below = Math.min(Math.floor(at), RATIO_STOPS.length - 2);
  const [, from] = /** @type {[number, string]} */ (RATIO_STOPS[below]);
  const [, to] = /** @type {[number, string]} */ (RATIO_STOPS[below + 1]);
  return mix(from, to, at - below);
}

/** The whole scale as a CSS gradient, for the legend. */
export function scaleGradient() {
  const stops = RATIO_STOPS.map(([, colour], i) => `${colour} ${Math.round((i / (RATIO_STOPS.length - 1)) * 100)}%`);
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}

/**
 * @param {string} from
 * @param {string} to
 * @param {number} share
 */
function mix(from, to, share) {
  const [a, b] = [channels(from), channels(to)];
  return `#${a.map((value, i) => toHex(value + ((b[i] ?? value) - value) * share)).join("")}`;
}

/** @param {string} colour @returns {number[]} */
const channels = (colour) => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));

/** @param {number} value */
const toHex = (value) => Math.round(value).toString(16).padStart(2, "0");
