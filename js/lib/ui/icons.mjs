// Small pictures that carry a meaning next to a word, never instead of one.

import { svg } from "./dom.mjs";

/** @type {Record<string, string>} Outline (filled) and sign (stroked), on a 16 x 16 grid. */
const LEVEL_SHAPES = {
  ok: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1z",
  warning: "M8 1.2 15.4 14.6H.6z",
  error: "M5 1h6l4 4v6l-4 4H5l-4-4V5z",
};

/** @type {Record<string, string>} */
const LEVEL_SIGNS = {
  ok: "M4.6 8.3 7 10.7 11.4 5.8",
  warning: "M8 6v4M8 12.1v.6",
  error: "M5.6 5.6 10.4 10.4M10.4 5.6 5.6 10.4",
};

/**
 * A circle, a triangle or an octagon: the shape alone tells the level.
 * @param {string} level
 */
export function levelIcon(level) {
  return svg(
    "svg",
    { class: "patchbay-level-icon", viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { class: "patchbay-level-shape", d: LEVEL_SHAPES[level] ?? LEVEL_SHAPES.warning }),
    svg("path", { class: "patchbay-level-sign", d: LEVEL_SIGNS[level] ?? LEVEL_SIGNS.warning }),
  );
}

/** @type {Record<string, string>} */
const STATE_SHAPES = {
  applied: "M2.5 8.5 6.5 12.5 13.5 4",
  skipped: "M3 8H13",
  dead: "M8 3.2a4.8 4.8 0 1 1 0 9.6 4.8 4.8 0 0 1 0-9.6z",
  in_file: "M8 5.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5z",
  no_such_layer: "M8 3.2a4.8 4.8 0 1 1 0 9.6 4.8 4.8 0 0 1 0-9.6zM3 13 13 3",
  shape_mismatch: "M2.5 6H13.5M2.5 10H13.5M5 13.5 11 2.5",
  wrong_architecture: "M3.5 3.5 12.5 12.5M12.5 3.5 3.5 12.5",
  not_understood: "M5 6a3 3 0 1 1 4.4 2.6C8.3 9.2 8 9.6 8 10.6M8 13v.4",
};

/** @param {string} state */
export function stateIcon(state) {
  return svg(
    "svg",
    { class: `patchbay-state-icon patchbay-is-${Object.hasOwn(STATE_SHAPES, state) ? state : "unknown"}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: STATE_SHAPES[state] ?? STATE_SHAPES.not_understood }),
  );
}

/** @type {Record<string, string>} */
const ACTION_SHAPES = {
  text: "M5.5 3.5h-2v10h9v-10h-2M5.5 2h5v3h-5zM5.6 8h4.8M5.6 10.6h4.8",
  json: "M6 2.5c-2 0-2 1-2 2.6C4 7 3.6 8 2.4 8 3.6 8 4 9 4 10.9c0 1.6 0 2.6 2 2.6M10 2.5c2 0 2 1 2 2.6C12 7 12.4 8 13.6 8 12.4 8 12 9 12 10.9c0 1.6 0 2.6-2 2.6",
};

/** @param {"text" | "json"} action */
export function actionIcon(action) {
  return svg("svg", { class: "patchbay-action-icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: ACTION_SHAPES[action] }));
}

/** @type {Record<string, string>} */
const EDITOR_SHAPES = {
  presets: "M2.5 4h7M12.5 4h1M2.5 8h2M7.5 8h6M2.5 12h5M10.5 12h3M11 2.5v3M6 6.5v3M9 10.5v3",
  reset: "M3.2 6.2A5.2 5.2 0 1 1 2.9 9.4M3 2.6v3.8h3.8",
  save: "M8 2v8M4.8 7 8 10.2 11.2 7M2.5 13.5h11",
  trash: "M3 4.5h10M6 4.5v-2h4v2M4.5 4.5l.6 9h5.8l.6-9",
};

/** @param {"presets" | "reset" | "save" | "trash"} name */
export function editorIcon(name) {
  return svg("svg", { class: "patchbay-action-icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: EDITOR_SHAPES[name] }));
}

/** @type {Record<string, string>} */
const PANEL_SHAPES = {
  goto: "M8 1.5v3M8 11.5v3M1.5 8h3M11.5 8h3M8 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8z",
  close: "M4 4 12 12M12 4 4 12",
  follow: "M3 2.5 12.5 7 8.6 8.6 7 12.5zM9 9l4 4",
  export: "M8 10V2M4.8 5 8 1.8 11.2 5M3 8.5v5h10v-5",
  help: "M5 5.6a3 3 0 1 1 4.6 2.5C8.4 8.9 8 9.3 8 10.4M8 12.9v.5",
};

/** @param {"goto" | "close" | "follow" | "export" | "help"} name */
export function panelIcon(name) {
  return svg("svg", { class: "patchbay-action-icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: PANEL_SHAPES[name] }));
}
