import assert from "node:assert/strict";
import test from "node:test";
import { cameFrom, differences, earlierText, inputsOf } from "../../../../js/lib/comfyui/run_inputs.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { graph } from "../support.mjs";

const RAN = {
  run: "r", node: "2", files: {}, fingerprint: "f",
  nodes: {
    1: { class_type: "UNETLoader", inputs: { unet_name: "klein.safetensors" } },
    2: { class_type: "PatchbayApplyLora", inputs: { model: ["1", 0], lora_name: "art/instruments.safetensors", strength_model: 1, blocks: "double_blocks=0" } },
  },
};
const nobody = () => null;

/** The canvas of that run, to be changed: a loader, a reroute, ours. */
function canvas() {
  const loader = { id: 11, comfyClass: "UNETLoader", outputs: [{ type: "MODEL" }], widgets: [{ name: "unet_name", value: "klein.safetensors" }] };
  const reroute = { id: 12, isVirtualNode: true, inputs: [{ name: "", type: "*" }] };
  const ours = {
    id: 13, comfyClass: "PatchbayApplyLora",
    inputs: [{ name: "model", type: "MODEL" }, { name: "clip", type: "CLIP" }, { name: "blocks", type: "STRING", widget: { name: "blocks" } }],
    widgets: [{ name: "lora_name", value: "art/instruments.safetensors" }, { name: "strength_model", value: 1 }, { name: "blocks", value: "double_blocks=0" }, { name: "patchbay_report" }],
  };
  const all = graph([loader, reroute, ours], [[1, 11, 0, 12], [2, 12, 0, 13]]);
  const set = (name, value) => (ours.widgets.find((widget) => widget.name === name).value = value);
  return { loader, reroute, ours, all, set };
}

/** @param {(made: ReturnType<typeof canvas>) => void} change */
function said(change, inputs = RAN, locale = "en") {
  const made = canvas();
  change(made);
  const found = differences(inputs, made.ours, nobody);
  return found.length > 0 ? earlierText(found, languageFor(locale).t) : "";
}

test("the canvas of a run differs in nothing, whatever the ids of its nodes and reroutes on the way", () => assert.equal(said(() => {}), ""));

test("each value and link that is another one is said as it was", () => {
  assert.equal(said(({ set }) => set("lora_name", "duotone.safetensors")), "From an earlier run: instruments");
  assert.equal(said(({ set }) => (set("lora_name", "duotone.safetensors"), set("blocks", ""))), "From an earlier run: instruments, double_blocks=0");
  assert.equal(said(({ set }) => set("strength_model", 0.5)), "From an earlier run: strength_model=1");
  assert.equal(said(({ loader }) => (loader.widgets[0].value = "wide.safetensors")), "From an earlier run: klein");
  assert.equal(said(({ loader }) => (loader.comfyClass = "CheckpointLoaderSimple")), "From an earlier run: other connections");
  assert.equal(said(({ all }) => all.links.delete(1)), "From an earlier run: other connections");
  assert.equal(said(({ ours }) => (ours.comfyClass = "PatchbayCheckLora")), "From an earlier run: other connections");
  assert.equal(said(({ set }) => set("blocks", "all=0"), RAN, "ja"), "以前の実行結果：double_blocks=0");
  const empty = structuredClone(RAN);
  empty.nodes[2].inputs.blocks = "";
  assert.equal(said(() => {}, empty), "From an earlier run: blocks empty");
});

test("an input that was not connected then counts, one whose node is muted does not", () => {
  const connect = (mode) => ({ ours, all }) => {
    all.nodes.push({ id: 20, comfyClass: "CLIPLoader", mode, graph: all });
    all.links.set(3, { id: 3, origin_id: 20, origin_slot: 0, target_id: 13, target_slot: 1 });
  };
  assert.equal(said(connect(0)), "From an earlier run: other connections");
  assert.equal(said(connect(2)), "");
});

test("a bypassed node hands its model on, and a text that a primitive gives is compared", () => {
  assert.equal(said(({ reroute, all }) => {
    Object.assign(reroute, { isVirtualNode: false, mode: 4, comfyClass: "LoraLoader", inputs: [{ type: "CLIP" }, { type: "MODEL" }], outputs: [{ type: "MODEL" }] });
    all.links.get(1).target_slot = 1;
  }), "");
  const primitive = (value) => ({ ours, all }) => {
    all.nodes.push({ id: 21, type: "PrimitiveNode", isVirtualNode: true, widgets: [{ name: "value", value }], graph: all });
    all.links.set(4, { id: 4, origin_id: 21, origin_slot: 0, target_id: 13, target_slot: 2 });
  };
  assert.equal(said(primitive("double_blocks=0")), "");
  assert.equal(said(primitive("all=0")), "From an earlier run: double_blocks=0");
});

test("inside a subgraph the value of the node that stands for it counts", () => {
  const { ours, loader } = canvas();
  const host = { id: 30, subgraph: null, inputs: [{ name: "model" }, { name: "blocks", widget: { name: "blocks" } }], widgets: [{ name: "blocks", value: "double_blocks=0" }] };
  ours.widgets[2].value = "what stood here before";
  host.subgraph = graph([ours], [[1, -10, 0, 13], [2, -10, 1, 13, 2]]);
  graph([loader, host], [[9, 11, 0, 30]]);
  const hostOf = (which) => (which === host.subgraph ? host : null);
  assert.deepEqual(differences(RAN, ours, hostOf), []);
  host.widgets[0].value = "all=0";
  assert.deepEqual(differences(RAN, ours, hostOf).map(({ name, was }) => [name, was]), [["blocks", "double_blocks=0"]]);
});

test("a seed that ComfyUI changes after each run, and a text that it rewrites, are no difference", () => {
  const ran = { ...RAN, node: "1", nodes: { 1: { class_type: "KSampler", inputs: { seed: 5, text: "a red cat" } } } };
  const widgets = (control, text) => [{ name: "seed", value: 6 }, { name: "control_after_generate", value: control }, { name: "text", value: text }];
  const node = (control, text) => ({ id: 1, comfyClass: "KSampler", widgets: widgets(control, text), graph: graph([], []) });
  assert.deepEqual(differences(ran, node("randomize", "a {red|blue} cat"), nobody), []);
  assert.deepEqual(differences(ran, node("fixed", "a blue cat"), nobody).map(({ name }) => name), ["seed", "text"]);
});

test("what is compared is found in whatever a node sends, and nothing is where nothing says", () => {
  assert.equal(inputsOf({ text: ["x"], patchbay_compare: [{ inputs: RAN }] }), RAN);
  for (const output of [undefined, {}, { patchbay_report: [{}] }, { patchbay_report: [null] }, { other: [{ inputs: RAN }] }]) assert.equal(inputsOf(output), null);
});

test("a model came from an output as long as all that leads to it is the same", () => {
  const came = (change = () => {}, name = "model", slot = 0) => {
    const made = canvas();
    change(made);
    return cameFrom(RAN, name, { node: made.loader, slot }, nobody);
  };
  assert.equal(came(), true);
  assert.equal(came(({ set }) => set("lora_name", "duotone.safetensors")), true, "what comes after it does not count");
  assert.equal(came(({ loader }) => (loader.widgets[0].value = "wide.safetensors")), false);
  assert.equal(came(({ loader }) => (loader.comfyClass = "CheckpointLoaderSimple")), false);
  assert.equal(came(undefined, "model", 1), false);
  assert.equal(came(undefined, "clip"), false);
});
