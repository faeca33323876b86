import assert from "node:assert/strict";
import test from "node:test";
import { blockColumns, blockName, layerName, splitAddress, unappliedByReason } from "../../../../js/lib/report/blocks.mjs";
import { layer, report } from "../support.mjs";

/** `kind: name status ratio` of every cell. */
const drawn = (made) => blockColumns(made).map(({ kind, cells }) => `${kind || "-"}: ${cells.map((cell) => `${cell.address || "-"} ${cell.status}${cell.foreign ? " foreign" : ""}`).join(", ")}`);

test("every block of the model has a cell, in the model's order, and the rest follows", () => {
  const made = report([
    layer({ block: "te", layer: "q" }),
    layer({ block: "single_blocks.2", layer: "linear1" }),
    layer({ block: "other", layer: "img_in" }),
    layer({ block: "double_blocks.0", layer: "img_attn.qkv" }),
  ]);
  assert.deepEqual(drawn(made), [
    "double_blocks: double_blocks.0 applied, double_blocks.1 untouched",
    "single_blocks: single_blocks.0 untouched, single_blocks.1 untouched, single_blocks.2 applied",
    "other: other applied",
    "te: te applied",
  ]);
});

test("double block 1 is not single block 1", () => {
  const [double, single] = blockColumns(report([layer({ block: "double_blocks.1", layer: "a" })]));
  assert.equal(double.cells[1].status, "applied");
  assert.equal(single.cells[1].status, "untouched");
});

test("blocks that the model does not have are shown as foreign, layers without a place too", () => {
  const made = report([
    layer({ block: "double_blocks.7", state: "no_such_layer" }),
    layer({ block: "input_blocks.4", state: "wrong_architecture" }),
    layer({ block: "", state: "no_such_layer" }),
  ]);
  assert.deepEqual(drawn(made).map((line) => line.replace(/.*untouched/, "…")), [
    "…, double_blocks.7 missed foreign",
    "…",
    "input_blocks: input_blocks.4 missed foreign",
    "-: - missed",
  ]);
});

test("a block's figure is the root-sum-square of deltas over that of weights, of applied layers only", () => {
  const made = report([
    layer({ block: "double_blocks.0", layer: "a", delta_norm: 3, weight_norm: 30, strength: -1 }),
    layer({ block: "double_blocks.0", layer: "b", delta_norm: 8, weight_norm: 40, strength: 0.5 }),
    layer({ block: "double_blocks.0", layer: "c", state: "skipped", strength: 0, delta_norm: 9, weight_norm: 900 }),
  ]);
  assert.equal(blockColumns(made)[0].cells[0].ratio, 5 / 50);
});

test("a fused weight gives the same figure as its three slices", () => {
  const slices = [3, 4, 12].map((norm, i) => layer({ block: "double_blocks.0", layer: "qkv", slice: [0, i, 1], delta_norm: norm, weight_norm: 2 * norm }));
  const fused = layer({ block: "double_blocks.0", layer: "qkv", delta_norm: 13, weight_norm: 26 });
  const [apart, together] = [report(slices), report([fused])].map((made) => blockColumns(made)[0].cells[0].ratio);
  assert.equal(apart, together);
});

test("a weight that two LoRAs meet counts once", () => {
  const both = ["one", "two"].map((owner) => layer({ block: "double_blocks.0", layer: "a", delta_norm: 1, weight_norm: 10, owner }));
  assert.ok(Math.abs(blockColumns(report(both))[0].cells[0].ratio - Math.SQRT2 / 10) < 1e-12);
});

test("one layer that was not measured takes the figure away: a part must not pass for the whole", () => {
  const cell = blockColumns(report([layer({ block: "double_blocks.0", layer: "a" }), layer({ block: "double_blocks.0", layer: "b", delta_norm: null })]))[0].cells[0];
  assert.equal(cell.ratio, null);
  assert.equal(cell.status, "unmeasured");
  assert.equal(cell.measured, 1);
});

/** @type {[string[], string][]} */
const STATUSES = [
  [["applied", "applied"], "applied"],
  [["applied", "shape_mismatch"], "partial"],
  [["skipped", "no_such_layer"], "partial"],
  [["no_such_layer", "not_understood"], "missed"],
  [["wrong_architecture"], "missed"],
  [["skipped", "dead"], "skipped"],
  [["applied", "dead"], "applied"],
  [["in_file", "not_understood"], "present"],
];
for (const [states, status] of STATUSES) {
  test(`${states.join(" and ")} make a block ${status}`, () => {
    const made = report(states.map((state, i) => layer({ block: "double_blocks.0", layer: `l${i}`, state })));
    assert.equal(blockColumns(made)[0].cells[0].status, status);
  });
}

test("a file that was only inspected has norms and no ratios", () => {
  const made = report([3, 4].map((norm) => layer({ block: "double_blocks.0", layer: `l${norm}`, state: "in_file", delta_norm: norm, weight_norm: null })), { model: null });
  const [cell] = blockColumns(made)[0].cells;
  assert.deepEqual([cell.status, cell.norm, cell.ratio, cell.foreign], ["present", 5, null, false]);
});

test("a report with an absurd number of blocks does not hang the page", () => {
  const made = report([layer({ block: "x.1" })]);
  made.model.blocks = [{ kind: "x", first: 0, count: 1e12 }];
  assert.equal(blockColumns(made)[0].cells.length, 2048);
});

test("layers that change nothing are gathered by state and reason, most serious and most frequent first", () => {
  const groups = unappliedByReason([
    layer({ state: "skipped", reason: "strength 0" }),
    layer({ state: "shape_mismatch", reason: "8 x 8" }),
    layer({ state: "shape_mismatch", reason: "4 x 4" }),
    layer({ state: "shape_mismatch", reason: "4 x 4" }),
    layer({}),
  ]);
  assert.deepEqual(groups.map(({ state, count, reasons }) => [state, count, reasons.map(({ reason, layers }) => `${reason}: ${layers.length}`)]), [
    ["shape_mismatch", 3, ["4 x 4: 2", "8 x 8: 1"]],
    ["skipped", 1, ["strength 0: 1"]],
  ]);
});

test("addresses and names", () => {
  assert.deepEqual(splitAddress("down.blocks.3"), { kind: "down.blocks", index: 3 });
  assert.deepEqual(splitAddress("other"), { kind: "other", index: null });
  assert.equal(blockName("double_blocks.3"), "double 3");
  assert.equal(layerName(layer({ block: "double_blocks.3", layer: "img_attn.qkv" })), "double_blocks.3.img_attn.qkv");
  assert.equal(layerName({ ...layer({ lora_key: "lora_te1" }), model_key: "" }), "lora_te1");
});
