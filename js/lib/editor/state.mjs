// What the strength editor shows, from the text, the layout and the LoRA's energy. Pure.

import { shortKind, plainText } from "../ui/format.mjs";
import { barState } from "./edit.mjs";
import { ALL, bindStrengths, OTHER, TEXT_ENCODER, toModel, understand, unitsOf } from "./table.mjs";
import { parseSelector, parseStrengths } from "./text.mjs";

/**
 * @typedef {import("../../types/strengths").StrengthLayout} StrengthLayout
 * @typedef {import("./table.mjs").Model} Model
 * @typedef {import("./table.mjs").Unit} Unit
 * @typedef {import("./text.mjs").Selector} Selector
 * @typedef {import("./edit.mjs").BarState} BarState
 *
 * @typedef {object} Target something with a bar
 * @property {string} selector as it is written: `double_blocks.3`
 * @property {string} name for people: `double 3`
 * @property {string} mark the short mark under its bar
 *
 * @typedef {object} Group
 * @property {Target | null} whole the blocks of a kind together; null for what is in no container
 * @property {Target[]} bars
 *
 * @typedef {{units: Unit[], shares: number[], missing: number}} Energy shares of the LoRA's squared delta norm
 *
 * @typedef {object} Board what does not change while somebody drags
 * @property {StrengthLayout} layout
 * @property {Model} model
 * @property {Group[]} groups
 * @property {Energy | null} energy
 *
 * @typedef {{low: number, high: number}} Axis
 */

const SCALE_STEPS = [1.5, 2, 3, 5, 10, 20, 50, 100];
const PARTS = ["img", "txt", "attn", "mlp", "q", "k", "v"];
const MOST_LAYER_ROWS = 24;

/**
 * @param {StrengthLayout} layout
 * @param {Energy | null} energy
 * @param {(key: string) => string} t
 * @returns {Board}
 */
export function toBoard(layout, energy, t) {
  /** @type {Group[]} */
  const groups = layout.containers.map(({ kind, blocks }) => {
    const short = plainText(shortKind(kind), 24);
    return {
      whole: { selector: `${kind}.*`, name: short, mark: "" },
      bars: blocks.map(({ index }) => ({ selector: `${kind}.${index}`, name: `${short} ${index}`, mark: String(index) })),
    };
  });
  const rest = [];
  if (layout.other !== null) rest.push({ selector: OTHER, name: t("column.other"), mark: t("column.other") });
  if (layout.te !== null) rest.push({ selector: TEXT_ENCODER, name: t("column.te"), mark: t("editor.te") });
  if (rest.length > 0) groups.push({ whole: null, bars: rest });
  return { layout, model: toModel(layout), groups, energy };
}

/** The energy that a LoRA file's own layout carries. @param {StrengthLayout} layout @returns {Energy | null} */
export function energyOfFile(layout) {
  if (layout.energy === null) return null;
  const { units } = toModel(layout);
  return collectEnergy(units, Object.entries(layout.energy).flatMap(([block, layers]) => Object.entries(layers).map(([layer, share]) => ({ block, layer, share }))), layout.not_measured);
}

/**
 * The energy as a run measured it, in the model's own names. Nothing where nothing was measured.
 * @param {import("../../types/report").LayerReport[]} layers
 * @param {Model} model
 * @returns {Energy | null}
 */
export function energyOfReport(layers, model) {
  const measured = layers.filter(({ delta_norm }) => delta_norm !== null);
  const total = measured.reduce((sum, { delta_norm }) => sum + (delta_norm ?? 0) ** 2, 0);
  if (!(total > 0)) return null;
  const shares = measured.map(({ block, layer, delta_norm }) => ({ block, layer, share: (delta_norm ?? 0) ** 2 / total }));
  return collectEnergy(model.units, shares, layers.filter(({ delta_norm, state }) => delta_norm === null && state !== "dead").length);
}

/**
 * @param {Unit[]} known for the names of the parts
 * @param {{block: string, layer: string, share: number}[]} shares
 * @param {number} missing
 * @returns {Energy}
 */
function collectEnergy(known, shares, missing) {
  /** What a fused layer adds to its slices cannot be told apart: only the names of all of them count. @type {Map<string, Set<string>>} */
  const names = new Map();
  for (const unit of known) {
    const key = `${unit.te ? TEXT_ENCODER : unit.kind ? `${unit.kind}.${unit.index}` : OTHER} ${unit.layer}`;
    const shared = names.get(key);
    names.set(key, shared ? new Set([...shared].filter((name) => unit.names.has(name))) : new Set(unit.names));
  }
  const units = shares.map(({ block, layer }) => {
    const match = /^(.*)\.(\d+)$/.exec(block);
    return {
      kind: match?.[1] ?? "", index: Number(match?.[2] ?? 0), position: 0, count: 1, te: block === TEXT_ENCODER, encoder: "", layer,
      names: names.get(`${block} ${layer}`) ?? new Set([layer]),
    };
  });
  return { units, shares: shares.map(({ share }) => share), missing };
}

/**
 * Share of the LoRA (squared norm) that lies in a target; null where it is not known, or cannot be told apart.
 * @param {Board} board
 * @param {string} selector
 */
export function energyShare({ energy, model }, selector) {
  const scope = energy && understand(selectorOf(selector), model);
  if (!energy || !scope) return null;
  const hits = unitsOf(scope, { ...model, units: energy.units });
  if (scope.part && !hits.includes(1)) return null;
  return energy.shares.reduce((sum, share, i) => (hits[i] ? sum + share : sum), 0);
}

/** @param {string} text @returns {Selector} */
export function selectorOf(text) {
  const selector = parseSelector(text);
  if ("kind" in selector) throw new Error(`${text} is no selector`);
  return selector;
}

/**
 * The text bound to the board's model, and all that is wrong with it.
 * @param {Board} board
 * @param {string} text
 */
export function readText(board, text) {
  const parsed = parseStrengths(text);
  const table = bindStrengths(parsed.items, board.model);
  return { table, problems: [...parsed.problems, ...table.problems] };
}

/**
 * The parts of a target that differ from it and from each other, then the layers that the LoRA has there.
 * @param {Board} board
 * @param {string} selector
 * @returns {Target[]}
 */
export function partsOf(board, selector) {
  const whole = selectorOf(selector);
  const base = hitsOf(board, selector);
  if (!base.includes("1") || whole.part) return [];
  const seen = new Set([base]);
  /** @type {Target[]} */
  const parts = [];
  /** @param {string} part */
  const add = (part) => {
    const candidate = `${selector}.${part}`;
    if ("kind" in parseSelector(`${candidate}`)) return;
    const hits = hitsOf(board, candidate);
    if (!hits.includes("1") || seen.has(hits)) return;
    seen.add(hits);
    parts.push({ selector: candidate, name: plainText(part, 48), mark: "" });
  };
  PARTS.forEach(add);
  const layers = new Set(board.energy?.units.filter((_, i) => energyHits(board, selector)[i]).map(({ layer }) => layer));
  if (layers.size <= MOST_LAYER_ROWS) layers.forEach(add);
  return parts;
}

/** @param {Board} board @param {string} selector */
function hitsOf({ model }, selector) {
  const scope = understand(selectorOf(selector), model);
  return scope ? unitsOf(scope, model).join("") : "";
}

/** @param {Board} board @param {string} selector */
function energyHits({ energy, model }, selector) {
  const scope = understand(selectorOf(selector), model);
  return scope && energy ? unitsOf(scope, { ...model, units: energy.units }) : new Uint8Array();
}

/**
 * Every target that exists on the board, by its selector.
 * @param {Board} board
 * @param {string} allName
 * @returns {Map<string, Target>}
 */
export function targetsOf(board, allName) {
  const all = { selector: ALL, name: allName, mark: "" };
  const targets = [all, ...board.groups.flatMap(({ whole, bars }) => (whole ? [whole, ...bars] : bars))];
  return new Map(targets.map((target) => [target.selector, target]));
}

/**
 * A scale that holds 0, 1 and every strength. It never shrinks below `least`, so that it stands still while one drags.
 * @param {BarState[]} states
 * @param {Axis} [least]
 * @returns {Axis}
 */
export function axisFor(states, least = { low: 0, high: 1.5 }) {
  const high = Math.max(least.high, ...states.map((state) => state.high));
  const low = Math.min(least.low, ...states.map((state) => state.low));
  return { low: low < 0 ? -stepAbove(-low) : 0, high: stepAbove(high) };
}

/** @param {number} value */
const stepAbove = (value) => (value <= 1 ? 1 : SCALE_STEPS.find((step) => value <= step + 1e-9) ?? value);

/** Place on the axis in 0..1. @param {Axis} axis @param {number} value */
export const along = ({ low, high }, value) => Math.min(1, Math.max(0, (value - low) / (high - low)));

/** Steps of the gestures. */
export const STEP = 0.05;
export const FINE_STEP = 0.01;

/**
 * A strength near 0 or 1 is 0 or 1: a hand that pulls a bar to the floor does not go past it.
 * @param {number} value
 * @param {number} reach how near
 */
export function sticky(value, reach) {
  const mark = [0, 1].find((each) => Math.abs(value - each) <= reach);
  return mark ?? value;
}

/** @param {number} value @param {number} step */
export const roundTo = (value, step) => Math.round(Math.round(value / step) * step * 1e6) / 1e6;

/** @param {Board} board @param {string} text */
export function statesOf(board, text) {
  const { table, problems } = readText(board, text);
  /** @param {string} selector */
  const stateOf = (selector) => barState(table, selectorOf(selector));
  return { stateOf, problems };
}

const BLOCK = /^(.+)\.(\d+)$/;

/**
 * The selector of the blocks between two of one kind, in either order.
 * @param {string} from
 * @param {string} to
 * @returns {string | null} null where they are of two kinds, or none
 */
export function rangeOf(from, to) {
  const [one, other] = [BLOCK.exec(from), BLOCK.exec(to)];
  if (!one || !other || one[1] !== other[1]) return null;
  const ends = [Number(one[2]), Number(other[2])].sort((a, b) => a - b);
  return `${one[1]}.${ends[0]}-${ends[1]}`;
}

/** What a range of blocks is called. @param {string} selector @returns {Target | null} */
export function rangeTarget(selector) {
  const [, kind, ends] = /^(.+)\.(\d+-\d+)$/.exec(selector) ?? [];
  return kind && ends ? { selector, name: `${plainText(shortKind(kind), 24)} ${ends}`, mark: "" } : null;
}

/** Whether a bar lies in what is selected. @param {string} bar @param {string} selected */
export function isWithin(bar, selected) {
  const [, kind, first, last] = /^(.+)\.(\d+)-(\d+)$/.exec(selected) ?? [];
  const own = BLOCK.exec(bar);
  return own !== null && own[1] === kind && Number(own[2]) >= Number(first) && Number(own[2]) <= Number(last);
}
