import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { runBars, shownRuns, stripTop } from "../../../../js/lib/measure/charts.mjs";
import { asMeasurement, measurementView, ratioText, sentenceText } from "../../../../js/lib/measure/view.mjs";
import { freshPage, matchesSnapshot, readable, saysItInBothLanguages } from "../support.mjs";

const figure = (value = null, reason = value === null ? "not told by the driver" : "") => ({ value, reason });
const NAMES = ["weights_total", "weights_resident", "torch_allocated_peak", "torch_reserved_peak", "cast_buffers", "process_low", "process_high", "device_used_peak", "pinned_ram", "ram_low", "ram_high"];
const GIB = 2 ** 30;

/** @param {Record<string, number>} values */
const memory = (values = {}) => Object.fromEntries(NAMES.map((name) => [name, figure(values[name] ?? null)]));
const lora = (changes = {}) => ({ prepare_calls: 0, first_calls: 0, later_calls: 0, prepare_ms: 0, first_ms: 0, later_ms: 0, untimed: 0, ...changes });
const facts = { mode: "dynamic VRAM", sampler: "euler", cfg: 1, shape: [1, 128, 64, 64], patches: 0, bypass_layers: 0, quantised_layers: 0, slowed_quantised_layers: 0, compiled: false, preview: "" };

/** @param {string} condition @param {number[]} times @param {boolean} afterSwitch */
const run = (condition, times, afterSwitch, changes = {}) => ({
  condition, number: 1, outcome: "success", after_switch: afterSwitch, clock: "device events", prepare_s: 0.02, total_s: 0.4, evaluations_ms: times, gaps_ms: [1],
  steps: times.length, forwards: times.length, predictions: times.length, streamed_bytes: [], lora: lora(), memory: memory(), facts, blocks: [], notes: [], ...changes,
});

/** @param {string} label @param {number} steady */
const condition = (label, steady, changes = {}) => ({
  label, runs: 4, steps: 4, evaluations: 4, predictions: 4, steady_ms: { median: steady, q1: steady - 1, q3: steady + 1, n: 6 }, first_ms: figure(582), first_warm_ms: figure(steady),
  extra_ms: figure(495), prepare_s: figure(0.02), switch_s: figure(0.5), total_s: figure(0.36), iterations_per_s: figure(11.4), gap_ms: figure(1), streamed_bytes: figure(0),
  lora: lora({ first_calls: 100, first_ms: 200 }), memory: memory({ process_low: 9 * GIB, process_high: 9.2 * GIB, weights_resident: 7.2 * GIB, torch_allocated_peak: 0.5 * GIB }),
  facts, clock: "device events", segments: [{ name: "weights", size_bytes: 7.2 * GIB }, { name: "activations", size_bytes: 0.5 * GIB }, { name: "rest", size_bytes: 1.3 * GIB }], blocks: [], ...changes,
});

const ratio = (value, low = value, high = value) => ({ value, low, high, n: 3, reason: "" });

const measured = (changes = {}) => ({
  schema: "patchbay.measurement", version: 1, kind: "benchmark", title: "without LoRA / with LoRA", summary: "A summary.", level: "ok",
  conditions: [condition("without LoRA", 87), condition("with LoRA", 88)],
  comparisons: [{
    a: "without LoRA", b: "with LoRA", steady: ratio(1.011, 1.005, 1.017), total: ratio(1.01), memory: {}, speed: "slower", speed_verdict: "", speed_floor: 0.002,
    latents: { verdict: "different", text: "", mae: 0.1, floor: 0, relative: 0.2, psnr: null, ssim: null }, images: { verdict: "identical", text: "", mae: 0, floor: 0, relative: 0, psnr: null, ssim: 1 },
  }],
  sentences: [{ id: "nothing", condition: "without LoRA", text: "Nothing.", values: {} }, { id: "from_the_future", condition: "with LoRA", text: "A new sentence.", values: {} }],
  runs: [run("without LoRA", [120, 87, 87, 87], true), run("without LoRA", [87, 87, 87, 87], false), run("with LoRA", [582, 88, 88, 88], true), run("with LoRA", [88, 88, 88, 88], false)],
  notes: ["2 cycles."], context: { torch: "2.11", conditions: { "with LoRA": { model: "klein.safetensors" } } }, ...changes,
});

/** @param {object} measurement */
function view(measurement, locale = "en") {
  freshPage();
  return measurementView(measurement, languageFor(locale));
}

test("a measurement", () => matchesSnapshot("measurement.html", readable(view(measured()))));
test("a measurement in both languages", () => saysItInBothLanguages((locale) => view(measured(), locale)));

test("one scale for all conditions, and what is longer is cut with its time on it", () => {
  assert.equal(stripTop(measured()), 264);
  const texts = [...view(measured()).querySelectorAll(".patchbay-measure-long")].map((element) => element.textContent);
  assert.deepEqual(texts, ["582 ms"]);
});

test("the strip shows the last run after a switch and the last warm one", () => {
  const shown = shownRuns(measured(), "with LoRA");
  assert.deepEqual(shown.map((each) => each.after_switch), [true, false]);
  assert.deepEqual(runBars(shown[0]).map((bar) => bar.kind), ["loading", "first", "steady", "steady", "steady"]);
  assert.deepEqual(runBars(shown[1]).map((bar) => bar.kind), ["steady", "steady", "steady", "steady"]);
});

test("ratios carry their interval, and none that says nothing", () => {
  assert.equal(ratioText(ratio(1.011, 1.005, 1.017), "en"), "+1.1 % [+0.5, +1.7]");
  assert.equal(ratioText(ratio(0.5, 0.4, 9), "en"), "−50 %");
  assert.equal(ratioText(ratio(null, null, null), "en"), "–");
});

test("sentences are said in the page's language, unknown ones as they came", () => {
  const sentence = { id: "sampler", condition: "a", text: "x", values: { sampler: "heun", evaluations: "7", steps: "4" } };
  assert.equal(sentenceText(sentence, languageFor("en")), "heun evaluates the model 7 times in 4 steps.");
  assert.match(sentenceText(sentence, languageFor("ja")), /heun は 4 ステップでモデルを 7 回評価します。/);
  assert.equal(sentenceText({ ...sentence, id: "constructor", text: "as it came" }, languageFor("ja")), "as it came");
});

test("what is no measurement is not shown, a newer one is not guessed at", () => {
  for (const value of [null, 7, {}, { schema: "patchbay.measurement" }, { schema: "other", conditions: [] }]) assert.equal(asMeasurement(value), null);
  assert.match(view(measured({ version: 2 })).textContent, /version 2; this page knows version 1/);
});

test("an empty measurement and one without memory show no charts", () => {
  const empty = view(measured({ conditions: [], comparisons: [], sentences: [], runs: [], notes: [], context: {}, level: "error" }));
  assert.equal(empty.querySelectorAll("svg.patchbay-measure-strip, table").length, 0);
  assert.match(empty.textContent, /A summary/);
  assert.equal(view(measured({ conditions: [condition("a", 10, { segments: [] })], comparisons: [] })).querySelector(".patchbay-memory-bar"), null);
});

test("names from others stay text of bounded length", () => {
  const evil = `<img src=x onerror="alert(1)">\u202e${"A".repeat(100_000)}`;
  const shown = view(measured({ title: evil, notes: [evil], conditions: [condition(evil, 10)], comparisons: [], sentences: [{ id: "sampler", condition: evil, text: evil, values: { sampler: evil } }], runs: [run(evil, [1, 1], false)] }));
  assert.equal(shown.querySelectorAll("img, script").length, 0);
  assert.doesNotMatch(shown.textContent, /\u202e/);
  assert.ok(shown.outerHTML.length < 40_000, `${shown.outerHTML.length}`);
});

const python = readFileSync(new URL("../../../../nodes/core/measure/runs.py", import.meta.url), "utf8").replaceAll("\r\n", "\n");
const types = readFileSync(new URL("../../../../js/types/measurement.d.ts", import.meta.url), "utf8").replaceAll("\r\n", "\n");

for (const name of ["Figure", "MemoryFigures", "LoraMath", "BlockFigure", "RunFacts", "RunRecord", "Spread", "Ratio", "Segment", "ConditionSummary", "OutputDifference", "Comparison", "Sentence", "Measurement"]) {
  test(`${name} has the same fields in Python and in the page`, () => {
    const body = new RegExp(`^class ${name}\\b.*?:\\n((?:    .*\\n|\\n)*)`, "m").exec(python)?.[1] ?? "";
    const fields = [...body.matchAll(/^ {4}(\w+): /gm)].map((match) => match[1]);
    const shape = new RegExp(`^export interface ${name} \\{\\n(.*?)^\\}`, "ms").exec(types)?.[1] ?? "";
    const members = [...shape.matchAll(/^ {2}(\w+)\??: /gm)].map((match) => match[1]);
    assert.ok(fields.length > 0);
    assert.deepEqual(members.sort(), [...fields, ...(name === "Measurement" ? ["schema", "version"] : [])].sort());
  });
}
