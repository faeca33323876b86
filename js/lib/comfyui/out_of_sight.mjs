// While ComfyUI runs, Nodes 2.0 draws its progress on the nodes with every picture, and Chromium then sorts into layers all
// that stands on the canvas, also what is far off the screen (tests/bench/page_layers.py). Meanwhile our nodes there are
// left out. When nothing runs they are whole, for whoever reads the page without looking at it or searches in it.

import { api } from "../../../../scripts/api.js";
import { OUT_OF_SIGHT } from "../ui/out_of_sight.mjs";
import { app, setting } from "./app.mjs";
import { canvasMayHaveChanged } from "./canvas_watch.mjs";

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
/** While something runs, and until all is drawn again. */
let following = false;
/** Whoever walks through the page by keyboard reaches what is off the screen too. */
let byKeyboard = false;
/** Nodes that are not drawn. @type {Set<HTMLElement>} */
const skipped = new Set();
/**
 * Nodes that will be left out, with their size, or drawn again, one with each picture: all at once made pictures come late.
 * @type {Map<HTMLElement, {width: string, height: string} | null>}
 */
const next = new Map();
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
  // To ask the window for its size with each picture would have the page laid out at once.
  window.addEventListener("resize", () => (view = ""));
  document.addEventListener("fullscreenchange", () => (view = ""));
}

function begin() {
  clearTimeout(ending);
  ending = undefined;
  if (running || setting("Comfy.VueNodes.Enabled") !== true) return;
  running = true;
  lookAt = 0;
  view = viewNow();
  if (!following) requestAnimationFrame(eachPicture);
  following = true;
}

/** @param {number} now milliseconds */
function eachPicture(now) {
  following = running || next.size > 0;
  if (!following) return;
  requestAnimationFrame(eachPicture);
  const seen = viewNow();
  if (seen !== view) {
    view = seen;
    showAll();
    lookAt = now + STILL_MILLISECONDS;
  } else if (running && now >= lookAt && !byKeyboard) {
    lookAt = now + AGAIN_MILLISECONDS;
    look();
  }
  for (const [node, size] of next) {
    next.delete(node);
    if (size) leaveOut(node, size);
    else draw(node);
    break;
  }
}

/** What is seen of which graph, as a text that is another one once that changes. */
function viewNow() {
  const { ds, graph } = app.canvas;
  return `${ds.scale} ${ds.offset[0]} ${ds.offset[1]} ${graph?.id}`;
}

/** Once: an observer that goes on costs time with every picture. */
function look() {
  forget();
  if (document.fullscreenElement) return;
  const nodes = new Set(panelsNow().flatMap((panel) => panel.closest(".lg-node") ?? []));
  if (nodes.size === 0) return;
  // ComfyUI clips the canvas: only around the element that clips does a margin count.
  const root = document.getElementById("graph-canvas-container");
  const own = (observer = new IntersectionObserver((entries) => {
    own.disconnect();
    if (own !== observer || !running || byKeyboard) return;
    for (const { target, isIntersecting } of entries) found(/** @type {HTMLElement} */ (target), isIntersecting);
  }, { root, rootMargin: MARGIN }));
  for (const node of nodes) own.observe(node);
}

/** Writes nothing where it leaves out: the page is laid out, and one after the other asks for sizes. @param {HTMLElement} node @param {boolean} inView */
function found(node, inView) {
  if (inView) return draw(node);
  if (skipped.has(node)) return void next.delete(node);
  const { width, height } = getComputedStyle(node);
  next.set(node, { width, height });
}

/**
 * What is left out takes no room of its own: without these the frontend would store another size of the node.
 * @param {HTMLElement} node @param {{width: string, height: string}} size
 */
function leaveOut(node, { width, height }) {
  // Where the frontend says how wide a node is, what it says later counts too.
  node.style.setProperty("--patchbay-width", node.style.getPropertyValue("--node-width") === width ? "var(--node-width)" : width);
  node.style.setProperty("--patchbay-height", height);
  node.toggleAttribute(OUT_OF_SIGHT, true);
  skipped.add(node);
}

/** @param {HTMLElement} node */
function draw(node) {
  next.delete(node);
  if (!skipped.delete(node)) return;
  node.toggleAttribute(OUT_OF_SIGHT, false);
  // Its panels did not look while nobody saw them.
  canvasMayHaveChanged();
}

/** What was found, or will be, counts no more. */
function forget() {
  observer?.disconnect();
  observer = null;
  next.clear();
}

function showAll() {
  forget();
  skipped.forEach(draw);
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
    forget();
    for (const node of skipped) next.set(node, null);
  }, AFTER_MILLISECONDS);
}
