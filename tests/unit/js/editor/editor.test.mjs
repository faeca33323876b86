import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { chooseBoard, sameBoard } from "../../../../js/lib/editor/layout.mjs";
import { loraNodeOf, modelFileOf } from "../../../../js/lib/comfyui/links.mjs";
import { axisFor, energyShare, isWithin, partsOf, rangeOf, rangeTarget, statesOf, sticky } from "../../../../js/lib/editor/state.mjs";
import { Memory } from "../../../../js/lib/editor/memory.mjs";
import { buildEditor, renderEditor } from "../../../../js/lib/editor/view.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { freshPage, graph, layer, matchesSnapshot, readable, report } from "../support.mjs";

const { layouts } = JSON.parse(readFileSync(new URL("../../strength_vectors.json", import.meta.url), "utf8"));
const language = languageFor("en");
const LORA = { ...layouts.flux, source: "lora", energy: { "double_blocks.0": { "img_attn.qkv": 0.5, "txt_mlp.0": 0.1 }, "single_blocks.3": { linear1: 0.4 } } };

test("the model file is found through other nodes and in and out of subgraphs", () => {
  const inner = graph([{ id: 7, inputs: [{ name: "model", type: "MODEL", link: 3 }] }], [[3, -10, 0, 7]]);
  const host = { id: 2, subgraph: inner, inputs: [{ name: "m", type: "MODEL", link: 2 }] };
  graph([{ id: 1, widgets: [{ name: "unet_name", value: "klein.safetensors" }] }, { id: 5, inputs: [{ name: "", type: "*", link: 1 }] }, host], [[1, 1, 0, 5], [2, 5, 0, 2]]);
  assert.deepEqual(modelFileOf(inner.nodes[0], (which) => (which === inner ? host : null)), { folder: "diffusion_models", name: "klein.safetensors" });
  assert.equal(modelFileOf({ id: 9, inputs: [{ name: "model", link: null }], graph: inner }, () => null), null);
});

test("a GGUF file is one whatever its loader calls it, a node that loads model and LoRA names its own, and a ring ends", () => {
  const lora = { id: 2, inputs: [{ name: "clip", type: "CLIP" }, { name: "model", type: "MODEL" }], widgets: [{ name: "model_name", value: "no-model.safetensors" }] };
  const loader = { id: 1, widgets: [{ name: "unet_name", value: "klein-Q4.GGUF" }] };
  graph([loader, lora], [[1, 1, 0, 2, 1]]);
  assert.deepEqual(modelFileOf(lora, () => null), { folder: "unet_gguf", name: "klein-Q4.GGUF" });
  loader.widgets = [{ name: "source.model_name", value: "m.safetensors" }];
  assert.deepEqual(modelFileOf(lora, () => null), { folder: "diffusion_models", name: "m.safetensors" });
  assert.deepEqual(modelFileOf({ id: 3, widgets: [{ name: "ckpt_name", value: "sdxl.safetensors" }, { name: "lora_name", value: "x" }] }, () => null), { folder: "checkpoints", name: "sdxl.safetensors" });
  const ring = { id: 4, inputs: [{ type: "MODEL", name: "model" }] };
  graph([ring], [[1, 4, 0, 4, 0]]);
  assert.equal(modelFileOf(ring, () => null), null);
});

test("a text node speaks of the LoRA that it leads to", () => {
  const apply = { id: 2, widgets: [{ name: "lora_name", value: "ink" }] };
  const text = { id: 1, widgets: [] };
  graph([text, apply], [[4, 1, 0, 2]]);
  assert.equal(loraNodeOf(text, () => null), apply);
  assert.equal(loraNodeOf(apply, () => null), apply);
});

test("the way to the LoRA goes through reroutes and in and out of subgraphs", () => {
  const text = { id: 1, widgets: [] };
  const inner = graph([text], [[1, 1, 0, -20, 1]]);
  const deeper = { id: 9, widgets: [{ name: "lora_name", value: "ink" }] };
  const host = { id: 2, subgraph: inner };
  const reroute = { id: 3, inputs: [{ link: 2 }] };
  const inside = { ...graph([deeper], [[5, -10, 1, 9]]), inputs: [{ linkIds: [] }, { linkIds: [5] }] };
  const other = { id: 4, inputs: [{ link: null }, { link: 3 }], subgraph: inside };
  graph([host, reroute, other], [[2, 2, 1, 3], [3, 3, 0, 4, 1]]);
  assert.equal(loraNodeOf(text, (which) => (which === inner ? host : null)), deeper);
});

test("the model's own blocks come before those that the LoRA names, and a run's before a file's", () => {
  const { t } = language;
  assert.equal(chooseBoard({ model: null, lora: LORA, report: null, sameModel: false }, t)?.source, "lora");
  assert.equal(chooseBoard({ model: layouts.flux, lora: LORA, report: null, sameModel: false }, t)?.source, "model");
  const ran = report([layer({ block: "double_blocks.0", layer: "img_attn.qkv" })]);
  const chosen = chooseBoard({ model: layouts.flux, lora: LORA, report: ran, sameModel: true }, t);
  assert.deepEqual(chosen?.board.groups.map(({ bars }) => bars.length), [2, 3], "the report has three single blocks, the file four");
  assert.equal(chooseBoard({ model: null, lora: null, report: null, sameModel: false }, t), null);
});

test("bars stay where a run brings the same ones, and only there", () => {
  const choose = (/** @type {object} */ more) => chooseBoard({ model: layouts.flux, lora: LORA, report: null, sameModel: false, ...more }, language.t)?.board ?? null;
  const run = (/** @type {number} */ norm) => ({ report: report([layer({ block: "double_blocks.0", layer: "img_attn.qkv", delta_norm: norm }), layer({ block: "single_blocks.1", layer: "linear1", delta_norm: 1 })]), sameModel: true });
  assert.ok(sameBoard(choose({}), choose({ model: structuredClone(layouts.flux) })));
  assert.ok(sameBoard(choose(run(2)), choose(run(2))));
  assert.ok(!sameBoard(choose(run(2)), choose(run(3))), "other shares");
  assert.ok(!sameBoard(choose({}), choose({ lora: { ...LORA, energy: null } })), "not measured yet");
  const [shorter] = layouts.flux.containers;
  assert.ok(!sameBoard(choose({}), choose({ model: { ...layouts.flux, containers: [shorter] } })), "other blocks");
  assert.ok(!sameBoard(null, null) && !sameBoard(choose({}), null), "nothing stands there yet");
});

test("energy is added up by block and by part; that of a fused layer belongs to no slice", () => {
  const { board } = chooseBoard({ model: layouts.flux, lora: LORA, report: null, sameModel: false }, language.t);
  assert.equal(energyShare(board, "double_blocks.0"), 0.6);
  assert.equal(energyShare(board, "double_blocks.0.img"), 0.5);
  assert.equal(energyShare(board, "single_blocks.3"), 0.4);
  assert.equal(energyShare(board, "single_blocks.3.mlp"), null);
  assert.equal(energyShare(board, "double_blocks.1"), 0);
  assert.deepEqual(partsOf(board, "single_blocks.3").map(({ name }) => name), ["attn", "mlp", "q", "k", "v", "linear1"]);
});

test("the scale holds every strength and does not shrink while one drags", () => {
  const state = (low, high) => ({ value: low, mixed: false, low, high, empty: false });
  assert.deepEqual(axisFor([state(1, 1)]), { low: 0, high: 1.5 });
  assert.deepEqual(axisFor([state(-0.3, 2.4)]), { low: -1, high: 3 });
  assert.deepEqual(axisFor([state(1, 1)], { low: -2, high: 5 }), { low: -2, high: 5 });
});

test("the editor for eyes and for screen readers", () => {
  freshPage();
  const { board } = chooseBoard({ model: layouts.flux, lora: LORA, report: null, sameModel: false }, language.t);
  const nothing = () => {};
  const actions = { select: nothing, typed: nothing, stepped: nothing, reset: nothing, unfold: nothing, presets: nothing };
  const view = buildEditor(actions, board, language);
  const { stateOf } = statesOf(board, "single.*=0.5, single.3.attn=-0.25");
  const target = board.groups[1].bars[3];
  const shown = { selected: target.selector, unfolded: true, axis: axisFor([stateOf("all")]), locked: false, stateOf };
  renderEditor(view, shown, target, partsOf(board, target.selector), board, actions, language);
  matchesSnapshot("strength_editor.html", readable(view.root));
  const bar = view.sliders.get(target.selector).root;
  assert.equal(bar.getAttribute("aria-valuetext"), "0.5; parts from -0.25 to 0.5; 40% of the LoRA (squared norm)");
});

test("near 0 and 1 a bar holds still, and nowhere else", () => {
  assert.deepEqual([-0.04, 0.05, 0.06, 0.96, 1.04, 1.2, -0.5].map((value) => sticky(value, 0.05)), [0, 0, 0.06, 1, 1, 1.2, -0.5]);
});

test("bars between two of a kind are one selection", () => {
  assert.equal(rangeOf("single_blocks.9", "single_blocks.3"), "single_blocks.3-9");
  assert.equal(rangeOf("single_blocks.9", "double_blocks.3"), null);
  assert.equal(rangeOf("other", "single_blocks.3"), null);
  assert.equal(rangeTarget("single_blocks.3-9")?.name, "single 3-9");
  assert.equal(rangeTarget("single_blocks.3"), null);
  assert.deepEqual(["single_blocks.3", "single_blocks.9", "single_blocks.10", "double_blocks.4", "other"].map((bar) => isWithin(bar, "single_blocks.3-9")), [true, true, false, false, false]);
});

test("a label switches off and on at what it was; two settings change places", () => {
  const memory = new Memory();
  assert.equal(memory.toggled("single_blocks.3", 0.4), 0);
  assert.equal(memory.toggled("single_blocks.3", 0), 0.4);
  assert.equal(memory.toggled("single_blocks.4", 0), 1);
  assert.equal(memory.swapped("all=1"), "all=1", "the first time the same strengths go on as B");
  assert.equal(memory.letter, "B");
  assert.equal(memory.swapped("all=0"), "all=1");
  assert.equal(memory.swapped("all=1"), "all=0");
  assert.equal(memory.letter, "B");
});
