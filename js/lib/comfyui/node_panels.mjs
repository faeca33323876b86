// Panels on nodes: a DOM widget that shows a node's `ui` output and stores nothing. The widget is there at once; what it
// shows comes with its modules.

import { app, lastOutput, redraw } from "./app.mjs";

/**
 * @typedef {import("../../types/app").ComfyNode} ComfyNode
 * @typedef {import("../../types/app").DomWidget} DomWidget
 * @typedef {import("../../types/app").NodeOutput} NodeOutput
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} Panel
 * @property {boolean} [isResult] whether it shows what a run made, which is dimmed where the canvas is another one now
 * @property {(output: NodeOutput) => void} show a node's whole `ui`; what is not for this panel is ignored
 * @property {() => void} languageChanged
 * @property {() => void} dispose
 *
 * @typedef {object} PanelHost
 * @property {ComfyNode} node
 * @property {HTMLElement} root the panel's element, to be filled
 * @property {() => Language} language
 * @property {(route: string) => Promise<any>} ask JSON of one of our routes
 * @property {(event: WheelEvent) => void} forwardWheel
 * @property {(image: import("../../types/compare").ImageRef) => string} viewUrl
 * @property {(hiddenPixels: number, anyOpen: boolean) => void} contentChanged something was folded or unfolded
 * @property {(pixels: number) => void} setLeast what stands there always takes this height
 *
 * @typedef {object} PanelKind
 * @property {string} name widget name on the node
 * @property {string} type widget type; must be unknown to the frontend, or it draws its own
 * @property {number} minHeight
 * @property {[number, number]} initialSize least size of a new node
 * @property {number} [margin] around the panel on the classic canvas, 10 by default
 * @property {string[]} [hides] widgets that do not stand on the node: the panel shows their values, or shows them on demand
 * @property {() => Promise<(entry: Attached) => Panel>} load brings the modules that make the panel
 *
 * @typedef {object} Attached
 * @property {ComfyNode} node
 * @property {PanelKind} kind
 * @property {HTMLElement} root
 * @property {DomWidget} widget
 * @property {Panel | null} panel nothing until its modules are there
 * @property {NodeOutput | undefined} output what it shows, or will show once its modules are there
 * @property {(output: NodeOutput) => void} show
 * @property {() => void} afterShow
 * @property {(pixels: number) => void} claim height above the least one
 * @property {(pixels: number) => void} setLeast another least height; a node that was no taller than it had to be stays so
 */

/** A node grows to show what was unfolded, up to here. */
const MOST_GROWTH_PIXELS = 280;

/** @type {Set<Attached>} */
const attached = new Set();

/** Every panel that was ever made, by its element. @type {WeakMap<Element, PanelKind>} */
const kinds = new WeakMap();

export const attachedPanels = () => [...attached];

/**
 * @param {ComfyNode} node
 * @param {PanelKind} kind
 * @param {boolean} [isNew] false for a node with a size of its own, which only grows to what the panel needs
 */
export function attachPanel(node, kind, isNew = true) {
  let least = kind.minHeight;
  let unfolded = 0;
  const root = document.createElement("div");
  root.className = "patchbay-panel";
  kinds.set(root, kind);
  const widget = /** @type {import("../../types/app").DomNode} */ (node).addDOMWidget(kind.name, kind.type, root, {
    serialize: false,
    hideOnZoom: false,
    // It holds no value: in the frontend's list of a node's values it would be a blank row.
    hideInPanel: true,
    margin: kind.margin,
    getMinHeight: () => least + unfolded,
  });
  widget.serialize = false;
  keepWidth(widget);
  keepInside(widget, node);
  /** @type {Attached} */
  const entry = {
    node, kind, root, widget, panel: null, output: undefined,
    show(output) {
      // A report is as long as its file has layers: it is neither read nor written anew where it is the same one.
      if (output === entry.output && entry.panel) return;
      entry.output = output;
      root.toggleAttribute("data-result", true);
      if (!entry.panel) return;
      entry.panel.show(output);
      entry.afterShow();
    },
    afterShow() {},
    claim(pixels) {
      unfolded = pixels;
      root.style.setProperty("min-height", `${least + unfolded}px`);
    },
    setLeast(pixels) {
      const by = pixels - least;
      if (by === 0) return;
      const [width = 0, height = 0] = Array.from(node.size);
      const fitted = height <= (node.computeSize()[1] ?? 0) + 1;
      least = pixels;
      entry.claim(unfolded);
      const wanted = node.computeSize()[1] ?? 0;
      if (by > 0 ? height < wanted : fitted) node.setSize([width, wanted]);
      redraw();
    },
  };
  for (const name of kind.hides ?? []) setHidden(node, name, true);
  entry.claim(0);
  attached.add(entry);
  growTo(node, isNew ? kind.initialSize : [0, 0]);
  followNode(entry);
  void bring(entry);
}

/**
 * Where the frontend's list of values draws a widget all the same, it writes the list's width to it, and the classic canvas
 * then draws the panel that narrow. A panel is as wide as its node.
 * @param {DomWidget} widget
 */
function keepWidth(widget) {
  Object.defineProperty(widget, "width", { configurable: true, enumerable: true, get: () => undefined, set: () => {} });
}

/**
 * A panel belongs to its node: on the node that stands for a subgraph it would be a blank row, and its eye in the frontend's
 * list would do nothing. That list leaves out what is disabled, and shows nodes of another graph than the one on the canvas.
 * @param {DomWidget} widget @param {ComfyNode} node
 */
function keepInside(widget, node) {
  const get = () => Boolean(node.graph && app.canvas?.graph && node.graph !== app.canvas.graph);
  Object.defineProperty(widget, "computedDisabled", { configurable: true, enumerable: true, get, set: () => {} });
}

/**
 * Hides a widget, or shows it again. Each way of drawing looks at its own place.
 * @param {ComfyNode} node @param {string} name @param {boolean} hidden
 */
export function setHidden(node, name, hidden) {
  const widget = /** @type {{hidden?: boolean, options?: {hidden?: boolean}} | undefined} */ (node.widgets?.find((each) => each.name === name));
  if (!widget || Boolean(widget.hidden) === hidden) return;
  widget.hidden = hidden;
  if (widget.options) widget.options.hidden = hidden;
}

/** @param {Attached} entry */
async function bring(entry) {
  const create = await entry.kind.load();
  if (!attached.has(entry)) return;
  const early = entry.output;
  entry.panel = create(entry);
  entry.output = undefined;
  if (early) entry.show(early);
  else showLast(entry);
}

/**
 * Takes the panels of one kind off all nodes.
 * @param {PanelKind} kind
 */
export function detachPanels(kind) {
  for (const entry of [...attached].filter((candidate) => candidate.kind === kind)) {
    release(entry);
    entry.node.removeWidget?.(entry.widget);
    const [width = 0] = Array.from(entry.node.size);
    entry.node.setSize([width, entry.node.computeSize()[1] ?? 0]);
  }
}

/** @param {ComfyNode} node @param {PanelKind} kind */
export const hasPanel = (node, kind) => [...attached].some((entry) => entry.node === node && entry.kind === kind);

/**
 * After an undo, or when nodes were put into a subgraph, Nodes 2.0 keeps the elements of the nodes that are gone: each panel
 * takes the place of the one that stood for its node before.
 */
export function takePlaces() {
  const shown = app.canvas.graph ?? app.rootGraph;
  for (const { node, kind, root } of attached) {
    if (root.isConnected || node.graph !== shown) continue;
    const places = document.querySelectorAll(`[data-node-id="${CSS.escape(String(node.id))}"] .patchbay-panel`);
    [...places].find((place) => kinds.get(place) === kind && !isTaken(place, shown))?.replaceWith(root);
  }
}

/** Whether an element is that of a node which is shown. @param {Element} place @param {unknown} shown */
const isTaken = (place, shown) => [...attached].some(({ root, node }) => root === place && node.graph === shown);

/** Shows what the page already knows: after a reload, a change of tab, an undo. */
export function showKnownOutputs() {
  attached.forEach(showLast);
}

/** @param {Attached} entry */
function showLast(entry) {
  const output = lastOutput(entry.node);
  if (output) entry.show(output);
}

/** Chains two callbacks of this one node; what was there before runs first. @param {Attached} entry */
function followNode(entry) {
  const { node } = entry;
  const { onExecuted, onRemoved } = node;
  node.onExecuted = function (output) {
    onExecuted?.call(this, output);
    if (attached.has(entry)) entry.show(output);
  };
  node.onRemoved = function () {
    onRemoved?.call(this);
    release(entry);
  };
}

/** @param {Attached} entry */
function release(entry) {
  attached.delete(entry);
  entry.panel?.dispose();
}

/** @param {ComfyNode} node @param {[number, number]} size */
function growTo(node, [width, height]) {
  const [minWidth = 0, minHeight = 0] = Array.from(node.computeSize());
  const [nowWidth = 0, nowHeight = 0] = Array.from(node.size);
  node.setSize([Math.max(width, minWidth, nowWidth), Math.max(height, minHeight, nowHeight)]);
}

/**
 * Room for what was unfolded: the panel may claim more height, and the node grows by as much, once for each time that
 * something is unfolded. Folding everything gives it back. Nothing here follows the node's size.
 * @param {Attached} entry
 * @returns {PanelHost["contentChanged"]}
 */
export function growthOf(entry) {
  const { node, claim } = entry;
  let claimed = 0;
  const { onSerialize } = node;
  // What is unfolded is not stored: neither is its room, or the node would stay tall after an undo or a reload.
  node.onSerialize = function (stored) {
    onSerialize?.call(this, stored);
    const [width, height] = Array.from(stored.size ?? []);
    if (attached.has(entry) && claimed > 0 && width !== undefined && height !== undefined) stored.size = [width, height - claimed];
  };
  /** @param {number} wanted */
  const change = (wanted) => {
    const by = Math.min(MOST_GROWTH_PIXELS, Math.max(0, wanted)) - claimed;
    if (by === 0) return;
    claimed += by;
    claim(claimed);
    const [width = 0, height = 0] = Array.from(node.size);
    node.setSize([width, height + by]);
    redraw();
  };
  return (hiddenPixels, anyOpen) => change(anyOpen ? claimed + Math.max(0, hiddenPixels) : 0);
}
