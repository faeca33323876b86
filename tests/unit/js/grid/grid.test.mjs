import assert from "node:assert/strict";
import test from "node:test";
import { largeView } from "../../../../js/lib/grid/large.mjs";
import { asGrid, counted, neighbour, settingsOf, withinFloor } from "../../../../js/lib/grid/model.mjs";
import { detail, figure, gridView } from "../../../../js/lib/grid/view.mjs";
import { FITTED, held, movedBy, zoomedAt } from "../../../../js/lib/grid/zoom.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { freshPage, matchesSnapshot, readable, saysItInBothLanguages } from "../support.mjs";

const ACTIONS = { turn() {}, open() {}, point() {}, close() {}, step() {}, use() {}, urlOf: ({ filename }) => `/view?filename=${filename}` };
const metrics = (mae) => ({ mae, psnr: 20, ssim: 0.9, identical: mae === 0 });

/** Two LoRAs at two strengths; one picture is missing, one failed. */
function grid(changes = {}) {
  const cell = (lora, strength, more) => ({
    index: [lora, strength], label: `lora ${lora}, strength ${strength}`, settings: { lora: `<b>${lora}</b>.safetensors`, strength: 0.5 + strength / 2, blocks: "single_blocks.*=0" },
    state: "made", seconds: 1.5, reference: "lora 0, strength 0", metrics: metrics(0.1), note: "", made_by: "", picture: { filename: `${lora}${strength}.png`, subfolder: "", type: "temp" }, ...more,
  });
  return {
    schema: "patchbay.report", version: 1, kind: "grid", title: "<i>2</i> LoRAs", summary: "", advice: "", level: "warning",
    axes: [{ name: "lora", labels: ["<b>0</b>", "1"], values: ["a", "b"] }, { name: "strength", labels: ["0.5", "1"], values: [0.5, 1] }],
    cells: [cell(0, 0, { metrics: metrics(0) }), cell(0, 1, { state: "kept" }), cell(1, 0, { state: "missing", picture: null, metrics: null }), cell(1, 1, { state: "failed", picture: null, metrics: null, note: "it is <u>broken</u>" })],
    pages: [{ title: "", rows: ["lora <b>0</b>", "1"], columns: ["strength 0.5", "1"], cells: [[0, 1], [2, 3]] }],
    reference: "strength=0.5", floor: { metrics: metrics(0), note: "" }, notes: ["x.safetensors: 3 layers do not fit"], sheets: [{ filename: "sheet.png", subfolder: "", type: "output" }], ...changes,
  };
}

const view = (data, locale = "en") => (freshPage(), gridView(data, 0, languageFor(locale), ACTIONS));

test("a grid, as markup", () => matchesSnapshot("grid.html", readable(view(grid()))));
test("both languages", () => saysItInBothLanguages((locale) => view(grid(), locale)));
test("names of files are no markup", () => assert.equal(view(grid()).querySelectorAll("b, i, u").length, 0));

test("what is no grid is none", () => {
  for (const value of [null, undefined, 1, "x", {}, { kind: "grid" }, { ...grid(), pages: [] }]) assert.equal(asGrid(value), null);
  assert.ok(asGrid(grid()));
});

test("a newer grid says so", () => assert.match(view(grid({ version: 2 })).textContent, /2/));

test("cells are counted by what became of them", () => assert.deepEqual(counted(grid()), { all: 4, made: 2, kept: 1, missing: 1, failed: 1 }));

test("settings for a node, and none for a cell without a LoRA", () => {
  assert.deepEqual(settingsOf(grid().cells[1]), { lora: "<b>0</b>.safetensors", strength: 1, blocks: "single_blocks.*=0" });
  assert.equal(settingsOf({ settings: { "3.seed": 7 } }), null);
});

test("the cell beside another one", () => {
  const [page] = grid().pages;
  assert.deepEqual([neighbour(page, 0, 1, 0), neighbour(page, 0, 0, 1), neighbour(page, 3, 1, 0), neighbour(page, 0, -1, 0)], [1, 2, null, null]);
});

test("a difference within the floor is called so", () => {
  const data = grid({ floor: { metrics: metrics(0.2), note: "" } });
  assert.ok(withinFloor(data, data.cells[1]));
  assert.equal(figure(data, data.cells[1], languageFor("en")), "within the floor");
  assert.equal(figure(data, data.cells[0], languageFor("en")), "identical");
});

test("pages are chosen from a list", () => {
  const data = grid({ pages: [...grid().pages, { ...grid().pages[0], title: "seed 8" }] });
  assert.equal(view(data).querySelectorAll("option").length, 2);
});

test("the enlarged picture names its settings and offers them", () => {
  freshPage();
  const data = grid();
  const text = largeView(data, data.cells[1], languageFor("en"), ACTIONS).textContent;
  assert.match(text, /Use these settings/);
  assert.match(text, /strength 1/);
  assert.doesNotMatch(largeView(data, data.cells[1], languageFor("en"), { ...ACTIONS, use: null }).textContent, /Use these/);
  assert.match(detail(data, data.cells[3], languageFor("en")).textContent, /it is <u>broken/);
});

test("zooming keeps the point under the hand, and the picture on its stage", () => {
  const at = { x: 0.25, y: -0.1 };
  const zoom = zoomedAt(FITTED, 2, at);
  assert.ok(Math.abs((at.x - zoom.x) / zoom.scale - at.x) < 1e-12);
  assert.deepEqual(zoomedAt(zoom, 0.01, at), FITTED);
  assert.deepEqual(movedBy(FITTED, 5, 5), FITTED);
  assert.deepEqual(held({ scale: 3, x: 9, y: -9 }), { scale: 3, x: 1, y: -1 });
});
