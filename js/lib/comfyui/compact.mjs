// Inputs of our nodes that take no more room than they need: a text of one line, a strength that means something.

import { redraw, setting } from "./app.mjs";
import { changesSeen, watchValue } from "./canvas_watch.mjs";
import { linkInto } from "./origins.mjs";
import { slotNamed } from "./links.mjs";

/** @typedef {import("../../types/editor_app").EditorNode} EditorNode */

const LINE_PIXELS = 16;
const FRAME_PIXELS = 24;
const MOST_LINES = 6;
/** About how many characters a line has. */
const LINE_CHARACTERS = 52;

/** Texts of several lines that are mostly short. */
const TEXTS = new Set(["blocks", "more_loras", "prompts"]);

/**
 * Gives texts such as block strengths as many lines as they have, on the classic canvas.
 * @param {EditorNode} node
 */
export function keepTextShort(node) {
  for (const each of node.widgets ?? []) {
    const widget = /** @type {{value?: unknown, options?: Record<string, unknown>}} */ (each);
    if (!TEXTS.has(each.name ?? "") || !widget.options || typeof widget.options.getMinHeight === "function") continue;
    const height = heightOf(widget);
    watchValue(widget);
    Object.assign(widget.options, { getMinHeight: height, getMaxHeight: height });
  }
}

/** The canvas asks for it several times a frame; the frontend's values are slow to read. @param {{value?: unknown}} widget */
function heightOf(widget) {
  let [seen, pixels] = [-1, 0];
  return () => {
    if (seen !== changesSeen()) {
      seen = changesSeen();
      pixels = FRAME_PIXELS + LINE_PIXELS * linesOf(String(widget.value ?? ""));
    }
    return pixels;
  };
}

/** What ComfyUI calls the line that it puts under a node while it runs, and leaves there. */
const PROGRESS_TEXT = "$$node-text-preview";

/**
 * Keeps that line from taking half of the room that is free on the classic canvas: the rest is the panel's.
 * @param {EditorNode} node
 */
export function keepProgressShort(node) {
  const widget = /** @type {{options?: Record<string, unknown>} | undefined} */ (node.widgets?.find(({ name }) => name === PROGRESS_TEXT));
  const { options } = widget ?? {};
  if (!options || typeof options.getMinHeight !== "function" || typeof options.getMaxHeight === "function") return;
  options.getMaxHeight = options.getMinHeight;
  redraw();
}

/** Above the lines stands the input's name. */
const NODES2_FRAME_PIXELS = 30;

/**
 * The same in Nodes 2.0, which gives every text field and panel an equal share of what is free. The rows of its grid are
 * written anew with each widget that comes or goes: a property of our own, which its style does not touch, overrules them.
 * @param {EditorNode} node
 * @param {HTMLElement} panel one of the node's panels
 */
export function keepTextRowShort(node, panel) {
  const widget = node.widgets?.find(({ name }) => name === "blocks");
  const grid = widget && /** @type {HTMLElement | null} */ (panel.closest(".lg-node-widgets"));
  if (!grid) return;
  const text = String(/** @type {{value?: unknown}} */ (widget).value ?? "");
  const rows = grid.style.gridTemplateRows.split(" ");
  const at = [...grid.children].findIndex((row) => row.querySelector("textarea")?.value === text);
  if (at < 0 || rows.length !== grid.children.length) return;
  rows[at] = `${NODES2_FRAME_PIXELS + LINE_PIXELS * linesOf(text)}px`;
  const wanted = rows.join(" ");
  if (grid.style.getPropertyValue("--patchbay-rows") === wanted) return;
  grid.style.setProperty("--patchbay-rows", wanted);
  grid.toggleAttribute("data-patchbay-rows", true);
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
  putAnew(/** @type {unknown[]} */ (node.widgets), widget);
  redraw();
}

/** Nodes 2.0 looks at what a widget says of itself only when the node's list of widgets changes. @param {unknown[]} widgets @param {unknown} widget */
function putAnew(widgets, widget) {
  if (setting("Comfy.VueNodes.Enabled") !== true) return;
  const at = widgets.indexOf(widget);
  widgets.splice(at, 1);
  widgets.splice(at, 0, widget);
}
