// The rows as a value: what is written is read again, tags, order, solo; and no markup from a name.

import assert from "node:assert/strict";
import test from "node:test";
import { changed, formatRows, moved, newRow, parseRows, rowsOfTags, shortName, soloed } from "../../../../js/lib/rows/model.mjs";
import { rowElements } from "../../../../js/lib/rows/view.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { freshPage } from "../support.mjs";

const ROWS = [
  { on: true, lora: "folder/ä.safetensors", strength: 0.8, clip: null, blocks: "" },
  { on: false, lora: "b.safetensors", strength: -1.25, clip: 0.5, blocks: "double_blocks=0\nte=0.3" },
];

test("what is written is read again", () => {
  assert.deepEqual(parseRows(formatRows(ROWS)), { rows: ROWS, problem: "" });
  assert.deepEqual(parseRows(" "), { rows: [], problem: "" });
  assert.deepEqual(parseRows('{"lora": "a"}').rows, [newRow("a")]);
});

test("what cannot be read is told and shows nothing", () => {
  for (const text of ["[", "words", "[1]", "[null]"]) {
    const { rows, problem } = parseRows(text);
    assert.deepEqual([rows, problem !== ""], [[], true], text);
  }
  assert.equal(parseRows('[{"lora": 5, "strength": 1e999}]').rows[0]?.strength, 1);
});

test("tags among other words, and none that carries more than numbers", () => {
  const rows = rowsOfTags("a cat <lora:one:0.8>, <LORA: two : -1 : 0.5 > <lora:three> <lora:four:LBW=1> <lora:five:1:1:1> <lora::1>");
  assert.deepEqual(rows.map(({ lora, strength, clip }) => [lora, strength, clip]), [["one", 0.8, null], ["two", -1, 0.5], ["three", 1, null]]);
});

test("a row moves to the place that it is dragged to", () => {
  const names = (rows) => rows.map(({ lora }) => lora).join("");
  const rows = ["a", "b", "c"].map(newRow);
  assert.deepEqual([[0, 2], [2, 0], [1, 1], [0, 1]].map(([from, to]) => names(moved(rows, from, to))), ["bca", "cab", "abc", "bac"]);
  assert.equal(names(moved(rows, 9, 0)), "abc");
});

test("solo leaves one row on, and once more what was on before", () => {
  const rows = changed(["a", "b", "c"].map(newRow), 0, { on: false });
  const on = (rows) => rows.map(({ on }) => on);
  const only = soloed(rows, 2, null);
  assert.deepEqual(on(only), [false, false, true]);
  assert.deepEqual(on(soloed(only, 2, on(rows))), on(rows));
});

test("a name is never markup, and every control has a name", () => {
  freshPage();
  const rows = [{ ...newRow("<img src=x onerror=alert(1)>.safetensors"), clip: 0.5 }];
  const looks = [{ level: "error", verdict: "<b>no</b>", words: "<i>w</i>", bars: [{ value: 1, low: 1, high: 1 }, { value: 0, low: 0, high: 0 }] }];
  for (const locale of ["en", "ja"]) {
    const shown = { rows, looks, status: "", statusLevel: "", earlier: false, reportOpen: false, edited: -2, said: "" };
    const elements = rowElements(shown, languageFor(locale));
    for (const element of elements) {
      assert.equal(element.querySelector("img, b, i"), null);
      for (const control of element.querySelectorAll("button, input")) assert.ok(control.getAttribute("aria-label") || control.textContent?.trim(), control.outerHTML);
    }
    assert.equal(elements[1].querySelectorAll("rect").length, 2);
  }
  assert.equal(shortName("a\\b/c.d.safetensors"), "c.d");
});
