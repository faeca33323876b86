import assert from "node:assert/strict";
import test from "node:test";
import { lacksSpectral, listedName, withSpectral } from "../../../../js/lib/side_bar/file_norms.mjs";
import { availableMetrics } from "../../../../js/lib/map/figures.mjs";
import { buildMap } from "../../../../js/lib/map/model.mjs";
import { layer, report } from "../support.mjs";

const applied = () => report([
  layer({ block: "double_blocks.0", layer: "img_attn.qkv", lora_key: "a", delta_norm: 6 }),
  layer({ block: "double_blocks.1", layer: "img_attn.qkv", lora_key: "b", delta_norm: 2, slice: [0, 0, 4] }),
  layer({ block: "double_blocks.1", layer: "img_attn.qkv", lora_key: "b", delta_norm: 1, slice: [0, 4, 4] }),
  layer({ block: "single_blocks.0", layer: "linear1", lora_key: "c", delta_norm: null }),
]);
const file = () => report([["a", 3, 2], ["b", 3, 2.5], ["c", 1, 1]].map(([lora_key, delta_norm, spectral_norm]) => layer({ state: "in_file", lora_key, delta_norm, spectral_norm })), { kind: "inspect" });

test("a layer has the singular value of the file, at the scale of the run; cut and unmeasured ones have none", () => {
  const made = withSpectral(applied(), file());
  assert.deepEqual(made.layers.map((each) => each.spectral_norm ?? null), [4, null, null, null]);
  assert.ok(availableMetrics(made).includes("spectral"));
  const map = buildMap(made, { view: "applied", metric: "spectral" });
  assert.deepEqual(map.groups[0].rows.map((row) => row.value), [4, null]);
});

test("the report itself stays as it is, and the same one is completed once", () => {
  const [before, from] = [applied(), file()];
  assert.equal(withSpectral(before, from), withSpectral(before, from));
  assert.equal(before.layers[0].spectral_norm, undefined);
});

test("only a run with a LoRA lacks them", () => {
  assert.equal(lacksSpectral(applied()), true);
  assert.equal(lacksSpectral({ ...applied(), kind: "patches" }), false);
  assert.equal(lacksSpectral({ ...applied(), lora: null }), false);
  assert.equal(lacksSpectral(withSpectral(applied(), file())), false);
});

test("a file is looked for under the name that ComfyUI lists, and taken only where there is one", () => {
  assert.equal(listedName("ink.safetensors", ["sea.safetensors", "styles/ink.safetensors"]), "styles/ink.safetensors");
  assert.equal(listedName("ink.safetensors", ["a\\ink.safetensors"]), "a\\ink.safetensors");
  assert.equal(listedName("ink.safetensors", ["a/ink.safetensors", "b/ink.safetensors"]), null);
  assert.equal(listedName("ink.safetensors", ["pink.safetensors"]), null);
});
