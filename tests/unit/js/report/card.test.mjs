import assert from "node:assert/strict";
import test from "node:test";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { visibleRows } from "../../../../js/lib/report/layer_table.mjs";
import { renderReportCard } from "../../../../js/lib/report/card.mjs";
import { freshPage, layer, matchesSnapshot, readable, report, saysItInBothLanguages } from "../support.mjs";

const NOTHING = { copy() {}, fold() {} };

/** @param {object | null} made */
function render(made, { locale = "en", open = [], text = "as text" } = {}) {
  const element = freshPage().createElement("div");
  renderReportCard(element, { report: made, text, language: languageFor(locale), open: new Set(open) }, NOTHING);
  return element;
}

const mixed = () =>
  report(
    [
      layer({ block: "double_blocks.0", layer: "img_attn.qkv", delta_norm: 2.5 }),
      layer({ block: "double_blocks.1", layer: "img_attn.qkv" }),
      layer({ block: "double_blocks.1", layer: "txt_attn.qkv", state: "shape_mismatch", reason: "the file has 8 x 8, the model 4 x 4", weight_norm: null }),
      layer({ block: "single_blocks.0", layer: "linear1", state: "skipped", strength: 0, reason: "strength 0 in 'single_blocks.0=0'" }),
      layer({ block: "single_blocks.9", layer: "linear1", state: "no_such_layer", reason: "the model has single_blocks.0 to 2" }),
    ],
    { level: "warning", summary: "2 of 5 layers were applied.", coverage: 0.63, notes: ["Trained on another base."] },
  );

test("a model that is compared with a second one shows their distance block by block", () => {
  const made = report([], { kind: "model", lora: null, model_blocks: [{ block: "double_blocks.0", distance: 0.12 }, { block: "double_blocks.1", distance: null }, { block: "single_blocks.0", distance: 0.03 }] });
  const strip = render(made).querySelector(".patchbay-strip");
  assert.deepEqual([...strip.querySelectorAll(".patchbay-cell")].map((cell) => cell.getAttribute("aria-label")), [
    "double 0 · Distance to second model 12%", "double 1 · not measured", "single 0 · Distance to second model 3%", "single 1 · not measured", "single 2 · not measured",
  ]);
  assert.equal(render(report([], { kind: "model", lora: null, model_blocks: [{ block: "double_blocks.0", distance: null }] })).querySelector(".patchbay-strip"), null);
});

const found = () => {
  const blocks = [["double_blocks.0", 0.8, 0], ["double_blocks.1", 0.4, 0.25], ["other", null, null]].map(([block, strength, rest]) => ({ block, strength, rest }));
  const lora = (name, verdict, strength, reason) => ({ name, verdict, reason, strength, error: 1e-4, layers: 9, exact: 8, blocks });
  const loras = [lora("ink.safetensors", "verified", 0.8, ""), lora("<b>.safetensors", "not", 0, "its strength is 0 within 0.0001"), lora("mix.safetensors", "partly", -0.3, "4 of the 9 layers that can tell have it at this strength")];
  return report([], { kind: "model", lora: null, found: loras });
};

test("LoRAs that were looked for stand with their verdict, their strength and the blocks", () => {
  const rows = [...render(found()).querySelectorAll(".patchbay-found li")];
  assert.deepEqual(rows.map((row) => row.querySelector(".patchbay-found-verdict").textContent), ["In it", "Not in it", "In part"]);
  assert.deepEqual(rows.map((row) => row.querySelector(".patchbay-found-strength")?.textContent), ["0.8", undefined, "−0.3"]);
  assert.deepEqual([...rows[0].querySelectorAll(".patchbay-cell")].map((cell) => cell.getAttribute("title")), [
    "double 0 · strength 0.8 · 0% of the difference not explained", "double 1 · strength 0.4 · 25% of the difference not explained", "other · not changed by it",
  ]);
  assert.equal(rows[1].querySelector(".patchbay-strip"), null);
  saysItInBothLanguages((locale) => render(found(), { locale }).querySelector(".patchbay-found"));
});

const pair = (changes = {}) => ({
  name: "other.safetensors", same: false, factor: 0.9, residual: 0.4, cosine: 0.92, only_first: ["a.b"], only_second: [], not_compared: "",
  blocks: [{ block: "double_blocks.0", cosine: -0.5, share_a: 0.25, share_b: 0.5 }, { block: "other", cosine: null, share_a: 0.75, share_b: 0 }], ...changes,
});

test("a second file is the same times a factor, or alike in each block, or cannot be compared", () => {
  const shown = (changes, locale = "en") => render(report([], { kind: "inspect", compared: pair(changes) }), { locale }).querySelector(".patchbay-pair");
  assert.match(shown().textContent, /^Cosine 0\.92other\.safetensors/);
  assert.match(shown().textContent, /1 layer only in this file/);
  assert.equal(shown().querySelector(".patchbay-cell-negative").getAttribute("title"), "double 0 · cosine -0.5 · 25% of this file, 50% of the second");
  assert.match(shown({ same: true, factor: -0.5 }).textContent, /^The same, times -0\.5/);
  assert.match(shown({ not_compared: "they are for different models" }).textContent, /different models/);
  saysItInBothLanguages((locale) => shown({}, locale));
});

const curve = (block, changes = {}) => ({ block, ranks: [1, 2, 4, 8], kept: [0.6, 0.9, 0.97, 1], needed: [4, 8, 8], stored: 8, above_noise: 8, dead: 0, over_ranked: 0, layers: 2, ...changes });
const ranked = () => report([], {
  kind: "inspect", ranks: [curve(""), curve("double_blocks.0", { needed: [1, 1, 2], over_ranked: 2 }), curve("single_blocks.0", { dead: 1 })],
  inputs: { run: "r", node: "3", nodes: { 3: { class_type: "PatchbayInspectFile", inputs: { source: "LoRA", "source.lora_name": "a/ink.safetensors" } } }, files: {}, fingerprint: "" },
});

test("ranks are a curve for each block, and a smaller file is one press away", () => {
  const shown = (saving, locale = "en", made = ranked()) => {
    const element = freshPage().createElement("div");
    const asked = [];
    renderReportCard(element, { report: made, text: "", language: languageFor(locale), open: new Set(), saving }, { ...NOTHING, saveSmaller: (energy) => asked.push(energy) });
    return { ranks: element.querySelector(".patchbay-ranks"), asked };
  };
  const { ranks, asked } = shown();
  assert.equal(ranks.querySelectorAll(".patchbay-rank-block").length, 2);
  assert.match(ranks.querySelector(".patchbay-cell").getAttribute("title"), /^double 0 · 8; 1, 1, 2 keep .* · 2 of 2 layers have more/);
  ranks.querySelectorAll("button")[1].dispatchEvent(new ranks.ownerDocument.defaultView.Event("click"));
  assert.deepEqual(asked, [0.98]);
  const done = { state: "done", energy: 0.98, made: { file: "<b>-98.safetensors", size_bytes: 2048, before_bytes: 4096, ranks: [1], error: 0.12 } };
  assert.match(shown(done).ranks.textContent, /<b>-98\.safetensors: 2 KiB instead of 4 KiB, error 12%/);
  assert.match(shown({ state: "failed", energy: 0.98, problem: "The disk is full." }).ranks.textContent, /The disk is full\./);
  assert.equal(shown(null, "en", { ...ranked(), inputs: undefined }).ranks.querySelector("button"), null);
  saysItInBothLanguages((locale) => shown(null, locale).ranks);
});

test("a card before the first run says what will be there", () => matchesSnapshot("card_empty.html", readable(render(null))));
test("a card, everything unfolded", () => matchesSnapshot("card_mixed.html", readable(render(mixed(), { open: ["notes", "unapplied", "layers"] }))));
test("a card in both languages", () => saysItInBothLanguages((locale) => render(mixed(), { locale })));

test("the card of an inspected file", () => {
  const layers = [1, 2].map((norm) => layer({ block: `double_blocks.${norm}`, layer: "img_attn.qkv", state: "in_file", delta_norm: norm, weight_norm: null }));
  const made = report(layers, { kind: "inspect", model: null, coverage: null, strength_model: null, summary: "A LoRA for FLUX.2 Klein 4B with 2 layers." });
  Object.assign(made.lora, { writer: "kohya-ss", trigger_words: ["ink outline"], size_bytes: 88_000_000, metadata: { ss_steps: "2000", "<b>": "<i>" } });
  matchesSnapshot("card_inspect.html", readable(render(made, { open: ["layers", "metadata"] })));
});

test("a report of a newer version is not guessed at", () => {
  assert.match(render({ ...mixed(), version: 2 }).textContent, /version 2; this page knows version 1/);
});

test("coverage that could not be measured is not shown as 0%", () => {
  const meter = render({ ...mixed(), coverage: null }).querySelector("[role=meter]");
  assert.equal(meter.getAttribute("aria-valuenow"), null);
  assert.equal(meter.getAttribute("aria-valuetext"), "not measured for every layer");
});

test("a report without a LoRA or a model has no coverage, one without layers no blocks", () => {
  assert.equal(render({ ...mixed(), lora: null }).querySelector("[role=meter]"), null);
  assert.equal(render({ ...mixed(), model: null }).querySelector("[role=meter]"), null);
  assert.equal(render(report([])).querySelector(".patchbay-strip"), null);
});

test("without a text there is nothing to copy as text", () => {
  assert.equal(render(mixed(), { text: "" }).querySelectorAll("button").length, 1);
});

const HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>\u202egnp.\u0000';

test("text from files stays text, of bounded length, wherever it is shown", () => {
  const evil = HOSTILE + "A".repeat(1_000_000);
  const layers = ["applied", "shape_mismatch", HOSTILE].map((state) =>
    layer({ state, block: evil, layer: evil, reason: evil, lora_key: evil, model_key: evil, owner: evil, not_measured: evil }),
  );
  const made = report(layers, { title: evil, summary: evil, notes: [evil], level: evil });
  Object.assign(made.lora, { name: evil, architecture: evil });
  made.model.architecture = evil;
  made.model.blocks = [{ kind: evil, first: 0, count: 2 }];
  const element = render(made, { open: ["notes", "unapplied", "layers"] });
  assert.equal(element.querySelectorAll("img, script, iframe, a").length, 0);
  assert.doesNotMatch(element.textContent, /[\u202e\u0000]/);
  assert.match(element.textContent, /<img src=x onerror="alert\(1\)">/);
  assert.ok(element.outerHTML.length < 40_000, `${element.outerHTML.length} characters`);
});

test("a long table makes only the rows in view, a short one all of them", () => {
  assert.deepEqual(visibleRows(300, 0, 240), { from: 0, to: 300 });
  assert.deepEqual(visibleRows(10_000, 22 * 500, 242), { from: 494, to: 517 });
  assert.deepEqual(visibleRows(10_000, 22 * 9_999, 242).to, 10_000);
  const many = report(Array.from({ length: 10_000 }, (_, i) => layer({ block: `double_blocks.${i % 2}`, layer: `l${i}` })));
  assert.ok(render(many, { open: ["layers"] }).querySelectorAll(".patchbay-layer-rows > [role=row]").length < 40);
});
