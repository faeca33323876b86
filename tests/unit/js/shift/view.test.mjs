import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { fitView, shownCandidate, signed } from "../../../../js/lib/shift/fit_view.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { columnPlaces, factorAxis, linearAxis, trackChart } from "../../../../js/lib/shift/charts.mjs";
import { anglePlace, asFit, asShift, columnsOfGroups, columnsOfRows, cosineFloor, factorReach, gainWord, roundAbove, strengthsText } from "../../../../js/lib/shift/model.mjs";
import { shiftView } from "../../../../js/lib/shift/view.mjs";
import { freshPage, matchesSnapshot, readable, saysItInBothLanguages } from "../support.mjs";

const row = (block, stream, changes = {}) => ({
  block, stream, shift: 0.1, cosine: 0.995, frechet: 0.02, floor: 0.001, seeds: 0.3, reference_shift: null, ratio: null, change_cosine: null, change_error: null, seed_cosine: null,
  channels: [[96, 1.2], [3, 0.4]], low: -4, high: 8, histogram_a: [0.1, 0.8, 0.1], histogram_b: [0.2, 0.7, 0.1], ...changes,
});
const transferred = { reference_shift: 0.08, ratio: 1.25, change_cosine: 0.9, change_error: 0.4, seed_cosine: 0.7 };

/** Two blocks with two streams, one with all tokens in one, and the output. */
const shifted = (each = {}, changes = {}) => ({
  schema: "patchbay.shift", version: 1, level: "ok", title: "Two models: FLUX.2", summary: "A summary.", verdict: "measured", advice: "", notes: ["A note."], bounds: [0.95, 0.85, 0.6],
  prompts: 2, seeds: 2, sigmas: [1, 0.5], evaluations: 20, seconds: 1.5, from_cache: 0, transfer: false,
  rows: [row("double_blocks.0", "img", each), row("double_blocks.0", "txt", { ...each, shift: 0.42 }), row("single_blocks.0", "all", { ...each, cosine: 0.8, channels: [] }), row("output", "", { ...each, shift: 0.2 })],
  ...changes,
});
const transfer = (changes = {}) => shifted(transferred, { transfer: true, verdict: "transfers largely", advice: "Look at the pictures.", ...changes });

const interval = (mean, low = null, high = null, count = low === null ? 1 : 4) => ({ mean, low, high, count });
const candidate = (name, strengths, error, gain) => ({ name, strengths, errors: [error.mean], error, gain, training_error: null });
const GROUPS = ["double_blocks.0.img", "double_blocks.0.txt", "single_blocks.0"];
const strengths = (...values) => Object.fromEntries(GROUPS.map((group, i) => [group, values[i] ?? values[0]]));

const fitted = (changes = {}) => ({
  schema: "patchbay.fit", version: 1, level: "ok", title: "ink on FLUX.2", summary: "A summary.", verdict: "fitted strengths", advice: "", notes: [], blocks: "double_blocks.0.img=0.5, double_blocks.0.txt=1.25, single_blocks.0=1",
  candidates: [
    candidate("plain 1.0", strengths(1), interval(0.25, 0.2, 0.3), interval(0, 0, 0)),
    candidate("inverse-norm rule", strengths(1.2, 0.8, 1.1), interval(0.28, 0.24, 0.32), interval(-0.03, -0.04, -0.02)),
    candidate("fitted strengths", strengths(0.5, 1.25, 1), interval(0.15, 0.1, 0.2), interval(0.1, 0.05, 0.15)),
    candidate("refit LoRA", {}, interval(0.24), interval(0.01)),
  ],
  chosen: "fitted strengths", groups: GROUPS, ridge: 0.03, floor: 0.001, training_prompts: 2, held_out_prompts: 2, seeds: 2, sigmas: [1], evaluations: 50, seconds: 2, guard: false, guarded: {}, saved_as: "", worthwhile: 0.01,
  ...changes,
});

function show(data, { locale = "en", block = null, choose = () => {}, copy = () => {} } = {}) {
  freshPage();
  return shiftView(data, languageFor(locale), { block, choose, copy });
}

function showFit(data, { locale = "en", shown = null, ...actions } = {}) {
  freshPage();
  return fitView(data, languageFor(locale), { shown, show: () => {}, copy: () => {}, copyStrengths: () => {}, ...actions });
}

test("two models", () => matchesSnapshot("shift.html", readable(show(shifted()))));
test("a LoRA on two models", () => matchesSnapshot("shift_transfer.html", readable(show(transfer(), { block: "double_blocks.0" }))));
test("both languages", () => saysItInBothLanguages((locale) => show(transfer(), { locale, block: "double_blocks.0" })));
test("fitted strengths", () => matchesSnapshot("fit.html", readable(showFit(fitted()))));

test("rows are gathered by block in their order, the output apart", () => {
  const { columns, output } = columnsOfRows(shifted().rows);
  assert.deepEqual(columns.map(({ block, kind, name, cells }) => [block, kind, name, cells.map(({ stream }) => stream)]), [
    ["double_blocks.0", "double_blocks", "double 0", ["img", "txt"]],
    ["single_blocks.0", "single_blocks", "single 0", ["all"]],
  ]);
  assert.equal(output.cells[0].of.shift, 0.2);
  assert.deepEqual(columnsOfGroups(["double_blocks.*.txt", "single_blocks.*", "other", "double_blocks.11.img"]).map(({ name, label, cells }) => [name, label, cells[0].stream]), [
    ["double", "", "txt"], ["single", "", "all"], ["other", "", "all"], ["double 11", "11", "img"],
  ]);
});

test("axes end at round numbers and hold what is on them", () => {
  assert.deepEqual([0, 0.0123, 0.1, 0.54, 0.91, 3.2].map(roundAbove), [1, 0.015, 0.1, 0.6, 1, 4]);
  assert.deepEqual([[0.998], [0.8], [0.3], [-0.2], []].map(cosineFloor), [0.998, 0.8, 0.2, -1, 0.999]);
  assert.deepEqual([[1.9, 0.6], [0.3], [1, 9]].map(factorReach), [2, 4, 8]);
  assert.deepEqual([1, 0.5, 0, -0.3].map((cosine) => Number(anglePlace(cosine).toFixed(3))), [1, 0.333, 0, 0]);
  assert.deepEqual([0.5, 1, 2].map(factorAxis(2, String).place), [0, 0.5, 1]);
});

/** Rectangles of a chart: class, y and height. */
function bars(axis, values) {
  freshPage();
  const column = { block: "b.0", kind: "b", label: "0", name: "b 0", cells: values.map((of) => ({ stream: "img", of })) };
  const chart = trackChart({ id: "x", title: "", hint: "", height: 106, axis, value: (of) => of }, [column], () => "");
  return [...chart.querySelectorAll(".patchbay-shift-bar")].map((bar) => [Number(bar.getAttribute("y")), Number(bar.getAttribute("height"))]);
}

test("bars reach from the base to the value, to scale, and not beyond the axis", () => {
  assert.deepEqual(bars(linearAxis(0, 1, String), [1, 0.25, 0, 7]), [[3, 100], [78, 25], [3, 100]]);
  assert.deepEqual(bars(linearAxis(0, 2, String, 1), [1.5, 0.5, 1]), [[28, 25], [53, 25]]);
  assert.deepEqual(bars(linearAxis(0, 1, String), [0.0001, null, Number.NaN]), [[102, 1]]);
});

test("columns fill the width in order, kinds apart", () => {
  const columns = columnsOfGroups([...Array.from({ length: 19 }, (_, i) => `double_blocks.${i}`), ...Array.from({ length: 38 }, (_, i) => `single_blocks.${i}`)]);
  const { starts, width } = columnPlaces(columns);
  assert.ok(starts.every((start, i) => i === 0 || start >= starts[i - 1] + width - 1e-9));
  assert.ok(Math.abs(starts.at(-1) + width - 100) < 1e-9);
  assert.ok(starts[19] - starts[18] > width * 1.3);
});

test("the block that moved most is chosen first; keys and clicks choose another and stop at the ends", () => {
  const chosen = [];
  const view = show(shifted(), { choose: (block) => chosen.push(block) });
  const chooser = view.querySelector("[role=slider]");
  const press = (key) => chooser.dispatchEvent(Object.assign(new (view.ownerDocument.defaultView.Event)("keydown", { bubbles: true, cancelable: true }), { key }));
  assert.match(chooser.getAttribute("aria-valuetext"), /^double 0: image Shift 10%; text Shift 42%$/);
  for (const key of ["ArrowLeft", "ArrowRight", "End", "ArrowRight", "a"]) press(key);
  assert.deepEqual(chosen, ["double_blocks.0", "double_blocks.0", "single_blocks.0", "output", "output"]);
  assert.match(chooser.getAttribute("aria-valuetext"), /^output: Shift 20%$/);
  assert.equal(view.querySelectorAll(".patchbay-is-chosen").length, 4);
});

test("the floor, another seed and the reference stand beside what was measured; what was not measured does not", () => {
  const classes = (data) => new Set([...show(data).querySelectorAll("[class*=patchbay-shift-band], [class*=patchbay-shift-mark]")].map((element) => element.getAttribute("class").replace("patchbay-shift-swatch ", "")));
  assert.deepEqual([...classes(shifted())].sort(), ["patchbay-shift-band-floor", "patchbay-shift-band-seeds"]);
  assert.deepEqual([...classes(transfer())].sort(), ["patchbay-shift-band-control", "patchbay-shift-band-floor", "patchbay-shift-band-seeds", "patchbay-shift-mark-reference"]);
  assert.deepEqual([...classes(shifted({ seeds: null, floor: null }))], []);
});

test("the scale marks the verdict by the bounds that came with it", () => {
  const zone = (cosine) => show(transfer({ rows: [row("output", "", { ...transferred, change_cosine: cosine })] })).querySelector(".patchbay-is-here")?.textContent;
  assert.deepEqual([0.98, 0.95, 0.9, 0.7, 0.2, -0.5, 1].map(zone), ["the same", "the same", "largely", "in part", "something else", "something else", "the same"]);
  assert.equal(show(transfer({ bounds: undefined })).querySelectorAll(".patchbay-shift-zone").length, 0);
  assert.equal(show(transfer({ rows: [row("output", "")] })).querySelector(".patchbay-shift-scale"), null);
});

test("what was chosen is shown first, the fit where 1.0 was kept, and any other on request", () => {
  assert.equal(shownCandidate(fitted(), null).name, "fitted strengths");
  assert.equal(shownCandidate(fitted({ chosen: "plain 1.0", blocks: "all=1" }), null).name, "fitted strengths");
  assert.equal(shownCandidate(fitted(), "inverse-norm rule").name, "inverse-norm rule");
  assert.equal(shownCandidate(fitted(), "refit LoRA").name, "fitted strengths");
  assert.equal(shownCandidate(fitted({ candidates: [] }), null), null);
});

test("what is used is marked, and a refit that was saved", () => {
  const tags = (changes) => [...showFit(fitted(changes)).querySelectorAll(".patchbay-fit-tag")].map((tag) => `${tag.closest("tr").dataset.method}: ${tag.textContent} ${tag.title}`.trim());
  assert.deepEqual(tags(), ["fitted strengths: used"]);
  assert.deepEqual(tags({ chosen: "plain 1.0", saved_as: "ink-refit.safetensors" }), ["plain 1.0: used", "refit LoRA: saved ink-refit.safetensors"]);
});

test("strengths as text: the node's own for what is used, all of one where all are one", () => {
  const data = fitted();
  assert.equal(strengthsText(data, data.candidates[2]), data.blocks);
  assert.equal(strengthsText(data, data.candidates[1]), "double_blocks.0.img=1.2, double_blocks.0.txt=0.8, single_blocks.0=1.1");
  assert.equal(strengthsText(data, data.candidates[0]), "all=1");
  assert.equal(strengthsText(data, data.candidates[3]), "");
});

test("the button copies the text that is used, and that of what is looked at where it is another", () => {
  const copied = [];
  const click = (view) => {
    for (const button of [...view.querySelectorAll("button")].filter((each) => each.textContent === "Copy text")) button.click();
    return copied.splice(0);
  };
  const copyStrengths = (text) => copied.push(text);
  assert.deepEqual(click(showFit(fitted(), { copyStrengths })), [fitted().blocks]);
  assert.deepEqual(click(showFit(fitted(), { copyStrengths, shown: "plain 1.0" })), [fitted().blocks, "all=1"]);
});

test("gains are certain, too small or neither, as the whole interval says", () => {
  const word = (mean, low, high, floor = 0) => gainWord({ mean, low, high, count: 4 }, floor, 0.01);
  assert.deepEqual([word(0.05, 0.02, 0.08), word(0.005, 0.002, 0.008), word(0.05, -0.01, 0.1), word(-0.05, -0.08, -0.02), word(0.05, 0.02, 0.08, 0.03), word(0.05, null, null)], ["better", "slight", "unclear", "worse", "unclear", "unclear"]);
  assert.deepEqual([0.0079, -0.0316, 0.00001, null].map((value) => signed(value, "en")), ["+0.79%", "−3.16%", "±0%", "–"]);
});

test("without a reference the guard is drawn and called one", () => {
  const view = showFit(fitted({ guard: true, guarded: strengths(1, 0.6, 1), candidates: [], chosen: "plain 1.0", blocks: "all=1, double_blocks.0.txt=0.6" }));
  assert.equal(view.querySelectorAll(".patchbay-shift-bar").length, 1);
  assert.equal(view.querySelector("table"), null);
  assert.match(view.textContent, /a rule of thumb, nothing was fitted/);
});

test("what is neither is not shown, a newer one is not guessed at", () => {
  for (const value of [null, 7, {}, { schema: "patchbay.shift" }, { schema: "other", rows: [] }]) assert.equal(asShift(value), null);
  for (const value of [null, {}, { schema: "patchbay.fit", candidates: [] }, { schema: "patchbay.shift", rows: [] }]) assert.equal(asFit(value), null);
  assert.match(show(shifted({}, { version: 2 })).textContent, /version 2; this page knows version 1/);
  assert.match(showFit(fitted({ version: 2 })).textContent, /version 2; this page knows version 1/);
});

test("names from others stay text of bounded length, and numbers that are none draw nothing", () => {
  const evil = `<img src=x onerror="alert(1)">\u202e${"A".repeat(100_000)}`;
  const bad = row(evil, evil, { shift: "1", cosine: null, frechet: {}, channels: [[evil, evil]], histogram_a: [evil, Infinity] });
  const views = [show(shifted({}, { rows: [bad, bad], title: evil, summary: evil, advice: evil, verdict: evil, notes: [evil] })), showFit(fitted({ title: evil, blocks: evil, groups: [evil], guard: true, guarded: { [evil]: "x" } }))];
  for (const view of views) {
    assert.equal(view.querySelectorAll("img, script").length, 0);
    assert.doesNotMatch(view.textContent, /\u202e/);
    assert.ok(view.outerHTML.length < 40_000, `${view.outerHTML.length}`);
    assert.doesNotMatch(view.outerHTML, /NaN|Infinity|undefined/);
  }
});

const SENDERS = { ShiftRow: "core/transfer/shift_report.py", ShiftTable: "core/transfer/shift_report.py", Interval: "core/transfer/least_squares.py", Guidance: "core/transfer/guidance.py", Candidate: "core/transfer/fit_report.py", FitTable: "core/transfer/fit_report.py" };
const types = readFileSync(new URL("../../../../js/types/shift.d.ts", import.meta.url), "utf8").replaceAll("\r\n", "\n");

for (const [name, file] of Object.entries(SENDERS)) {
  test(`${name} has the same fields in Python and in the page`, () => {
    const python = readFileSync(new URL(`../../../../nodes/${file}`, import.meta.url), "utf8").replaceAll("\r\n", "\n");
    const body = new RegExp(`^class ${name}\\b.*?:\\n((?:    .*\\n|\\n)*)`, "m").exec(python)?.[1] ?? "";
    const fields = [...body.matchAll(/^ {4}(\w+): /gm)].map((match) => match[1]);
    const shape = new RegExp(`^export interface ${name} \\{\\n(.*?)^\\}`, "ms").exec(types)?.[1] ?? "";
    assert.ok(fields.length > 0);
    assert.deepEqual([...shape.matchAll(/^ {2}(\w+)\??: /gm)].map((match) => match[1]), fields);
  });
}
