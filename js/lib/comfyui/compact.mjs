// Inputs of our nodes that take no more room than they need: a text of one line, a strength that means something.

import { redraw } from "./app.mjs";
import { linkInto } from "./origins.mjs";
import { slotNamed } from "./links.mjs";

/** @typedef {import("../../types/editor_app").EditorNode} EditorNode */

const LINE_PIXELS = 16;
const FRAME_PIXELS = 24;
const MOST_LINES = 6;
/** About how many characters a line has. */
const LINE_CHARACTERS = 52;

/**
 * Gives the text of block strengths as many lines as it has, on the classic canvas.
 * @param {EditorNode} node
 */
export function keepTextShort(node) {
  const widget = /** @type {{value?: unknown, options?: Record<string, unknown>} | undefined} */ (node.widgets?.find(({ name }) => name === "blocks"));
  if (!widget?.options || typeof widget.options.getMinHeight === "function") return;
  const height = () => FRAME_PIXELS + LINE_PIXELS * linesOf(String(widget.value ?? ""));
  Object.assign(widget.options, { getMinHeight: height, getMaxHeight: height });
}

/** Lines that a text takes, as it is wrapped. @param {string} text */
export function linesOf(text) {
  const lines = text.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / LINE_CHARACTERS)), 0);
  return Math.min(MOST_LINES, lines);
}

/**
 * Without a CLIP, the strength for one means nothing: it is shown once one is connected.
 * @param {EditorNode} node
 */
export function hideIdleStrength(node) {
  const widget = /** @type {{hidden?: boolean, options?: {hidden?: boolean}} | undefined} */ (node.widgets?.find(({ name }) => name === "strength_clip"));
  const slot = slotNamed(node, "clip");
  if (!widget || slot < 0) return;
  const hidden = linkInto(node, slot) === null && linkInto(node, slotNamed(node, "strength_clip")) === null;
  if (Boolean(widget.hidden) === hidden) return;
  widget.hidden = hidden;
  if (widget.options) widget.options.hidden = hidden;
  redraw();
}
