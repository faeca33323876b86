import assert from "node:assert/strict";
import test from "node:test";
import { initialState, withMode, withPayload, withSplit } from "../../../../js/lib/compare/state.mjs";
import { buildCompareView, renderCompare } from "../../../../js/lib/compare/view.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { freshPage, matchesSnapshot, readable, saysItInBothLanguages } from "../support.mjs";

const NOTHING = { mode() {}, step() {}, fit() {}, pixels() {}, togglePlay() {}, imageChanged() {} };
const STAGE = { width: 400, height: 200 };
const file = (filename) => ({ filename, subfolder: "", type: "temp" });
const PAYLOAD = {
  schema: "patchbay.compare", version: 1, label_a: "without LoRA", label_b: "with ink", gain: 4,
  loras_a: [], loras_b: [{ name: "styles/ink.safetensors", strength_model: 0.8, strength_clip: 0.5, blocks: "single_blocks.*=0" }],
  pairs: [{ a: file("a.png"), b: file("b.png"), difference: file("d.png"), width: 100, height: 100, metrics: { mae: 0.041, psnr: 21.3, ssim: 0.82, identical: false } }],
};

/** @param {import("../../../../js/types/compare").CompareState} state */
function render(state, locale = "en") {
  freshPage();
  const language = languageFor(locale);
  const view = buildCompareView(NOTHING, language);
  renderCompare(view, state, { language, urlOf: ({ filename }) => `/view?filename=${filename}`, stage: STAGE });
  return view;
}

const inMode = (mode) => withPayload(initialState(mode), PAYLOAD);
const shown = (view) => Object.entries(view.panes).filter(([, pane]) => !pane.root.hasAttribute("hidden")).map(([name]) => name).join();

test("side by side, as markup", () => matchesSnapshot("compare_side.html", readable(render(inMode("side")).root)));
test("slider, as markup", () => matchesSnapshot("compare_slider.html", readable(render(withSplit(inMode("slider"), 0.25)).root)));
test("both languages", () => saysItInBothLanguages((locale) => render(withSplit(inMode("slider"), 0.25), locale).root));

/** @type {[string, string][]} */
const SHOWN = [["side", "a,b"], ["slider", "a,b"], ["blink", "a"], ["difference", "difference"]];
for (const [mode, panes] of SHOWN) {
  test(`${mode} shows ${panes}`, () => assert.equal(shown(render(inMode(mode))), panes));
}

test("blink shows the other picture on its beat", () => {
  assert.equal(shown(render({ ...inMode("blink"), blinkShowsB: true })), "b");
  assert.equal(withMode({ ...inMode("blink"), blinkShowsB: true }, "slider").blinkShowsB, false);
});

test("pictures of one size lie at the same place in both panes", () => {
  const { a, b } = render(inMode("side")).panes;
  assert.equal(a.image.getAttribute("style"), b.image.getAttribute("style"));
});

test("before the first run, and without pairs, the viewer says so", () => {
  assert.match(render(initialState("side")).empty.textContent, /Run the workflow/);
  assert.match(render(withPayload(initialState("side"), { ...PAYLOAD, pairs: [] })).empty.textContent, /no pair/);
});

test("labels say what lies behind a picture, and a number that is not known", () => {
  const { a, b, difference } = render(inMode("side")).panes;
  assert.equal(a.label.textContent, "Awithout LoRA");
  assert.equal(b.label.querySelector(".patchbay-used").textContent, "ink × 0.8 / 0.5 · single_blocks.*=0");
  assert.match(difference.label.textContent, /^Difference × 4A: without LoRA ↔ B: with ink, ink × 0\.8/);
  const unknown = { ...PAYLOAD, loras_b: [{ name: "ink.gguf", strength_model: null, strength_clip: null, blocks: "" }] };
  assert.match(render(withPayload(initialState("side"), unknown)).panes.b.label.title, /\nink × \?$/);
});

test("labels stay text", () => {
  const evil = '<img src=x onerror="alert(1)">\u202e';
  const view = render(withPayload(initialState("side"), { ...PAYLOAD, label_a: evil + "A".repeat(1_000_000), loras_a: [{ ...PAYLOAD.loras_b[0], name: evil.repeat(10_000), blocks: evil }] }));
  assert.equal(view.panes.a.label.querySelectorAll("img").length, 0);
  assert.ok(view.root.outerHTML.length < 20_000);
  assert.match(view.panes.a.label.textContent, /^A<img src=x onerror="alert\(1\)">\[U\+202E\]/);
});

test("the frames of a video are gone through with one slider", () => {
  const steps = [];
  freshPage();
  const language = languageFor("en");
  const view = buildCompareView({ ...NOTHING, step: (by) => steps.push(by) }, language);
  const context = { language, urlOf: ({ filename }) => `/view?filename=${filename}`, stage: STAGE };
  const frames = (count) => ({ ...withPayload(initialState("side"), { ...PAYLOAD, pairs: Array(count).fill(PAYLOAD.pairs[0]) }), index: 2 });
  renderCompare(view, frames(33), context);
  assert.equal(view.seek.hidden, false);
  assert.deepEqual([view.seek.max, view.seek.value], ["32", "2"]);
  view.seek.value = "30";
  view.seek.dispatchEvent(new view.root.ownerDocument.defaultView.Event("input"));
  assert.deepEqual(steps, [28]);
  renderCompare(view, frames(3), context);
  assert.equal(view.seek.hidden, true);
});
