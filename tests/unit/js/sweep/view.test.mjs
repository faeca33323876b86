import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { asSweep, byEffect, columnsOfUnits, groupOf, partsOf, splitUnit } from "../../../../js/lib/sweep/model.mjs";
import { sweepView } from "../../../../js/lib/sweep/view.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { freshPage, matchesSnapshot, readable, saysItInBothLanguages } from "../support.mjs";

const interval = (mean, low = null, high = null, count = low === null ? 1 : 4) => ({ mean, low, high, count });
const unit = (name, mean, changes = {}) => ({
  name, selectors: [name], layers: 2, effect: mean === null ? null : interval(mean, mean * 0.8, mean * 1.2), toward: null,
  figures: mean === null ? null : { mae: 0.02, psnr: mean === 0 ? null : 30.04, ssim: 0.98765 }, energy: 0.25, shift: 0.1, kept: true, dead: false, given_others: 0, ...changes,
});

const swept = (changes = {}) => ({
  schema: "patchbay.sweep", version: 1, level: "ok", title: "ink on FLUX.2", summary: "A summary.", verdict: "2 of 4", advice: "Look.", notes: ["A note."],
  mode: "knock-out", grouping: "block", distance: 0.1, blocks: "double_blocks.0=0, single_blocks.1=0", missed: interval(0.06), kept_figures: null, whole_figures: null,
  floor: 0, prompts: 2, seeds: 2, pictures: true, costs: { settings: 7, every_set: 16, evaluations: 80, resumed: 0, seconds: 2 }, bundles: [], interactions: [], stopped: false,
  rows: [unit("double_blocks.0", 0.01, { kept: false, dead: true }), unit("single_blocks.0", 0.3), unit("single_blocks.1", 0, { kept: false }), unit("other", 0.6, { shift: null })],
  ...changes,
});

function show(data, { locale = "en", ...actions } = {}) {
  freshPage();
  return sweepView(data, languageFor(locale), { copy: () => {}, copyStrengths: () => {}, ...actions });
}

test("a knock-out", () => matchesSnapshot("sweep.html", readable(show(swept()))));
test("both languages", () => saysItInBothLanguages((locale) => show(swept(), { locale })));

test("units are gathered by block, their parts side by side", () => {
  const parts = swept({ grouping: "block and part", rows: [unit("double_blocks.0.attn", 0.1), unit("double_blocks.0.mlp", 0.2), unit("single_blocks.0.linear3", 0), unit("other", 0)] });
  assert.deepEqual(columnsOfUnits(parts).map(({ block, label, cells }) => [block, label, cells.map(({ stream }) => stream)]), [
    ["double_blocks.0", "0", ["img", "txt"]],
    ["single_blocks.0", "0", ["all"]],
    ["other", "", ["all"]],
  ]);
  assert.deepEqual(partsOf(parts).map(({ part }) => part), ["attn", "mlp"]);
  assert.deepEqual(splitUnit("a.b.12.img_attn.qkv"), { block: "a.b.12", part: "img_attn.qkv" });
  const own = swept({ grouping: "own groups", rows: [unit("early: 0", 0.1), unit("double_blocks.3.attn", 0.2)] });
  assert.deepEqual(columnsOfUnits(own).map(({ kind, label, name }) => [kind, label, name]), [["", "1", "early: 0"], ["", "2", "double_blocks.3.attn"]]);
});

test("the largest effect comes first, units without one last, with the group they were left out in", () => {
  const data = swept({ mode: "search", rows: [unit("a.0", null, { kept: false }), unit("a.1", 0.4), unit("a.2", null, { kept: false })], bundles: [{ units: [0, 2], effect: interval(0.02) }] });
  assert.deepEqual(byEffect(data).map(({ name }) => name), ["a.1", "a.0", "a.2"]);
  assert.equal(groupOf(data, data.rows[2]), 1);
  assert.equal(groupOf(data, data.rows[1]), 0);
  assert.match(show(data).textContent, /with group 1/);
});

test("tracks that nobody measured are not drawn", () => {
  const without = show(swept({ rows: [unit("a.0", 0.1, { energy: null, shift: null }), unit("a.1", 0.2, { energy: null, shift: null })] }));
  assert.deepEqual([...without.querySelectorAll(".patchbay-shift-chart")].map((chart) => chart.getAttribute("class").split("-").at(-1)), ["effect"]);
  assert.equal(show(swept()).querySelectorAll(".patchbay-shift-chart").length, 3);
});

test("solo says how far each goes", () => {
  assert.match(show(swept({ mode: "solo", rows: [unit("a.0", 0.4, { toward: interval(0.31) }), unit("a.1", 0.1, { toward: interval(0.05) })] })).textContent, /31/);
});

test("what is left out is pale", () => {
  const view = show(swept());
  assert.equal(view.querySelectorAll(".patchbay-shift-chart-effect rect.patchbay-sweep-out").length, 1, "one of the two has no effect to draw");
  assert.equal(view.querySelectorAll(".patchbay-sweep-row-out").length, 2);
});

test("what is no sweep is not taken for one, and a newer one says so", () => {
  assert.equal(asSweep({ schema: "patchbay.fit", rows: [] }), null);
  assert.equal(asSweep(null), null);
  assert.match(show(swept({ version: 9 })).textContent, /9/);
});

test("names from files stay text, and broken figures draw nothing", () => {
  const evil = `<img src=x onerror="alert(1)">\u202e${"A".repeat(100_000)}`;
  const bad = unit(evil, 0.1, { effect: { mean: "x", low: {}, high: null, count: 1 }, energy: Infinity, shift: "1", figures: { mae: null, psnr: "x", ssim: null } });
  const view = show(swept({ rows: [bad, bad], title: evil, summary: evil, advice: evil, verdict: evil, notes: [evil], blocks: evil }));
  assert.equal(view.querySelectorAll("img, script").length, 0);
  assert.doesNotMatch(view.textContent, /\u202e/);
  assert.ok(view.outerHTML.length < 40_000, `${view.outerHTML.length}`);
  assert.doesNotMatch(view.outerHTML, /NaN|Infinity|undefined/);
});

test("the strengths are copied as they are", () => {
  let copied = "";
  const view = show(swept(), { copyStrengths: (text) => (copied = text) });
  view.querySelector(".patchbay-fit-text button").click();
  assert.equal(copied, "double_blocks.0=0, single_blocks.1=0");
});

const types = readFileSync(new URL("../../../../js/types/sweep.d.ts", import.meta.url), "utf8").replaceAll("\r\n", "\n");
const python = readFileSync(new URL("../../../../nodes/core/sweep/table.py", import.meta.url), "utf8").replaceAll("\r\n", "\n");

for (const name of ["PictureFigures", "UnitRow", "Costs", "Bundle", "PairFound", "SweepTable"]) {
  test(`${name} has the same fields in Python and in the page`, () => {
    const body = new RegExp(`^class ${name}\\b.*?:\\n((?:    .*\\n|\\n)*)`, "m").exec(python)?.[1] ?? "";
    const fields = [...body.matchAll(/^ {4}(\w+): /gm)].map((match) => match[1]);
    const shape = new RegExp(`^export interface ${name} \\{\\n(.*?)^\\}`, "ms").exec(types)?.[1] ?? "";
    assert.ok(fields.length > 0);
    assert.deepEqual([...shape.matchAll(/^ {2}(\w+)\??: /gm)].map((match) => match[1]), fields);
  });
}
