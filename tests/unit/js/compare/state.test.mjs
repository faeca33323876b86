import assert from "node:assert/strict";
import test from "node:test";
import * as compare from "../../../../js/lib/compare/state.mjs";
import { metricsText } from "../../../../js/lib/compare/text.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";

const PICTURE = { width: 100, height: 50 };
const PANE = { width: 200, height: 200 };
const file = (filename) => ({ filename, subfolder: "", type: "temp" });
const pair = (width = 100) => ({ a: file("a"), b: file("b"), difference: file("d"), width, height: 50, metrics: { mae: 0, psnr: null, ssim: 1, identical: true } });
const payload = (...pairs) => ({ schema: "patchbay.compare", version: 1, label_a: "", label_b: "", gain: 2, pairs });
const start = () => compare.withPayload(compare.initialState("slider"), payload(pair(), pair(), pair(300)));

test("a new viewer starts with the wanted way of comparing, or side by side", () => {
  assert.equal(compare.initialState("blink").mode, "blink");
  assert.equal(compare.initialState("constructor").mode, "side");
  assert.equal(compare.initialState(undefined).mode, "side");
});

test("pairs go round", () => {
  assert.equal(compare.withStep(start(), -1).index, 2);
  assert.equal(compare.withStep(compare.withStep(start(), 2), 1).index, 0);
  assert.equal(compare.withStep(compare.initialState("side"), 1).index, 0);
});

test("the place in the picture stays between pairs of one size and is given up at another size", () => {
  const zoomed = compare.withScale(start(), 4);
  assert.equal(compare.withStep(zoomed, 1).view.scale, 4);
  assert.equal(compare.withStep(zoomed, 2).view.scale, null);
});

test("fewer pairs than before: the last one is shown", () => {
  const last = compare.withStep(start(), -1);
  assert.equal(compare.withPayload(last, payload(pair())).index, 0);
  assert.equal(compare.currentPair(compare.withPayload(last, null)), null);
});

test("fit shows the whole picture in the middle", () => {
  assert.deepEqual(compare.placePicture(compare.FIT, PICTURE, PANE), { scale: 2, width: 200, height: 100, left: 0, top: 50 });
});

for (const [grid, corner] of [[0.5, { x: 0.3, y: 0.9 }], [1.25, { x: 0, y: 0.5 }], [2, { x: 0.7, y: 0.1 }]]) {
  test(`1:1 is one picture pixel on one screen pixel at ${grid} screen pixels for one of the stage`, () => {
    const stage = { width: 301.4, height: 77.2, grid, corner };
    const panes = compare.paneBoxes("side", PICTURE, stage);
    const placed = compare.placePicture(compare.withScale(start()).view, PICTURE, panes[0]);
    for (const pane of panes) {
      assert.equal(placed.scale, 1);
      assert.ok(Math.abs(placed.width * grid - PICTURE.width) < 1e-9);
      for (const at of [(pane.left + placed.left) * grid + corner.x, (pane.top + placed.top) * grid + corner.y]) {
        assert.ok(Math.abs(at - Math.round(at)) < 1e-9, `the corner of the picture lies at ${at} screen pixels`);
      }
    }
  });
}

test("a stage that moved by part of a screen pixel is not the same", () => {
  const stage = { width: 300, height: 200, grid: 1.25, corner: { x: 0.25, y: 0 } };
  assert.ok(compare.sameStage(stage, { ...stage }));
  for (const change of [{ corner: { x: 0.5, y: 0 } }, { grid: 1.26 }, { height: 201 }]) {
    assert.equal(compare.sameStage(stage, { ...stage, ...change }), false);
  }
});

test("zooming keeps what is under the pointer", () => {
  const point = { x: 150, y: 90 };
  const before = compare.placePicture(compare.FIT, PICTURE, PANE);
  const after = compare.placePicture(compare.zoomAt(start(), PICTURE, PANE, point, 4).view, PICTURE, PANE);
  assert.equal(after.scale, 8);
  assert.ok(Math.abs((point.x - after.left) / after.width - (point.x - before.left) / before.width) < 1e-9);
  assert.ok(Math.abs((point.y - after.top) / after.height - (point.y - before.top) / before.height) < 1e-9);
});

test("zooming out ends at fit, zooming in at the largest scale", () => {
  assert.equal(compare.zoomAt(start(), PICTURE, PANE, { x: 0, y: 0 }, 0.1).view.scale, null);
  assert.equal(compare.zoomAt(start(), PICTURE, PANE, { x: 0, y: 0 }, 1e9).view.scale, compare.LARGEST_SCALE);
});

test("panning stops at the edges", () => {
  const zoomed = compare.withScale(start(), 8);
  const far = compare.panBy(zoomed, PICTURE, PANE, { x: 1e6, y: -1e6 });
  const placed = compare.placePicture(far.view, PICTURE, PANE);
  assert.equal(placed.left, 0);
  assert.equal(placed.top + placed.height, PANE.height);
});

test("the boundary stays inside and runs over the part of the picture that is in view", () => {
  assert.equal(compare.withSplit(start(), 1.5).split, 1);
  assert.equal(compare.withSplit(start(), -1).split, 0);
  assert.deepEqual(compare.sliderRange({ left: -50, top: 0, width: 100, height: 1 }, PANE), { left: 0, width: 50 });
});

/** @type {[string, {width: number, height: number}, {width: number, height: number}, string][]} */
const LAYOUTS = [
  ["square pictures on a wide stage", { width: 64, height: 64 }, { width: 400, height: 200 }, "row"],
  ["wide pictures on a square stage", { width: 200, height: 50 }, { width: 300, height: 300 }, "column"],
  ["tall pictures on a square stage", { width: 50, height: 200 }, { width: 300, height: 300 }, "row"],
];
for (const [what, picture, stage, direction] of LAYOUTS) {
  test(`${what} stand in a ${direction}`, () => {
    const [, second] = compare.paneBoxes("side", picture, stage);
    assert.equal(second.left > 0 ? "row" : "column", direction);
  });
}

test("a mismatch of sizes is said, and only a mismatch", () => {
  assert.equal(compare.sizeMismatch(PICTURE, PICTURE, null), null);
  assert.deepEqual(compare.sizeMismatch(PICTURE, PICTURE, PANE), { a: PICTURE, b: PANE, shown: PICTURE });
});

test("only a compare payload is taken for one", () => {
  for (const value of [null, undefined, 3, {}, { schema: "patchbay.report", pairs: [] }, { schema: "patchbay.compare" }]) {
    assert.equal(compare.asPayload(value), null);
  }
  assert.ok(compare.asPayload(payload()));
});

test("metrics read as a line, and equal pictures as words", () => {
  const english = languageFor("en");
  assert.equal(metricsText({ mae: 0.04123, psnr: 21.34, ssim: 0.8231, identical: false }, english), "MAE 0.0412 · PSNR 21.3 dB · SSIM 0.823");
  assert.equal(metricsText({ mae: 1e-6, psnr: 90, ssim: 0.99999, identical: false }, english), "MAE 0.000001 · PSNR 90 dB · SSIM > 0.999");
  assert.equal(metricsText({ mae: 0, psnr: null, ssim: 1, identical: true }, english), "identical, bit for bit");
});

const { currentPair, initialState, labelsOf, withPayload, withPin } = compare;

test("a pinned run's second picture stands in the place of the first, until it is given up", () => {
  const payload = (name) => ({ schema: "patchbay.compare", version: 1, label_a: "without", label_b: name, gain: 1, pairs: [{ a: { filename: `${name} a` }, b: { filename: `${name} b` }, difference: {}, width: 8, height: 8, metrics: {} }] });
  const first = withPin(withPayload({ ...initialState("difference") }, payload("first")));
  assert.equal(first.mode, "slider", "its difference was never measured");
  const later = withPayload(first, payload("second"));
  assert.deepEqual([currentPair(later).a.filename, currentPair(later).b.filename], ["first b", "second b"]);
  assert.deepEqual(labelsOf(later).map(({ text, earlier }) => [text, earlier]), [["first", true], ["second", false]]);
  const held = { ...later, held: true };
  assert.deepEqual([currentPair(held).a.filename, labelsOf(held)[0].text], ["second b", "second"]);
  assert.equal(currentPair(withPin(later)).a.filename, "second a");
});
