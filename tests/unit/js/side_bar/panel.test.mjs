import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import test from "node:test";
import { extrasOf, measurementOf } from "../../../../js/lib/measure/block_figures.mjs";
import { renderHelp } from "../../../../js/lib/ui/help_page.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { renderLoraCard } from "../../../../js/lib/side_bar/lora_card.mjs";
import { lorasOf } from "../../../../js/lib/side_bar/lora_names.mjs";
import { exportName, layersCsv, layersTable } from "../../../../js/lib/map/export.mjs";
import { atMost } from "../../../../js/lib/side_bar/progress.mjs";
import { chooseSource, comparable, RUNS_KEPT, withRun } from "../../../../js/lib/side_bar/sources.mjs";
import { freshPage, layer, matchesSnapshot, readable, report } from "../support.mjs";

const source = (key, kind, more = {}) => ({ key, title: key, report: report([layer()], { kind }), text: "", ...more });
const WISH = { chosen: null, follow: true, selected: null, newest: null };

test("the selected node is shown while the panel follows, then the chosen, the newest, the one that says most", () => {
  const all = [source("1", "inspect"), source("2", "apply"), source("3", "patches", { idle: true })];
  assert.equal(chooseSource(all, { ...WISH, chosen: "1", selected: "2" }).key, "2");
  assert.equal(chooseSource(all, { ...WISH, chosen: "1", selected: "2", follow: false }).key, "1");
  assert.equal(chooseSource(all, { ...WISH, newest: "1", selected: "99" }).key, "1");
  assert.equal(chooseSource(all, WISH).key, "2", "a bypassed node comes last");
  assert.equal(chooseSource([], WISH), null);
});

test("a cached node's repeated result is no new run, and runs are few", () => {
  let runs = [];
  for (let i = 0; i < 20; i += 1) runs = withRun(runs, { report: report([layer({ delta_norm: 1 + (i >> 1) })]), text: "", at: i });
  assert.equal(runs.length, RUNS_KEPT);
  const shown = { ...source("1", "apply"), report: runs.at(-1).report };
  const others = comparable(shown, [shown, source("2", "patches")], runs);
  assert.equal(others.length, RUNS_KEPT);
  assert.deepEqual(others.at(-1).id, "node 2");
});

test("LoRAs of stock loaders, power loaders and missing files are found; other widgets are not", () => {
  const listed = new Set(["a.safetensors", "sub/b.safetensors"]);
  const widgets = [{ name: "lora_name", value: "gone.safetensors" }, { name: "x", value: { lora: "sub/b.safetensors", on: true } }, { name: "ckpt_name", value: "m.safetensors" }, { name: "y", value: "a.safetensors" }, { name: "lora_name", value: "None" }];
  assert.deepEqual(lorasOf({ id: 1, widgets }, listed), [{ name: "gone.safetensors", known: false }, { name: "sub/b.safetensors", known: true }, { name: "a.safetensors", known: true }]);
});

test("figures of whole blocks come from shift and measuring nodes", () => {
  const shift = { schema: "patchbay.shift", rows: [{ block: "double_blocks.0", shift: 0.1 }, { block: "double_blocks.0", shift: 0.3 }, { block: "output", shift: 9 }, { block: "x.1", shift: null }] };
  assert.deepEqual(extrasOf({ patchbay_shift: [shift] }), { shift: { "double_blocks.0": 0.3 } });
  assert.deepEqual(extrasOf({ patchbay_shift: ["rubbish"] }), {});
  assert.equal(measurementOf({ patchbay_measurement: [{}] }), null);
});

test("CSV quotes what has commas, and a formula does not run", () => {
  const [, line] = layersCsv([layer({ reason: 'a "b", c', owner: "=cmd()", slice: [0, 1, 2] })]).split("\r\n");
  assert.match(line, /"a ""b"", c"/);
  assert.match(line, /'=cmd\(\)/);
  const [head, cells] = layersTable([layer({ reason: "a\tb\nc", owner: "=cmd()" })]).split("\n").map((each) => each.split("\t"));
  assert.equal(head.length, cells.length);
  assert.deepEqual([cells[head.indexOf("reason")], cells[head.indexOf("owner")]], ["a b c", "'=cmd()"]);
  assert.equal(exportName(report([], { kind: "apply", lora: { name: "../a b<.safetensors" } }), "svg"), "patchbay-a-b-apply.svg");
});

test("a thousand events redraw at most ten times a second, and the last is not lost", async () => {
  let drawn = 0;
  const redraw = atMost(() => (drawn += 1));
  const end = performance.now() + 350;
  while (performance.now() < end) {
    redraw();
    await new Promise((done) => setTimeout(done, 1));
  }
  await new Promise((done) => setTimeout(done, 120));
  assert.ok(drawn >= 2 && drawn <= 6, `${drawn} times`);
});

test("the LoRA card, and hostile metadata in it", () => {
  freshPage();
  const evil = `<img src=x onerror="alert(1)">\u202e${"A".repeat(1_000_000)}`;
  const made = report([layer({ state: "in_file", block: "double_blocks.0", layer: "img_attn.qkv" })], { kind: "inspect", model: null, notes: ["Scale from: alpha (1 layer)."] });
  Object.assign(made.lora, { writer: "kohya-ss", trigger_words: ["ink outline", "sumi-e"], metadata: { ss_steps: "2000" } });
  const fit = { verdict: "other size", lora: "FLUX.2", model: "FLUX.2", reason: "Another size: the file is made for FLUX.2." };
  const actions = { copy() {}, show() {}, close() {} };
  const state = { name: "ink.safetensors", report: made, fit, hasModel: true, error: "" };
  const html = (of) => renderLoraCard(of, languageFor("en"), actions).map((part) => readable(part)).join("");
  matchesSnapshot("lora_card.html", html(state));
  const check = { verdict: "fits in part", level: "warning", summary: "ink.safetensors fits FLUX.2 in part: 3 of its 4 layers land.", coverage: 0.75, counts: { applied: 3, shape_mismatch: 1 } };
  matchesSnapshot("lora_card_checked.html", html({ ...state, fit: { ...fit, check } }));
  Object.assign(made.lora, { name: evil, writer: evil, trigger_words: [evil], metadata: { [evil]: evil } });
  const hostile = renderLoraCard({ ...state, name: evil, report: { ...made, summary: evil, notes: [evil] }, fit: { ...fit, reason: evil, check: { ...check, summary: evil } } }, languageFor("en"), actions);
  for (const part of hostile) {
    assert.equal(part.querySelectorAll("img").length, 0);
    assert.ok(part.outerHTML.length < 20_000);
    assert.doesNotMatch(part.textContent, /\u202e/);
  }
  assert.match(html({ ...state, report: null, error: evil }), /&lt;img|<img src=x onerror/);
});

for (const locale of ["en", "ja"]) {
  test(`the help page in ${locale} has its pictures, names every view, and none of its marks is left over`, () => {
    freshPage();
    const folder = new URL("../../../../js/help/", import.meta.url);
    const page = document.createElement("div");
    page.append(...renderHelp(readFileSync(new URL(`side_bar.${locale}.md`, folder), "utf8"), (picture) => new URL(picture, folder).href));
    const pictures = [...page.querySelectorAll("img")];
    assert.equal(pictures.length, 3);
    for (const picture of pictures) {
      assert.ok(existsSync(new URL(picture.getAttribute("src"))));
      assert.ok(picture.getAttribute("alt").length > 10);
    }
    const { t } = languageFor(locale);
    const bold = [...page.querySelectorAll("strong")].map((each) => each.textContent);
    for (const view of ["asked", "left", "applied", "resident"]) assert.ok(bold.includes(t(`map.view.${view}`)), view);
    assert.equal(page.querySelectorAll("h3").length, 1);
    assert.ok(page.querySelectorAll("li").length >= 15);
    assert.doesNotMatch(page.textContent, /[*`#[\]]|!\[/);
  });
}

test("a help page cannot bring in markup or a picture from elsewhere", () => {
  freshPage();
  const page = document.createElement("div");
  page.append(...renderHelp('<img src=x onerror="alert(1)">\n\n![x](https://example.org/a.png)\n\n![x](../../a.png)', () => "never"));
  assert.equal(page.querySelectorAll("img").length, 0);
});
