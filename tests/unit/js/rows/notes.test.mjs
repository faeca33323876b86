// The user's notes on LoRAs: what of a file counts, and what a range does to a strength.

import assert from "node:assert/strict";
import test from "node:test";
import { isOutside, noteOf, readNote, setNotes, withinRange } from "../../../../js/lib/rows/notes.mjs";
import { newRow } from "../../../../js/lib/rows/model.mjs";
import { rowElements } from "../../../../js/lib/rows/view.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { freshPage } from "../support.mjs";

test("what a file says of a note is not trusted", () => {
  assert.deepEqual(readNote(null), { text: "", least: null, most: null });
  assert.deepEqual(readNote({ text: 7, least: "0.5", most: Number.NaN }), { text: "", least: null, most: null });
  assert.deepEqual(readNote({ text: "  soft  ", least: 0.9, most: 0.4 }), { text: "soft", least: 0.4, most: 0.9 });
  assert.equal(readNote({ text: "x".repeat(9000) }).text.length, 2000);
  assert.equal(readNote({ most: 1e9 }).most, 100);
});

test("a strength that is pulled stays within the range", () => {
  const note = { text: "", least: 0.4, most: 0.8 };
  assert.deepEqual([0, 0.5, 3].map((strength) => withinRange(strength, note)), [0.4, 0.5, 0.8]);
  assert.deepEqual([0, 0.5, 3].map((strength) => isOutside(strength, note)), [true, false, true]);
  assert.equal(withinRange(3, { text: "", least: 0.4, most: null }), 3);
});

test("a row says its note and its range, as text", () => {
  freshPage();
  setNotes({ "a.safetensors": { text: "<img src=x>", least: 0.4, most: 0.8 } });
  const shown = { rows: [newRow("a.safetensors"), newRow("constructor")], looks: [], status: "", statusLevel: "", earlier: false, reportOpen: false, edited: -1, said: "" };
  const [, row, other] = rowElements(shown, languageFor("en"));
  assert.match(row.querySelector("[data-act=name]").getAttribute("title"), /<img src=x>/);
  assert.match(row.querySelector("[data-act=strength]").getAttribute("title"), /your range: 0.4 to 0.8/);
  assert.ok(row.querySelector(".patchbay-is-outside"));
  assert.equal(other.querySelector(".patchbay-is-outside"), null);
  assert.equal(noteOf("constructor").text, "");
});
