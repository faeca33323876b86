// Whether a result is that of what is on the canvas now: its inputs (nodes/core/report/inputs.py), value by value and link
// by link, against the graph. Pure.

import { linkInto, originOf, widgetOrigin } from "./origins.mjs";
import { plainText } from "../ui/format.mjs";

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("../../types/report").RunInputs} RunInputs
 * @typedef {import("./origins.mjs").HostOf} HostOf
 *
 * @typedef {object} Difference an input that was another one in the run
 * @property {string} name
 * @property {unknown} was its value then; nothing for a link
 * @property {boolean} linked
 * @property {boolean} own whether it is an input of the node itself
 */

const MOST_NAMED = 3;
const LONGEST_VALUE = 48;
const FILE = /\.(safetensors|sft|gguf|pth?|bin|ckpt)$/i;
/** What ComfyUI replaces in a text when it queues: random choices, comments, dates. */
const REPLACED = /\{[^}]*\|[^}]*\}|\/\/|\/\*|%[^%\s]+%/;

/**
 * The inputs in a node's result.
 * @param {Record<string, unknown> | undefined} output the node's `ui`
 * @returns {RunInputs | null} null for a result that does not say
 */
export function inputsOf(output) {
  for (const [name, values] of Object.entries(output ?? {})) {
    const value = name.startsWith("patchbay_") && Array.isArray(values) ? values[0] : null;
    const inputs = /** @type {{inputs?: RunInputs} | null} */ (value)?.inputs;
    if (inputs && typeof inputs.nodes === "object" && inputs.nodes?.[inputs.node]) return inputs;
  }
  return null;
}

/**
 * @param {RunInputs} inputs
 * @param {EditorNode} node the node on the canvas
 * @param {HostOf} hostOf
 * @returns {Difference[]} those of the node itself first
 */
export function differences(inputs, node, hostOf) {
  /** @type {Difference[]} */
  const found = [];
  const seen = new Set();
  /** @param {string} id @param {EditorNode} at */
  const walk = (id, at) => {
    const pair = `${id} ${at.graph?.id} ${at.id}`;
    const ran = inputs.nodes[id];
    if (!ran || seen.has(pair)) return;
    seen.add(pair);
    const own = at === node;
    for (const [name, was] of Object.entries(ran.inputs)) compare(name, was, at, own);
    at.inputs?.forEach((input, slot) => {
      const name = input.widget?.name ?? input.name ?? "";
      if (Object.hasOwn(ran.inputs, name) || !linkInto(at, slot)) return;
      const origin = originOf(at, slot, hostOf);
      if (origin && "node" in origin) found.push({ name, was: undefined, linked: true, own });
    });
  };
  /** @param {string} name @param {unknown} was @param {EditorNode} at @param {boolean} own */
  const compare = (name, was, at, own) => {
    const slot = at.inputs?.findIndex((input) => input.name === name || input.widget?.name === name) ?? -1;
    const linked = linkInto(at, slot) !== null;
    const origin = linked ? originOf(at, slot, hostOf) : widgetOrigin(at, name);
    if (origin === undefined) return;
    const ran = linkOf(was, inputs);
    const differs = { name, was: ran ? undefined : was, linked: ran !== null, own };
    if (!ran) {
      if (origin === null) return linked ? void found.push(differs) : undefined;
      if ("node" in origin || (!origin.rolling && !sameValue(was, origin.value))) found.push(differs);
    } else if (!origin || !("node" in origin)) {
      if (slot >= 0) found.push(differs);
    } else if (inputs.nodes[ran.id]?.class_type !== origin.node.comfyClass || ran.slot !== origin.slot) found.push(differs);
    else walk(ran.id, origin.node);
  };
  if (inputs.nodes[inputs.node]?.class_type !== node.comfyClass) return [{ name: "", was: undefined, linked: true, own: true }];
  walk(inputs.node, node);
  return found.sort((a, b) => Number(b.own) - Number(a.own));
}

/**
 * Whether what came in at an input of the run is what this output of the canvas would give now.
 * @param {RunInputs} inputs
 * @param {string} name of the input
 * @param {{node: EditorNode, slot: number}} origin
 * @param {HostOf} hostOf
 */
export function cameFrom(inputs, name, origin, hostOf) {
  const ran = linkOf(inputs.nodes[inputs.node]?.inputs[name], inputs);
  return ran !== null && ran.slot === origin.slot && differences({ ...inputs, node: ran.id }, origin.node, hostOf).length === 0;
}

/** @param {unknown} value @param {RunInputs} inputs */
function linkOf(value, { nodes }) {
  if (!Array.isArray(value) || value.length !== 2) return null;
  const [id, slot] = value;
  return typeof id === "string" && typeof slot === "number" && Object.hasOwn(nodes, id) ? { id, slot } : null;
}

/** @param {unknown} was @param {unknown} now */
function sameValue(was, now) {
  if (was === now || was === null || was === undefined) return true;
  if (typeof was === "number" || typeof now === "number") return Number(was) === Number(now);
  if (typeof was === "string" && typeof now === "string") return REPLACED.test(now);
  // What a widget makes of its value when it is queued cannot be told from here.
  return typeof was !== typeof now || typeof was === "object";
}

/**
 * `from an earlier run: ink, double_blocks=0`
 * @param {Difference[]} found
 * @param {import("../words/i18n.mjs").Language["t"]} t
 */
export function earlierText(found, t) {
  const named = [...new Set(found.map((each) => differenceText(each, t)))];
  const shown = named.slice(0, MOST_NAMED);
  if (named.length > MOST_NAMED) shown.push("…");
  return t("stale.line", { what: shown.join(", ") });
}

/** @param {Difference} difference @param {import("../words/i18n.mjs").Language["t"]} t */
function differenceText({ name, was, linked }, t) {
  if (linked) return t("stale.links");
  if (name === "blocks") return typeof was === "string" && was.trim() ? short(was) : t("stale.noBlocks");
  if (typeof was === "string" && FILE.test(was)) return short((was.split(/[\\/]/).pop() ?? was).replace(FILE, ""));
  return `${plainText(name, 40)}=${typeof was === "object" ? "…" : short(String(was))}`;
}

/** @param {string} text */
const short = (text) => plainText(text.replace(/\s+/g, " ").trim(), LONGEST_VALUE);
