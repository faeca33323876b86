// Panels on nodes: a DOM widget that shows a node's `ui` output and stores nothing.

import { forwardWheel, language, lastOutput, nodeByExecutionId, redraw, viewUrl } from "./app.mjs";

/**
 * @typedef {import("../../types/app").ComfyNode} ComfyNode
 * @typedef {import("../../types/app").DomWidget} DomWidget
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} Panel
 * @property {HTMLElement} root
 * @property {(output: import("../../types/app").NodeOutput) => void} show a node's whole `ui`; what is not for this panel is ignored
 * @property {() => void} languageChanged
 * @property {() => void} dispose
 *
 * @typedef {object} PanelHost
 * @property {ComfyNode} node
 * @property {() => Language} language
 * @property {(event: WheelEvent) => void} forwardWheel
 * @property {(image: import("../../types/compare").ImageRef) => string} viewUrl
 * @property {(hiddenPixels: number, anyOpen: boolean) => void} contentChanged something was folded or unfolded
 *
 * @typedef {object} PanelKind
 * @property {string} name widget name on the node
 * @property {string} type widget type; must be unknown to the frontend, or it draws its own
 * @property {number} minHeight
 * @property {[number, number]} initialSize least size of a new node
 * @property {(host: PanelHost) => Panel} create
 *
 * @typedef {{node: ComfyNode, kind: PanelKind, panel: Panel, widget: DomWidget}} Attached
 */

/** A node grows to show what was unfolded, up to here. */
const MOST_GROWTH_PIXELS = 280;

/** @type {Set<Attached>} */
const attached = new Set();

/** Every panel that was ever made, by its element. @type {WeakMap<Element, PanelKind>} */
const kinds = new WeakMap();

/**
 * @param {ComfyNode} node
 * @param {PanelKind} kind
 */
export function attachPanel(node, kind) {
  let minHeight = kind.minHeight;
  const claim = (/** @type {number} */ pixels) => {
    minHeight = kind.minHeight + pixels;
    panel.root.style.setProperty("min-height", `${minHeight}px`);
  };
  const panel = kind.create({ node, language, forwardWheel, viewUrl, contentChanged: growth(node, claim, () => attached.has(entry)) });
  claim(0);
  kinds.set(panel.root, kind);
  const widget = /** @type {import("../../types/app").DomNode} */ (node).addDOMWidget(kind.name, kind.type, panel.root, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => minHeight,
  });
  widget.serialize = false;
  const entry = { node, kind, panel, widget };
  attached.add(entry);
  growTo(node, kind.initialSize);
  followNode(entry);
  showLast(entry);
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
 * After an undo, Nodes 2.0 keeps the elements of the nodes that are gone: each panel takes the place of the one that
 * stood for its node before.
 */
export function takePlaces() {
  for (const { node, kind, panel } of attached) {
    if (panel.root.isConnected) continue;
    const places = document.querySelectorAll(`[data-node-id="${CSS.escape(String(node.id))}"] .patchbay-panel`);
    [...places].find((place) => kinds.get(place) === kind)?.replaceWith(panel.root);
  }
}

/** Shows what the page already knows: after a reload, a change of tab, an undo. */
export function showKnownOutputs() {
  attached.forEach(showLast);
}

/**
 * Results by execution id, for nodes of which the page knows nothing itself.
 * @param {Record<string, import("../../types/app").NodeOutput>} outputs
 */
export function showMissingOutputs(outputs) {
  for (const [id, output] of Object.entries(outputs)) {
    const node = nodeByExecutionId(id);
    for (const entry of attached) {
      if (entry.node === node && !lastOutput(node)) entry.panel.show(output);
    }
  }
}

export const wantsOutputs = () => [...attached].some((entry) => !lastOutput(entry.node));

export function languageChanged() {
  for (const { panel } of attached) panel.languageChanged();
}

/** @param {Attached} entry */
function showLast(entry) {
  const output = lastOutput(entry.node);
  if (output) entry.panel.show(output);
}

/** Chains two callbacks of this one node; what was there before runs first. @param {Attached} entry */
function followNode(entry) {
  const { node } = entry;
  const { onExecuted, onRemoved } = node;
  node.onExecuted = function (output) {
    onExecuted?.call(this, output);
    if (attached.has(entry)) entry.panel.show(output);
  };
  node.onRemoved = function () {
    onRemoved?.call(this);
    release(entry);
  };
}

/** @param {Attached} entry */
function release(entry) {
  attached.delete(entry);
  entry.panel.dispose();
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
 * @param {ComfyNode} node
 * @param {(pixels: number) => void} claim
 * @param {() => boolean} isAttached
 */
function growth(node, claim, isAttached) {
  let claimed = 0;
  const { onSerialize } = node;
  // What is unfolded is not stored: neither is its room, or the node would stay tall after an undo or a reload.
  node.onSerialize = function (stored) {
    onSerialize?.call(this, stored);
    const [width, height] = Array.from(stored.size ?? []);
    if (isAttached() && claimed > 0 && width !== undefined && height !== undefined) stored.size = [width, height - claimed];
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
  /** @param {number} hiddenPixels @param {boolean} anyOpen */
  return (hiddenPixels, anyOpen) => change(anyOpen ? claimed + Math.max(0, hiddenPixels) : 0);
}
