// The parts of the web side that a page needs only once somebody uses them, and what each is made of. A page without our
// nodes loads none of them.

import { PARTS } from "./part_files.mjs";

/** @typedef {keyof typeof PARTS} PartName */

/** @type {Map<string, Promise<any>>} */
const parts = new Map();
/** @type {Map<string, Promise<unknown>>} */
const sheets = new Map();
const hinted = new Set();

/**
 * The main module of a part. All that it imports is asked for at once, not one import after the other.
 * @param {PartName} name
 * @returns {Promise<any>}
 */
export function loadPart(name) {
  const known = parts.get(name) ?? start(name);
  parts.set(name, known);
  return known;
}

/** @param {PartName} name */
async function start(name) {
  const { module, styles } = PARTS[name];
  prefetchPart(name);
  const [loaded] = await Promise.all([import(urlOf(module)), ...styles.map(useStyleSheet)]);
  return loaded;
}

/** Has the browser fetch a part ahead of need. @param {PartName} name */
export function prefetchPart(name) {
  for (const group of PARTS[name].files.split(" ")) {
    const [folder, files = ""] = group.split("/");
    for (const file of files.split(",")) hint(urlOf(`./${folder}/${file}.mjs`));
  }
}

/** When the page has nothing else to do. @param {() => void} act */
export function whenIdle(act) {
  if (typeof requestIdleCallback === "function") requestIdleCallback(act, { timeout: 4000 });
  else setTimeout(act, 1000);
}

/** @param {string} file */
const urlOf = (file) => new URL(file, import.meta.url).href;

/** @param {string} href */
function hint(href) {
  if (hinted.has(href)) return;
  hinted.add(href);
  const link = document.createElement("link");
  Object.assign(link, { rel: "modulepreload", href });
  document.head.append(link);
}

/** Links a style sheet once; done when it counts, or cannot be had. @param {string} name */
function useStyleSheet(name) {
  const known = sheets.get(name) ?? linkSheet(new URL(`../css/${name}.css`, import.meta.url).href);
  sheets.set(name, known);
  return known;
}

/** @param {string} href @returns {Promise<unknown>} */
function linkSheet(href) {
  const link = document.createElement("link");
  Object.assign(link, { rel: "stylesheet", href });
  return new Promise((done) => {
    link.addEventListener("load", done);
    link.addEventListener("error", done);
    document.head.append(link);
  });
}
