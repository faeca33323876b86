// How long the words of a report take at their worst: asserts time, so it runs in the layer `timing`.

import assert from "node:assert/strict";
import test from "node:test";
import { reportWords } from "../../../../js/lib/words/report_words.mjs";

test("a hostile text costs no time", () => {
  const started = performance.now();
  for (const text of [" fits ".repeat(190), " of ".repeat(290), "; ".repeat(590), ". A".repeat(390), "1 of 1 weights are patched, by ".repeat(38), "(".repeat(1100), "x".repeat(2_000_000), "For example a: ".repeat(75)]) reportWords(text, "ja");
  assert.ok(performance.now() - started < 1500, `${performance.now() - started} ms`);
});
