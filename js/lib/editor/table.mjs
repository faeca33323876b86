// Block strengths bound to the layers of a model: which item counts where. Pure.
// The same rules as `StrengthTable` in nodes/core/strengths/text.py; tests/unit/strength_vectors.json holds both to it.

import { formatSelector } from "./text.mjs";

/**
 * @typedef {import("../../types/strengths").StrengthLayout} StrengthLayout
 * @typedef {import("./text.mjs").Selector} Selector
 * @typedef {import("./text.mjs").PlacedItem} PlacedItem
 * @typedef {import("./text.mjs").Problem} Problem
 *
 * @typedef {object} Unit the smallest thing with a strength of its own: a layer, or a named slice of a fused one
 * @property {string} kind name of the container, empty for what lies in none
 * @property {number} index number of the block in its container
 * @property {number} position its place in the container, from 0
 * @property {number} count blocks of the container
 * @property {boolean} te whether it belongs to a text encoder
 * @property {string} encoder which, where that is known
 * @property {string} layer
 * @property {ReadonlySet<string>} names parts of the layer and names of the slice
 *
 * @typedef {object} Model the units of a layout
 * @property {Unit[]} units
 * @property {ReadonlySet<string>} kinds containers of the diffusion model
 * @property {readonly string[]} textKinds containers of the text encoders
 * @property {ReadonlySet<string>} encoders
 * @property {boolean} textKnown whether the text encoder's own layers are known
 *
 * @typedef {object} Scope what a selector speaks of
 * @property {string} target `all`, `other`, `te`, `*` or the name of a container
 * @property {number | null} first
 * @property {number | null} last
 * @property {boolean} percent
 * @property {string} part
 * @property {string} encoder one text encoder, or empty for all
 * @property {string} container last words of a text encoder's container, `*` for any, `other` for none, empty for all
 *
 * @typedef {object} Rule an item understood for one model
 * @property {number} item position in the text, counted in items
 * @property {Scope} scope
 * @property {number} value
 * @property {Uint8Array} hits 1 for each unit that it names
 *
 * @typedef {object} StrengthTable
 * @property {Model} model
 * @property {Rule[]} rules
 * @property {Int32Array} winners for each unit the rule that counts, or -1
 * @property {Problem[]} problems items that name nothing in this model
 */

export const ALL = "all";
export const OTHER = "other";
export const TEXT_ENCODER = "te";
export const ANY = "*";
const FIXED = [ALL, OTHER, ANY];

/** @type {Readonly<Record<string, string>>} Each counts only where the model has no container of that very name. */
const SHORT_FORMS = {
  double: "double_blocks",
  single: "single_blocks",
  in: "input_blocks",
  mid: "middle_block",
  out: "output_blocks",
};

/** @param {StrengthLayout} layout @returns {Model} */
export function toModel(layout) {
  /** @type {Unit[]} */
  const units = [];
  /** @param {number | null} set @param {Omit<Unit, "layer" | "names">} place */
  const add = (set, place) => {
    for (const { layer, parts, slices } of (set === null ? null : layout.layer_sets[set]) ?? []) {
      for (const slice of slices.length > 0 ? slices : [[]]) units.push({ ...place, layer, names: new Set([...parts, ...slice]) });
    }
  };
  /** @param {import("../../types/strengths").LayoutContainer} container @param {boolean} te */
  const addContainer = ({ kind, blocks }, te) => {
    const encoder = te ? kind.split(".")[0] ?? "" : "";
    blocks.forEach(({ index, layers }, position) => add(layers, { kind, index, position, count: blocks.length, te, encoder }));
  };
  for (const container of layout.containers) addContainer(container, false);
  add(layout.other, { ...OUTSIDE, te: false, encoder: "" });
  for (const container of layout.te?.containers ?? []) addContainer(container, true);
  for (const { encoder, layers } of layout.te?.other ?? []) add(layers, { ...OUTSIDE, te: true, encoder });
  return {
    units,
    kinds: new Set(layout.containers.map(({ kind }) => kind)),
    textKinds: (layout.te?.containers ?? []).map(({ kind }) => kind),
    encoders: new Set(layout.te?.encoders),
    textKnown: layout.te?.known ?? false,
  };
}

const OUTSIDE = { kind: "", index: 0, position: 0, count: 1 };

/**
 * @param {PlacedItem[]} items
 * @param {Model} model
 * @returns {StrengthTable}
 */
export function bindStrengths(items, model) {
  /** @type {Rule[]} */
  const rules = [];
  /** @type {Problem[]} */
  const problems = [];
  items.forEach((item, position) => {
    const scope = understand(item, model);
    const hits = scope && unitsOf(scope, model);
    // A text without a CLIP connected may still speak of it.
    let spared = scope?.target === TEXT_ENCODER && !model.textKnown;
    // A range of depth may fall between the blocks of a small model: it names a depth, not a block.
    if (scope?.percent) spared ||= unitsOf({ ...scope, first: null, last: null }, model).includes(1);
    if (!scope || !hits || !(spared || hits.includes(1))) {
      const selector = formatSelector(item);
      problems.push({ kind: "namesNothing", item: selector, word: selector });
    } else rules.push({ item: position, scope, value: item.value, hits });
  });
  const winners = new Int32Array(model.units.length).fill(-1);
  rules.forEach((rule, i) => rule.hits.forEach((hit, unit) => hit && (winners[unit] = i)));
  return { model, rules, winners, problems };
}

/** @param {StrengthTable} table @param {number} unit */
export const strengthOf = (table, unit) => table.rules[table.winners[unit] ?? -1]?.value ?? 1;

/**
 * Splits a selector's path into what it speaks of and a part.
 * @param {Selector} selector
 * @param {Model} model
 * @returns {Scope | null} null where the model has nothing of this name
 */
export function understand(selector, model) {
  const { path } = selector;
  if (path[0] === TEXT_ENCODER) return understandText(selector, model);
  for (let end = path.length; end > 0; end -= 1) {
    const name = path.slice(0, end).join(".");
    const known = model.kinds.has(name) || FIXED.includes(name);
    const target = known ? name : Object.hasOwn(SHORT_FORMS, name) ? SHORT_FORMS[name] ?? "" : "";
    if (!model.kinds.has(target) && !FIXED.includes(target)) continue;
    const rest = path.slice(end).join(".");
    if (hasIndex(selector) && (rest || target === ALL || target === OTHER)) continue;
    return scopeOf(selector, target, rest || selector.part);
  }
  return null;
}

/**
 * `te[.encoder][.container][.index][.part]`; what is no encoder and no container is a part.
 * @param {Selector} selector
 * @param {Model} model
 * @returns {Scope | null}
 */
function understandText(selector, model) {
  let words = selector.path.slice(1);
  const encoder = model.encoders.has(words[0] ?? "") ? words[0] ?? "" : "";
  if (encoder) words = words.slice(1);
  if (words[0] === OTHER && !hasIndex(selector)) return scopeOf(selector, TEXT_ENCODER, words.slice(1).join("."), encoder, OTHER);
  const kinds = model.textKinds.filter((kind) => !encoder || kind.split(".")[0] === encoder);
  for (let end = words.length; end > 0; end -= 1) {
    const name = words.slice(0, end).join(".");
    if (!kinds.some((kind) => endsWith(kind, name))) continue;
    const rest = words.slice(end).join(".");
    if (hasIndex(selector) && rest) break;
    return scopeOf(selector, TEXT_ENCODER, rest || selector.part, encoder, name);
  }
  if (!hasIndex(selector)) return scopeOf(selector, TEXT_ENCODER, words.join("."), encoder);
  if (words.length > 0 && model.textKnown) return null;
  return scopeOf(selector, TEXT_ENCODER, selector.part, encoder, ANY);
}

/** @param {Selector} selector */
const hasIndex = ({ anyIndex, first }) => anyIndex || first !== null;

/** @param {Selector} selector @param {string} target @param {string} part @returns {Scope} */
const scopeOf = ({ first, last, percent }, target, part, encoder = "", container = "") => ({ target, first, last, percent, part, encoder, container });

/** Whether the last words of a container's name are `name`; the encoder's own name does not count. @param {string} kind @param {string} name */
const endsWith = (kind, name) => kind.includes(".") && kind.slice(kind.indexOf(".")).endsWith(`.${name}`);

/**
 * 1 for each unit that a selector names.
 * @param {Scope} scope
 * @param {Model} model
 */
export function unitsOf(scope, { units }) {
  return Uint8Array.from(units, (unit) => (inScope(scope, unit) && (!scope.part || unit.names.has(scope.part)) ? 1 : 0));
}

/** @param {Scope} scope @param {Unit} unit */
function inScope(scope, unit) {
  const { target } = scope;
  if (target === ALL) return true;
  if (target === TEXT_ENCODER) return unit.te && inTextScope(scope, unit);
  if (unit.te) return false;
  if (target === OTHER || !unit.kind) return target === OTHER && !unit.kind;
  return (target === ANY || target === unit.kind) && counts(scope, unit);
}

/** @param {Scope} scope @param {Unit} unit */
function inTextScope(scope, unit) {
  const { encoder, container } = scope;
  if (encoder && unit.encoder !== encoder) return false;
  if (!container) return true;
  if (!unit.kind || container === OTHER) return !unit.kind && container === OTHER;
  return (container === ANY || endsWith(unit.kind, container)) && counts(scope, unit);
}

/** Block i of n lies at the depth (i + 1/2) / n. @param {Scope} scope @param {Unit} unit */
function counts({ first, last, percent }, { index, position, count }) {
  if (first === null || last === null) return true;
  if (!percent) return first <= index && index <= last;
  const depth = 100 * (2 * position + 1);
  return 2 * count * first <= depth && (depth < 2 * count * last || last === 100);
}
