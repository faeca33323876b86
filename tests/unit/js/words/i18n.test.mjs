import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { STRINGS } from "../../../../js/lib/words/strings.mjs";

const placeholders = (text) => [...text.matchAll(/\{\w+\}/g)].map(String).sort().join();

for (const [code, strings] of Object.entries(STRINGS)) {
  test(`${code} says everything that English says, with the same values`, () => {
    const needed = Object.keys(STRINGS.en).filter((key) => !key.endsWith(".one"));
    assert.deepEqual(Object.keys(strings).filter((key) => !key.endsWith(".one")).sort(), needed.sort());
    for (const key of needed) assert.equal(placeholders(strings[key]), placeholders(STRINGS.en[key]), key);
  });
}

test("locales of ComfyUI find their language, unknown ones English", () => {
  assert.equal(languageFor("ja").locale, "ja");
  assert.equal(languageFor("en-GB").locale, "en");
  for (const locale of ["xx", "constructor", "__proto__", "", null, 7]) assert.equal(languageFor(locale).locale, "en");
});

test("one is not many, and a value is filled in as it is", () => {
  const { t } = languageFor("en");
  assert.equal(t("card.missing", { n: "1" }), "1 layer changes nothing");
  assert.equal(t("card.missing", { n: "1,024" }), "1,024 layers change nothing");
  assert.equal(t("compare.splitValue", { percent: "5%", label: "{percent} $& <b>" }), "5% of the width shows {percent} $& <b>");
});

test("every string is used and every key that is used exists", () => {
  const folder = new URL("../../../../js/lib/", import.meta.url);
  const code = readdirSync(folder, { recursive: true }).map(String).filter((name) => name.endsWith(".mjs") && !/strings[^/\\]*$/.test(name)).map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");
  const used = new Set([...code.matchAll(/["`]([a-z]+\.[A-Za-z.]+)["`]/g)].map((match) => match[1]));
  const families = ["state.", "level.", "compare.side", "compare.slider", "compare.blink", "compare.difference", "column.", "table.", "why.", "memory.", "figure.", "verdict.", "answer.", "output.", "measure.bar.", "measure.memory.", "fact.", "stage.", "metric.", "legend.", "map.view.", "panel.export.", "editor.source.", "editor.error.", "shift.zone.", "shift.sign.", "shift.img", "shift.txt", "shift.all", "fit.gain.", "fit.name.", "sweep.bars.", "sweep.track.", "sweep.part.", "grid.axis.", "grid.back.", "grid.use.", "found.is.", "presets.shipped", "presets.user"];
  for (const key of Object.keys(STRINGS.en)) {
    assert.ok(used.has(key.replace(/\.one$/, "")) || families.some((start) => key.startsWith(start)), `unused: ${key}`);
  }
  for (const [, key] of code.matchAll(/\bt\("([^"]+)"/g)) assert.ok(key in STRINGS.en, `missing: ${key}`);
});
