// Where a picture lies on its stage: fitted, or enlarged and moved. Pure.

/** @typedef {{scale: number, x: number, y: number}} Zoom  `scale` 1 is fitted; x and y move the middle, in shares of the stage. */

/** @type {Zoom} */
export const FITTED = { scale: 1, x: 0, y: 0 };
const LARGEST = 32;

/** @param {number} value @param {number} most */
const clamp = (value, most) => Math.max(-most, Math.min(most, value)) || 0;

/** A picture never leaves its stage by more than it is larger. @param {Zoom} zoom @returns {Zoom} */
export function held({ scale, x, y }) {
  const kept = Math.max(1, Math.min(LARGEST, scale));
  const most = (kept - 1) / 2;
  return { scale: kept, x: clamp(x, most), y: clamp(y, most) };
}

/**
 * Enlarged around a point, which stays where it is.
 * @param {Zoom} zoom @param {number} factor @param {{x: number, y: number}} at from the middle of the stage, in shares of it
 * @returns {Zoom}
 */
export function zoomedAt(zoom, factor, at) {
  const scale = Math.max(1, Math.min(LARGEST, zoom.scale * factor));
  const by = scale / zoom.scale;
  return held({ scale, x: at.x - (at.x - zoom.x) * by, y: at.y - (at.y - zoom.y) * by });
}

/** @param {Zoom} zoom @param {number} x @param {number} y in shares of the stage @returns {Zoom} */
export const movedBy = (zoom, x, y) => held({ ...zoom, x: zoom.x + x, y: zoom.y + y });

/** @param {Zoom} zoom */
export const transformOf = ({ scale, x, y }) => `translate(${x * 100}%, ${y * 100}%) scale(${scale})`;
