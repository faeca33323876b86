// What a bar does to the text: it changes as little as it can. Comments and the order of the items stay. Pure.

import { bindStrengths, strengthOf, understand, unitsOf } from "./table.mjs";
import { formatItem, formatSelector, formatStrength, linesOf, parseStrengths, strip } from "./text.mjs";

/**
 * @typedef {import("./text.mjs").Selector} Selector
 * @typedef {import("./text.mjs").PlacedItem} PlacedItem
 * @typedef {import("./table.mjs").Model} Model
 * @typedef {import("./table.mjs").Rule} Rule
 * @typedef {import("./table.mjs").StrengthTable} StrengthTable
 *
 * @typedef {object} BarState what a bar shows
 * @property {number | null} value strength of what has no finer setting; null where everything has one and they differ
 * @property {boolean} mixed whether its parts differ
 * @property {number} low smallest strength inside
 * @property {number} high largest strength inside
 * @property {boolean} empty whether the model has nothing there
 */

/**
 * @param {StrengthTable} table
 * @param {Selector} selector
 * @returns {BarState}
 */
export function barState(table, selector) {
  const aim = aimAt(selector, table.model);
  let [low, high, ownLow, ownHigh] = [Infinity, -Infinity, Infinity, -Infinity];
  table.model.units.forEach((_, unit) => {
    if (!aim?.hits[unit]) return;
    const value = strengthOf(table, unit);
    [low, high] = [Math.min(low, value), Math.max(high, value)];
    const rule = table.rules[table.winners[unit] ?? -1];
    if (rule && refines(rule, aim)) return;
    [ownLow, ownHigh] = [Math.min(ownLow, value), Math.max(ownHigh, value)];
  });
  if (low > high) return { value: null, mixed: false, low: 1, high: 1, empty: true };
  const own = ownLow === ownHigh ? ownLow : low === high ? low : ownLow < ownHigh ? (ownLow + ownHigh) / 2 : null;
  return { value: own, mixed: low !== high, low, high, empty: false };
}

/**
 * The text with one bar at another strength. Parts of it, and blocks of a whole kind, that have a strength of their own
 * keep it, unless `flatten` is set.
 * @param {string} text
 * @param {Selector} selector
 * @param {number} value
 * @param {Model} model
 * @param {boolean} [flatten]
 * @param {string} [base] what stands before the text and is not edited: the text only comes on top of it
 */
export function withStrength(text, selector, value, model, flatten = false, base = "") {
  const aim = aimAt(selector, model);
  if (!aim) return text;
  const start = flatten ? withoutItems(text, model, (rule) => !rule.scope.part && inside(rule, aim)) : text;
  const { items } = parseStrengths(start);
  const before = parseStrengths(base).items;
  const table = bindStrengths([...before, ...items], model);
  const touching = table.rules.filter((rule) => rule.hits.some((hit, unit) => hit && aim.hits[unit]));
  const blocking = touching.filter((rule) => rule.item < before.length || !refines(rule, aim));
  const finer = touching.filter((rule) => refines(rule, aim) && rule.item > (blocking.at(-1)?.item ?? -1));
  /** @param {Rule | undefined} rule */
  const ownItem = (rule) => (rule && rule.item >= before.length ? items[rule.item - before.length] : undefined);
  if (covers(finer, aim)) return insertItem(withoutDead(start, selector, model), formatItem(selector, value), null);
  const own = ownItem(blocking.at(-1));
  if (own && sameAim(own, aim, model)) return replaceNumber(start, own, value);
  return withoutDead(insertItem(start, formatItem(selector, value), ownItem(finer[0]) ?? null), selector, model);
}

/**
 * The text with everything inside a bar back at 1. What spoke only of it goes.
 * @param {string} text
 * @param {Selector} selector
 * @param {Model} model
 * @param {string} [base] what stands before the text
 */
export function withReset(text, selector, model, base = "") {
  const aim = aimAt(selector, model);
  if (!aim) return text;
  const cleared = withoutItems(text, model, (rule) => inside(rule, aim));
  const { low, high } = barState(bindStrengths([...parseStrengths(base).items, ...parseStrengths(cleared).items], model), selector);
  return low === 1 && high === 1 ? cleared : insertItem(cleared, formatItem(selector, 1), null);
}

/**
 * @typedef {object} Aim the units that an edit is about
 * @property {Uint8Array} hits
 * @property {string} part
 * @property {string} name
 */

/** @param {Selector} selector @param {Model} model @returns {Aim | null} */
function aimAt(selector, model) {
  const scope = understand(selector, model);
  return scope && { hits: unitsOf(scope, model), part: scope.part, name: JSON.stringify(scope) };
}

/** Whether an item is a finer setting inside the aim, which an edit of the whole leaves as it is. @param {Rule} rule @param {Aim} aim */
function refines(rule, aim) {
  let coversAll = true;
  for (let unit = 0; unit < aim.hits.length && coversAll; unit += 1) coversAll = !aim.hits[unit] || rule.hits[unit] === 1;
  if (coversAll) return false;
  return inside(rule, aim) || (rule.scope.part !== "" && aim.part === "");
}

/** Whether an item speaks of nothing outside the aim. @param {Rule} rule @param {Aim} aim */
const inside = (rule, aim) => rule.hits.includes(1) && rule.hits.every((hit, unit) => !hit || aim.hits[unit] === 1);

/** Whether finer settings leave nothing that the whole could set. @param {Rule[]} rules @param {Aim} aim */
const covers = (rules, aim) => aim.hits.every((hit, unit) => !hit || rules.some((rule) => rule.hits[unit] === 1));

/** @param {Selector} item @param {Aim} aim @param {Model} model */
function sameAim(item, aim, model) {
  const scope = understand(item, model);
  return scope !== null && JSON.stringify(scope) === aim.name;
}

/** @param {string} text @param {PlacedItem} item @param {number} value */
const replaceNumber = (text, { at }, value) => text.slice(0, at.valueStart) + formatStrength(value) + text.slice(at.valueEnd);

/**
 * Takes out items with the same selector that a later one with that selector makes void.
 * @param {string} text
 * @param {Selector} selector
 * @param {Model} model
 */
function withoutDead(text, selector, model) {
  const name = formatSelector(selector);
  const last = parseStrengths(text).items.findLastIndex((item) => formatSelector(item) === name);
  const own = aimAt(selector, model)?.name;
  return withoutItems(text, model, (rule) => rule.item < last && JSON.stringify(rule.scope) === own);
}

/**
 * @param {string} text
 * @param {Model} model
 * @param {(rule: Rule) => boolean} wanted
 */
function withoutItems(text, model, wanted) {
  const { items } = parseStrengths(text);
  const gone = bindStrengths(items, model).rules.filter(wanted).map((rule) => items[rule.item]);
  return gone.reverse().reduce((left, item) => (item ? removeItem(left, item) : left), text);
}

/**
 * Removes an item with its comma; a line on which nothing is left goes too.
 * @param {string} text
 * @param {PlacedItem} item
 */
function removeItem(text, { at }) {
  const lines = linesOf(text);
  const row = lines.findIndex(({ start, end }) => start <= at.start && at.end <= end);
  const line = lines[row];
  if (!line) return text;
  const codeEnd = line.start + line.code.length;
  const after = text.slice(at.end, codeEnd);
  const before = text.slice(line.start, at.start);
  const hasNext = strip(after).startsWith(",");
  const from = hasNext ? at.start : line.start + before.replace(/[\s,]*$/, "").length;
  const skip = hasNext ? (/^[\s,]*/.exec(after)?.[0].length ?? 0) : 0;
  const rest = line.whole.slice(0, from - line.start) + text.slice(at.end + skip, line.end);
  if (strip(rest)) return text.slice(0, line.start) + (strip(before) ? rest : rest.trimStart()) + text.slice(line.end);
  const next = lines[row + 1];
  if (next) return text.slice(0, line.start) + text.slice(next.start);
  return text.slice(0, lines[row - 1]?.end ?? 0);
}

/**
 * Writes an item before another one, or at the end; on a line of its own where the text is written in lines.
 * @param {string} text
 * @param {string} item
 * @param {PlacedItem | null} before
 */
function insertItem(text, item, before) {
  const { items } = parseStrengths(text);
  const inLines = linesOf(text).filter(({ code }) => strip(code)).length > 1;
  if (before) return `${text.slice(0, before.at.start)}${item}${inLines ? "\n" : ", "}${text.slice(before.at.start)}`;
  const last = items.at(-1);
  const tail = text.replace(/\s+$/, "");
  if (!last) return tail ? `${tail}\n${item}` : item;
  const line = linesOf(text).find(({ start, end }) => start <= last.at.start && last.at.end <= end);
  const commented = line !== undefined && line.code.length < line.whole.length;
  const isEnd = !strip(tail.slice(line?.end ?? 0));
  if (inLines || commented || !isEnd) return `${tail}\n${item}`;
  return `${tail.replace(/[\s,]+$/, "")}, ${item}`;
}
