import assert from "node:assert/strict";
import test from "node:test";
import { endOfText } from "../../../../js/lib/ui/format.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { layerColumns, MOST_COLUMNS, splitLayer } from "../../../../js/lib/map/columns.mjs";
import { differenceMap, factor } from "../../../../js/lib/map/diff.mjs";
import { encoderName, encoderPlace, isTextEncoder } from "../../../../js/lib/map/encoders.mjs";
import { availableMetrics, shownRows, viewOf } from "../../../../js/lib/map/figures.mjs";
import { renderLegend, renderOwners } from "../../../../js/lib/map/legend.mjs";
import { buildMap } from "../../../../js/lib/map/model.mjs";
import { SCALES } from "../../../../js/lib/map/scale.mjs";
import { mapSvg, PALETTES } from "../../../../js/lib/map/svg.mjs";
import { renderBlockTable } from "../../../../js/lib/map/table.mjs";
import { renderMap } from "../../../../js/lib/map/view.mjs";
import { describe, groupTitle } from "../../../../js/lib/map/words.mjs";
import { textWidth, wrapText } from "../../../../js/lib/ui/svg_text.mjs";
import { freshPage, layer, matchesSnapshot, readable, report } from "../support.mjs";

const en = languageFor("en");
const APPLIED = /** @type {const} */ ({ view: "applied", metric: "relative" });
const NOTHING = { open() {}, tell() {} };

/** Two LoRAs, a stranger's patch, a fused weight in slices, one of each fate. */
const mixed = () => {
  const made = report([
    layer({ block: "double_blocks.0", layer: "img_attn.qkv", slice: [0, 0, 4], delta_norm: 3, weight_norm: 100, owner: "ink" }),
    layer({ block: "double_blocks.0", layer: "img_attn.qkv", slice: [0, 4, 4], delta_norm: 30, weight_norm: 100, owner: "ink" }),
    layer({ block: "double_blocks.0", layer: "txt_attn.qkv", delta_norm: 4, owner: "ink" }),
    layer({ block: "double_blocks.0", layer: "txt_attn.qkv", delta_norm: 2, owner: "sea", strength: 0.5 }),
    layer({ block: "double_blocks.1", layer: "img_attn.qkv", owner: "another node" }),
    layer({ block: "double_blocks.1", layer: "txt_attn.qkv", state: "shape_mismatch", reason: "the file has 8 x 8, the model 4 x 4", weight_norm: null, strength: 0, owner: "ink" }),
    layer({ block: "single_blocks.0", layer: "linear1", state: "skipped", strength: 0, reason: "the block's strength is 0", owner: "ink" }),
    layer({ block: "single_blocks.1", layer: "linear1", delta_norm: null, not_measured: "too large", owner: "ink" }),
    layer({ block: "single_blocks.9", layer: "linear1", state: "no_such_layer", reason: "the model has single_blocks.0 to 2", weight_norm: null, owner: "ink" }),
    layer({ block: "other", layer: "img_in", owner: "ink" }),
    layer({ block: "te", layer: "text_model.encoder.layers.3.mlp.fc1", owner: "ink" }),
  ], { kind: "patches" });
  made.model.layers = { double_blocks: ["img_attn.qkv", "txt_attn.qkv"], single_blocks: ["linear1", "linear2"], other: ["img_in", "txt_in"] };
  return made;
};

const cell = (map, address, column) => map.groups.flatMap((group) => group.rows).find((row) => row.address === address).cells.find((each) => each.column === column);

test("the map is the model as it is: every block, every layer, also those that nothing touches", () => {
  const map = buildMap(mixed(), APPLIED);
  assert.deepEqual(map.groups.map((group) => group.kind), ["double_blocks", "single_blocks", "other", "te text_model.encoder.layers"]);
  assert.deepEqual(map.groups[0].columns.map(({ band, label }) => [band, label]), [["img", "attn.qkv"], ["txt", "attn.qkv"]]);
  assert.deepEqual(map.groups[1].rows.map(({ label, stranger }) => [label, stranger]), [["0", false], ["1", false], ["2", false], ["9", true]]);
  assert.equal(cell(map, "single_blocks.2", "linear2").status, "untouched");
  assert.deepEqual(map.groups[2].rows.map((row) => [row.label, row.status]), [["img_in", "applied"], ["txt_in", "untouched"]]);
  assert.deepEqual(map.groups[3].rows.map((row) => [row.label, row.cells[0].name]), [["3", "text_model.encoder.layers.3.mlp.fc1"]]);
});

test("a figure is the root-sum-square of what the cell holds, as in the report", () => {
  const map = buildMap(mixed(), APPLIED);
  assert.ok(Math.abs(cell(map, "double_blocks.0", "img_attn.qkv").value - Math.hypot(3, 30) / Math.hypot(100, 100)) < 1e-12);
  assert.ok(Math.abs(cell(map, "double_blocks.0", "txt_attn.qkv").value - Math.hypot(4, 1) / 100) < 1e-12, "two LoRAs on one weight count it once");
});

test("a layer that was not measured has no figure, and neither has what holds it", () => {
  const map = buildMap(mixed(), APPLIED);
  assert.equal(cell(map, "single_blocks.1", "linear1").status, "unmeasured");
  assert.equal(cell(map, "single_blocks.1", "linear1").value, null);
  assert.equal(map.value, null);
});

test("views: what the file asks, what strengths leave, what was applied", () => {
  const values = ["asked", "left", "applied"].map((view) => buildMap(mixed(), { view, metric: "delta" }));
  assert.deepEqual(values.map((map) => cell(map, "single_blocks.0", "linear1").value), [1, null, null]);
  assert.deepEqual(values.map((map) => cell(map, "double_blocks.1", "txt_attn.qkv").value), [1, 1, null]);
  assert.deepEqual(values.map((map) => cell(map, "double_blocks.0", "txt_attn.qkv").value), [Math.hypot(4, 2), Math.hypot(4, 1), Math.hypot(4, 1)]);
});

test("slices of a fused weight are parts of its cell, in order", () => {
  const { parts } = cell(buildMap(mixed(), APPLIED), "double_blocks.0", "img_attn.qkv");
  assert.deepEqual(parts, [{ from: 0, to: 0.5, value: 0.03 }, { from: 0.5, to: 1, value: 0.3 }]);
});

test("what did not land is partial or missed, whatever the figure; a stranger's patch is foreign", () => {
  const map = buildMap(mixed(), APPLIED);
  assert.equal(cell(map, "double_blocks.1", "txt_attn.qkv").status, "missed");
  assert.equal(map.groups[0].rows[1].status, "partial");
  assert.equal(cell(map, "double_blocks.1", "img_attn.qkv").foreign, true);
});

test("shares of several LoRAs add up to one, and one of them can be shown alone", () => {
  const map = buildMap(mixed(), APPLIED);
  const { shares } = cell(map, "double_blocks.0", "txt_attn.qkv");
  assert.deepEqual(shares.map(({ owner, share }) => [map.owners[owner].name, share]), [["ink", 16 / 17], ["sea", 1 / 17]]);
  const alone = buildMap(mixed(), { ...APPLIED, owner: "sea" });
  assert.ok(Math.abs(cell(alone, "double_blocks.0", "txt_attn.qkv").value - 0.01) < 1e-12);
});

test("too many kinds of layers are gathered by what they do", () => {
  const names = Array.from({ length: 10 }, (_, i) => ["attn1.to_q", "attn1.to_k", "attn2.to_q", "ff.net.0.proj"].map((name) => `transformer_blocks.${i}.${name}`)).flat();
  const { columns, columnOf } = layerColumns(names);
  assert.ok(columns.length <= MOST_COLUMNS);
  assert.equal(columnOf("transformer_blocks.7.attn1.to_q"), "transformer_blocks.attn1.to_q");
  assert.equal(layerColumns(Array.from({ length: 200 }, (_, i) => `l${i}`)).columns.length, 1);
  assert.deepEqual(splitLayer("encoder.layers.3.mlp.fc1"), { kind: "encoder.layers", index: 3, rest: "mlp.fc1" });
});

test("headings name what tells layers apart: not the containers inside a block, and of a long name the end", () => {
  const names = ["0.in_layers.2", "1.proj_in", "1.transformer_blocks.0.attn1.to_q", "1.transformer_blocks.0.attn2.to_q", "1.transformer_blocks.0.ff.net.0.proj"];
  assert.deepEqual(layerColumns(names).columns.map(({ label }) => label), ["0.in_layers.2", "1.proj_in", "attn1.to_q", "attn2.to_q", "ff.net.0.proj"]);
  assert.deepEqual(layerColumns(["layer.0.SelfAttention.q", "layer.1.DenseReluDense.wi_0"]).columns.map(({ label }) => label), ["SelfAttention.q", "DenseReluDense.wi_0"]);
  assert.deepEqual(layerColumns(["blocks.0.q", "blocks.1.q", "layers.0"]).columns.map(({ label }) => label), ["blocks.0.q", "blocks.1.q", "layers.0"]);
  assert.deepEqual([endOfText("attn.qkv", 8), endOfText("a_long.name.of_a_layer", 9)], ["attn.qkv", "…_a_layer"]);
});

test("each text encoder has its own blocks; what lies outside of them is a list", () => {
  const names = ["clip_l.transformer.text_model.encoder.layers.0.mlp.fc1", "clip_l.transformer.text_model.encoder.layers.1.mlp.fc1", "clip_l.transformer.text_projection", "t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q"];
  const { groups } = buildMap(report(names.map((name) => layer({ block: "te", layer: name }))), APPLIED);
  const encoders = groups.filter(({ kind }) => isTextEncoder(kind));
  assert.deepEqual(encoders.map(({ kind, rows }) => [groupTitle(kind, en.t), rows.map(({ label }) => label)]), [
    ["text encoder · clip_l", ["0", "1"]],
    ["text encoder · t5xxl", ["0"]],
    ["text encoder", ["clip_l.transformer.text_projection"]],
  ]);
  assert.equal(describe(buildMap(report([]), APPLIED), encoders[0].rows[1], null, en).title, "text encoder clip_l.transformer.text_model.encoder.layers.1");
  const inFiles = ["lora_te1_text_model_encoder_layers_11_mlp_fc1", "lora_te_text_model_encoder_layers_0_self_attn_q_proj", "text_encoder.text_model.encoder.layers.3.mlp.fc2"].map(encoderPlace);
  assert.deepEqual(inFiles.map(({ kind, label, name }) => [encoderName(kind), label, name]), [["te1", "11", "mlp_fc1"], ["", "0", "self_attn_q_proj"], ["", "3", "mlp.fc2"]]);
});

test("the difference of two runs is a factor on its own fixed scale", () => {
  const half = mixed();
  for (const each of half.layers) Object.assign(each, { strength: each.strength / 2, norm_ratio: each.norm_ratio === null ? null : each.norm_ratio / 2 });
  const map = differenceMap(buildMap(half, APPLIED), buildMap(mixed(), APPLIED));
  assert.ok(Math.abs(cell(map, "double_blocks.0", "txt_attn.qkv").value - 2) < 1e-12);
  assert.equal(cell(map, "single_blocks.1", "linear1").value, null);
  assert.deepEqual([factor(0, 1), factor(1, null), factor(null, null)], [Infinity, 0, null]);
  assert.deepEqual([2, 0.5, 1].map((value) => SCALES.factor.format(value)), ["×2", "÷2", "="]);
});

test("runs at other strengths differ where strengths count, and are alike in what the file asks", () => {
  const quarter = Object.assign(mixed(), { strength_model: 0.25 });
  for (const each of quarter.layers) each.strength = each.strength / 4;
  const said = (/** @type {import("../../../../js/types/map").MapView} */ view) => {
    const [before, now] = [mixed(), quarter].map((made) => buildMap(made, { view, metric: "delta" }));
    const rows = differenceMap(before, now).groups.flatMap((group) => group.rows);
    return [...new Set(rows.filter((row) => row.layers.some((each) => each.owner === "another node" || each.owner === "sea")).map((row) => SCALES.factor.format(row.value)))];
  };
  assert.deepEqual(["asked", "left", "applied"].map(said), [["="], ["÷4"], ["÷4"]]);
});

test("a file alone is drawn as what it asks; what was chosen for other reports stays chosen", () => {
  assert.deepEqual(["inspect", "patches", "apply"].map((kind) => viewOf(report([], { kind }), "applied")), ["asked", "applied", "applied"]);
});

test("where weights lie is shown by layer and by block", () => {
  const loaded = { model_class: "Flux2", weight_count: 4, device: "cuda:0", dynamic: true, not_known: "", layers: [
    { block: "double_blocks.0", layer: "img_attn.qkv", bytes: 10, resident: 10 },
    { block: "double_blocks.0", layer: "txt_attn.qkv", bytes: 30, resident: 0 },
    { block: "double_blocks.1", layer: "img_attn.qkv", bytes: 10, resident: null },
  ] };
  const map = buildMap(mixed(), { view: "resident", metric: "relative", loaded });
  assert.equal(map.groups[0].rows[0].value, 0.25);
  assert.equal(cell(map, "double_blocks.0", "img_attn.qkv").value, 1);
  assert.equal(map.groups[0].rows[1].value, null, "not told is not 0");
});

test("figures that another node measured for whole blocks are drawn by block", () => {
  const extras = { time: { "double_blocks.0": 3.5 } };
  assert.ok(availableMetrics(mixed(), extras).includes("time"));
  assert.ok(!availableMetrics(mixed()).includes("time"));
  assert.equal(buildMap(mixed(), { view: "applied", metric: "time", extras }).groups[0].rows[0].value, 3.5);
});

test("a figure of a whole block is one bar, on the page and in the picture; its layers have none", () => {
  freshPage();
  const map = buildMap(mixed(), { view: "applied", metric: "shift", extras: { shift: { "double_blocks.0": 0.1, "single_blocks.2": 0.5 } } });
  const element = renderMap(map, { language: en, label: "", selected: null }, NOTHING);
  const row = [...element.querySelectorAll(".patchbay-map-row")].find((each) => each.getAttribute("data-address") === "double_blocks.0");
  assert.equal(row.querySelectorAll(".patchbay-map-cell").length, 1);
  assert.ok(row.querySelector(".patchbay-map-coloured"));
  assert.equal(row.querySelector(".patchbay-map-value").textContent, "10%");
  assert.equal(element.querySelectorAll(".patchbay-map-column").length, 0);
  const { svg } = mapSvg(map, { title: "", subtitle: "", language: en, palette: PALETTES.dark });
  assert.equal([...svg.matchAll(/<title>[^<]*Feature shift/g)].length, 2);
});

test("blocks that were measured without a word on their layers are bars too; a text encoder has no such figures", () => {
  freshPage();
  const extras = { time: { "double_blocks.0": 3, "double_blocks.1": 4 } };
  const alone = buildMap(report([], { model: null }), { view: "applied", metric: "time", extras });
  const rows = [...renderMap(alone, { language: en, label: "", selected: null }, NOTHING).querySelectorAll(".patchbay-map-group:not(.patchbay-map-list) .patchbay-map-row")];
  assert.deepEqual(rows.map((row) => [row.querySelector(".patchbay-map-index").textContent, row.querySelector(".patchbay-map-value").textContent]), [["0", "3 ms"], ["1", "4 ms"]]);
  const withText = buildMap(mixed(), { view: "applied", metric: "time", extras });
  assert.deepEqual(withText.groups.filter((group) => shownRows(withText, group).length > 0).map(({ kind }) => kind), ["double_blocks", "single_blocks"]);
});

test("a difference is named as a factor, also where one side is nothing or hardly differs", () => {
  assert.deepEqual([2, 0.25, 0, Infinity, 1.0001, 0.9977, null].map((value) => SCALES.factor.format(value)), ["×2", "÷4", "0", "∞", "=", "=", "–"]);
});

test("the map, its legend, the LoRAs and a block's table, as a person can read them", () => {
  freshPage();
  const map = buildMap(mixed(), APPLIED);
  const row = map.groups[0].rows[1];
  const parts = [
    renderMap(map, { language: en, label: "Map of the model", selected: "double_blocks.1" }, NOTHING),
    renderLegend(map, en),
    renderOwners(map, null, en, () => {}),
    renderBlockTable("double 1", row.layers, en, { close() {}, copy() {}, csv() {} }),
  ];
  matchesSnapshot("map_mixed.html", parts.map((part) => readable(part)).join("\n"));
});

test("the map as a picture", () => {
  const map = buildMap(mixed(), APPLIED);
  matchesSnapshot("map_mixed.svg", mapSvg(map, { title: "ink & sea", subtitle: "8 patches", language: languageFor("ja"), palette: PALETTES.light }).svg);
});

test("the picture says what it shows, and of two runs which", () => {
  const [a, b] = [buildMap(mixed(), APPLIED), buildMap(mixed(), { ...APPLIED, metric: "delta" })];
  const drawn = (map, sides) => mapSvg(map, { title: "t", subtitle: "s", sides, language: en, palette: PALETTES.dark }).svg;
  assert.match(drawn(b, ""), />Applied · Delta norm<\/text>/);
  assert.match(drawn(differenceMap(a, a), "A · now, B · before"), />A over B · Applied · Relative change<\/text>\n<text [^>]*>A · now, B · before<\/text>/);
  assert.match(drawn(buildMap(mixed(), { ...APPLIED, owner: "sea" }), ""), /Whole model 1%<\/text>/);
});

test("a picture cuts no text: long titles go on in lines, what did not land stands under it by reason", () => {
  assert.deepEqual(wrapText("one two three four", 10, 60, 9), ["one two", "three four"]);
  assert.deepEqual(wrapText("a_name_that_is_too_long_for_a_line", 10, 60, 2).map((each) => textWidth(each, 10) <= 60), [true, true]);
  assert.match(wrapText("x ".repeat(200), 10, 60, 2)[1], /…$/);
  const map = buildMap(mixed(), APPLIED);
  const { svg, width } = mapSvg(map, { title: "t", subtitle: "a sentence of some length ".repeat(12), language: en, palette: PALETTES.dark });
  const texts = [...svg.matchAll(/<text x="([\d.]+)"[^>]*>([^<]*)<\/text>/g)].map(([, x, words]) => [Number(x), words]);
  for (const [x, words] of texts) assert.ok(x + textWidth(words, 10) <= width, `${words} leaves the picture`);
  const all = texts.map(([, words]) => words).join("|");
  assert.match(all, /Did not land \(2\)\|1 no such layer: [^|]*\|single_blocks\.9\.linear1\|1 shape does not fit: the file has 8 x 8, the model 4 x 4\|double_blocks\.1\.txt_attn\.qkv/);
  for (const words of ["strength 0", "not measured", "nothing landed", "another node’s patch"]) assert.ok(all.includes(words), words);
});

test("a layer that is all zero is told from one at strength 0", () => {
  const made = report([layer({ block: "double_blocks.0", layer: "a", state: "dead" }), layer({ block: "double_blocks.1", layer: "a", state: "skipped", strength: 0 })]);
  const map = buildMap(made, APPLIED);
  assert.deepEqual(map.groups[0].rows.map((row) => row.status), ["dead", "skipped"]);
  freshPage();
  assert.match(renderLegend(map, en).textContent, /strength 0.*all zero in the file/);
});

test("what a cell says has the figure, the fate and the reason", () => {
  const map = buildMap(mixed(), APPLIED);
  const row = map.groups[0].rows[1];
  const told = describe(map, row, row.cells[1], en);
  assert.equal(told.title, "double 1 · txt_attn.qkv");
  assert.deepEqual(told.reasons, ["the file has 8 x 8, the model 4 x 4"]);
});

const HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>\u202egnp.\u0000\ud800';

test("hostile names stay text, in the page and in the picture", () => {
  const evil = HOSTILE + "A".repeat(1_000_000);
  const made = report([layer({ block: evil, layer: evil, owner: evil, reason: evil, model_key: evil, lora_key: evil }), layer({ block: "other", layer: evil, owner: "b", state: "shape_mismatch", reason: evil })]);
  made.model.blocks = [{ kind: evil, first: 0, count: 1 }];
  made.model.layers = { other: [evil] };
  freshPage();
  const map = buildMap(made, APPLIED);
  const element = renderMap(map, { language: en, label: evil.slice(0, 99), selected: null }, NOTHING);
  const table = renderBlockTable("x", made.layers, en, { close() {}, copy() {}, csv() {} });
  for (const each of [element, table, renderOwners(map, null, en, () => {})]) {
    assert.equal(each.querySelectorAll("img, script, iframe, a").length, 0);
    assert.doesNotMatch(each.textContent, /[\u202e\u0000]/);
  }
  const { svg } = mapSvg(map, { title: evil, subtitle: evil, language: en, palette: PALETTES.dark });
  assert.doesNotMatch(svg, /<img|<script|[\u202e\u0000\ud800]/);
  assert.ok(svg.length < 60_000, `${svg.length}`);
});

test("the layers of a block say how a quantised weight is stored, in both languages", () => {
  freshPage();
  const layers = [layer({ block: "double_blocks.1", layer: "img_mlp.0", stored: "nvfp4" }), layer({ block: "double_blocks.1", layer: "img_mlp.2" })];
  const told = (/** @type {string} */ locale) => renderBlockTable("x", layers, languageFor(locale), { close() {}, copy() {}, csv() {} }).textContent;
  assert.equal(told("en").match(/Stored as\s*nvfp4/g)?.length, 1);
  assert.equal(told("ja").match(/保存形式\s*nvfp4/g)?.length, 1);
});

test("ten thousand layers: few elements, quickly", () => {
  freshPage();
  for (const [blocks, each] of [[100, 100], [5000, 2]]) {
    const layers = [];
    for (let i = 0; i < blocks; i += 1) for (let j = 0; j < each; j += 1) layers.push(layer({ block: `double_blocks.${i}`, layer: `transformer_blocks.${j}.attn.to_q` }));
    const made = report(layers);
    made.model.blocks = [{ kind: "double_blocks", first: 0, count: blocks }];
    const before = performance.now();
    const map = buildMap(made, APPLIED);
    const built = performance.now() - before;
    const element = renderMap(map, { language: en, label: "", selected: null }, NOTHING);
    assert.ok(element.querySelectorAll("*").length < 3000, `${element.querySelectorAll("*").length} elements`);
    assert.ok(built < 1000, `${built} ms`);
  }
});
