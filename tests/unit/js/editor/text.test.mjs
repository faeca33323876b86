import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { bindStrengths, strengthOf, toModel } from "../../../../js/lib/editor/table.mjs";
import * as text from "../../../../js/lib/editor/text.mjs";

const vectors = JSON.parse(readFileSync(new URL("../../strength_vectors.json", import.meta.url), "utf8"));

test("Python and JavaScript read the same text in the same way", () => {
  const models = Object.fromEntries(Object.entries(vectors.layouts).map(([name, layout]) => [name, toModel(layout)]));
  let bound = 0;
  for (const { layout, text: source, items, problem, strengths } of vectors.cases) {
    const where = `${layout}: ${JSON.stringify(source)}`;
    const parsed = text.parseStrengths(source);
    const model = models[layout];
    const table = bindStrengths(parsed.items, model);
    const first = parsed.problems[0] ?? table.problems[0];
    assert.equal(first?.kind, problem, where);
    if (items) assert.deepEqual(parsed.items.map((x) => [x.path.join("."), x.first, x.last, x.part, x.anyIndex, x.percent, x.value + 0]), items, where);
    if (!strengths) continue;
    const expected = strengths.flatMap(([value, count]) => Array(count).fill(value));
    assert.deepEqual(model.units.map((_, unit) => strengthOf(table, unit) + 0), expected.map((value) => value + 0), where);
    bound += 1;
  }
  assert.ok(bound > 200, `only ${bound} cases reach a model`);
});

const NANO = toModel(vectors.layouts.flux_with_te);
const { withReset, withStrength, barState } = await import("../../../../js/lib/editor/edit.mjs");
const at = (selector) => text.parseSelector(selector);
const set = (source, selector, value, flatten) => withStrength(source, at(selector), value, NANO, flatten);
const reset = (source, selector) => withReset(source, at(selector), NANO);
const bar = (source, selector) => barState(bindStrengths(text.parseStrengths(source).items, NANO), at(selector));

test("an edit changes the number that is there, and nothing else of the text", () => {
  const source = "# my style\nall = 0.5,  double.0 = 0.8 # weak\n\nsingle_blocks.*.txt=0";
  assert.equal(set("all=0.5, double.0 = 0.8 # weak", "double_blocks.0", 0.25), "all=0.5, double.0 = 0.25 # weak");
  assert.equal(set(source.replace(/\n\nsingle.*/, ""), "all", 1.5), "# my style\nall = 1.5,  double.0 = 0.8 # weak");
});

test("a new item goes where it counts and finer settings stay", () => {
  assert.equal(set("", "double_blocks.1", 0.5), "double_blocks.1=0.5");
  assert.equal(set("double_blocks.0-1=0.8", "double_blocks.1", 0.5), "double_blocks.0-1=0.8, double_blocks.1=0.5");
  assert.equal(set("double_blocks.1=0.5", "all", 0), "all=0, double_blocks.1=0.5");
  assert.equal(set("double_blocks.*.txt=0", "double_blocks.1", 0.5), "double_blocks.1=0.5, double_blocks.*.txt=0");
  assert.equal(set("double_blocks.*.txt=0, all=0.7", "double_blocks.1", 0.5), "double_blocks.*.txt=0, all=0.7, double_blocks.1=0.5");
  assert.equal(set("double_blocks.1.txt=0", "double_blocks.1.img", 0.5), "double_blocks.1.txt=0, double_blocks.1.img=0.5");
  assert.equal(set("double_blocks.1.img=0.5", "double_blocks.1.attn", 0), "double_blocks.1.img=0.5, double_blocks.1.attn=0");
});

test("an item that a later one makes void is moved, not kept twice", () => {
  assert.equal(set("double_blocks.1=0.5, all=0", "double_blocks.1", 0.2), "all=0, double_blocks.1=0.2");
});

test("where finer settings leave nothing, the whole wins", () => {
  assert.equal(set("single_blocks.*.attn=0, single_blocks.*.mlp=0.5", "single_blocks.1", 2), "single_blocks.*.attn=0, single_blocks.*.mlp=0.5, single_blocks.1=2");
});

test("all blocks of a kind at once", () => {
  assert.equal(set("double_blocks.1=0.5, double_blocks.*.txt=0", "double_blocks.*", 0.3, true), "double_blocks.*=0.3, double_blocks.*.txt=0");
  assert.equal(set("double_blocks.1=0.5", "double_blocks.*", 0.3), "double_blocks.*=0.3, double_blocks.1=0.5");
});

test("texts in lines go on in lines, and comments keep their place", () => {
  assert.equal(set("all=0.5 # base\ndouble=1 # up\n", "single_blocks.0", 0), "all=0.5 # base\ndouble=1 # up\nsingle_blocks.0=0");
  assert.equal(set("all=0.5 # base", "single_blocks.0", 0), "all=0.5 # base\nsingle_blocks.0=0");
  assert.equal(set("# notes only", "other", 2), "# notes only\nother=2");
  assert.equal(set("all=1,\n", "other", 2), "all=1, other=2");
});

test("reset takes out what spoke only of the bar, and writes 1 only where it must", () => {
  assert.equal(reset("double_blocks.1=0.5", "double_blocks.1"), "");
  assert.equal(reset("all=0.5, double_blocks.1=0.5", "double_blocks.1"), "all=0.5, double_blocks.1=1");
  assert.equal(reset("double_blocks.1=0.5, double_blocks.1.txt=0, other=2", "double_blocks.1"), "other=2");
  assert.equal(reset("# a\ndouble_blocks.1=0.5 # why\nother=2", "double_blocks.1"), "# a\n# why\nother=2");
  assert.equal(reset("# a\ndouble_blocks.1=0.5\nother=2", "double_blocks.1"), "# a\nother=2");
  assert.equal(reset("other=2\ndouble_blocks.1=0.5", "double_blocks.1"), "other=2");
  assert.equal(reset("all=0, double=1, te=0", "all"), "");
});

test("after an edit the layers have the strengths, whatever stood there", () => {
  for (const { layout, text: source, strengths } of vectors.cases) {
    if (!strengths) continue;
    const model = toModel(vectors.layouts[layout]);
    const kind = [...model.kinds].at(-1);
    for (const selector of [`${kind}.0`, `${kind}.*`, "all", "other", "*.attn"]) {
      const before = bindStrengths(text.parseStrengths(source).items, model);
      if (barState(before, at(selector)).empty) continue;
      const edited = withStrength(source, at(selector), 3.25, model);
      const after = bindStrengths(text.parseStrengths(edited).items, model);
      const shown = barState(after, at(selector));
      assert.ok(shown.value === 3.25, `${source} | ${selector} | ${edited} | ${JSON.stringify(shown)}`);
      const again = withStrength(edited, at(selector), -1, model);
      assert.equal(text.parseStrengths(again).items.length, text.parseStrengths(edited).items.length, `${edited} grew to ${again}`);
      const back = barState(bindStrengths(text.parseStrengths(withReset(edited, at(selector), model)).items, model), at(selector));
      assert.deepEqual([back.low, back.high], [1, 1], `${source} | ${selector}`);
    }
  }
});

test("an edit leaves what lies outside the bar as it was", () => {
  for (const { layout, text: source, strengths } of vectors.cases) {
    if (!strengths) continue;
    const model = toModel(vectors.layouts[layout]);
    const kind = [...model.kinds][0];
    const before = bindStrengths(text.parseStrengths(source).items, model);
    for (const edited of [withStrength(source, at(`${kind}.1`), 3.25, model), withReset(source, at(`${kind}.1`), model)]) {
      const after = bindStrengths(text.parseStrengths(edited).items, model);
      model.units.forEach((unit, i) => {
        if (unit.kind !== kind || unit.index !== 1) assert.equal(strengthOf(after, i), strengthOf(before, i), `${source} -> ${edited}`);
      });
    }
  }
});

test("a text on top of a preset: the preset is never written, and what the bar says holds", () => {
  const base = "all=0.5, double_blocks.*=0, single_blocks.1.attn=0.25";
  const on = (source, selector, value) => withStrength(source, at(selector), value, NANO, false, base);
  const value = (source, selector) => barState(bindStrengths(text.parseStrengths(`${base}\n${source}`).items, NANO), at(selector)).value;
  assert.equal(on("", "double_blocks.1", 0.75), "double_blocks.1=0.75");
  assert.equal(on("double_blocks.1=0.75", "double_blocks.*", 0.2), "double_blocks.*=0.2, double_blocks.1=0.75");
  assert.equal(on("double_blocks.1=0.75", "double_blocks.1", 0), "double_blocks.1=0");
  assert.equal(on("", "single_blocks.1", 2), "single_blocks.1=2");
  assert.equal(value(on("", "all", 2), "double_blocks.0"), 2);
  assert.equal(withReset("double_blocks.1=0.75", at("double_blocks.1"), NANO, base), "double_blocks.1=1");
  assert.equal(withReset("all=3", at("all"), NANO, base), "all=1");
});
