// While ComfyUI runs, Nodes 2.0 draws its progress on the nodes with every picture, and Chromium then sorts into layers all
// that stands on the canvas, also what is far off the screen (tests/bench/page_layers.py). Meanwhile our nodes there are
// left out. When nothing runs they are whole, for whoever reads the page without looking at it or searches in it.

import { api } from "../../../../scripts/api.js";
import { OUT_OF_SIGHT } from "../ui/out_of_sight.mjs";
import { app, setting } from "./app.mjs";

/** Around what is seen. */
const MARGIN = "10%";
/** A canvas that moves shows all of its nodes; it counts as still after this. */
const STILL_MILLISECONDS = 400;
/** A script may have moved a node. */
const AGAIN_MILLISECONDS = 2000;
/** After a run: the next one often follows at once. */
const AFTER_MILLISECONDS = 700;
const ENDS = ["execution_success", "execution_error", "execution_interrupted", "reconnecting"];

/** @type {() => Element[]} */
let panelsNow = () => [];
let running = false;
/** Whoever walks through the page by keyboard reaches what is off the screen too. */
let byKeyboard = false;
/** Nodes that are not drawn. @type {Set<Element>} */
const skipped = new Set();
/** @type {IntersectionObserver | null} */
let observer = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let ending;
let view = "";
let lookAt = 0;

/**
 * From now on, leaves out the nodes off the screen during each run.
 * @param {() => Element[]} panels those on nodes
 */
export function leaveOutWhatIsOffScreen(panels) {
  panelsNow = panels;
  api.addEventListener("execution_start", begin);
  // After a reload the page is told of no start, only of each node.
  api.addEventListener("executing", (/** @type {CustomEvent} */ { detail }) => detail && begin());
  for (const type of ENDS) api.addEventListener(type, endSoon);
  document.addEventListener("keydown", ({ key }) => key === "Tab" && walk(true), { capture: true, passive: true });
  document.addEventListener("pointerdown", () => walk(false), { capture: true, passive: true });
}

function begin() {
  clearTimeout(ending);
  ending = undefined;
  if (running || setting("Comfy.VueNodes.Enabled") !== true) return;
  running = true;
  lookAt = 0;
  view = viewNow();
  requestAnimationFrame(eachPicture);
}

/** @param {number} now milliseconds */
function eachPicture(now) {
  if (!running) return;
  requestAnimationFrame(eachPicture);
  const seen = viewNow();
  if (seen !== view) {
    view = seen;
    showAll();
    lookAt = now + STILL_MILLISECONDS;
  } else if (now >= lookAt && !byKeyboard) {
    lookAt = now + AGAIN_MILLISECONDS;
    look();
  }
}

/** What is seen of which graph, as a text that is another one once that changes. */
function viewNow() {
  const { ds, graph } = app.canvas;
  return [ds.scale, ds.offset[0], ds.offset[1], innerWidth, innerHeight, graph?.id, Boolean(document.fullscreenElement)].join();
}

/** Once: an observer that goes on costs time with every picture. */
function look() {
  observer?.disconnect();
  observer = null;
  if (document.fullscreenElement) return;
  const nodes = new Set(panelsNow().flatMap((panel) => panel.closest(".lg-node") ?? []));
  if (nodes.size === 0) return;
  // ComfyUI clips the canvas: only around the element that clips does a margin count.
  const root = document.getElementById("graph-canvas-container");
  const own = (observer = new IntersectionObserver((entries) => {
    own.disconnect();
    if (own === observer && running && !byKeyboard) for (const { target, isIntersecting } of entries) mark(target, !isIntersecting);
  }, { root, rootMargin: MARGIN }));
  for (const node of nodes) own.observe(node);
}

/** @param {Element} node @param {boolean} away */
function mark(node, away) {
  if (skipped.has(node) === away) return;
  node.toggleAttribute(OUT_OF_SIGHT, away);
  skipped[away ? "add" : "delete"](node);
}

function showAll() {
  observer?.disconnect();
  observer = null;
  for (const node of skipped) mark(node, false);
}

/** @param {boolean} now */
function walk(now) {
  byKeyboard = now;
  if (now) showAll();
}

function endSoon() {
  clearTimeout(ending);
  ending = setTimeout(() => {
    running = false;
    showAll();
  }, AFTER_MILLISECONDS);
}
