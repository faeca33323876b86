// What a search in the list finds.

import assert from "node:assert/strict";
import test from "node:test";
import { findNames, fittingFirst, foldersOf, isIn } from "../../../../js/lib/picker/match.mjs";

const NAMES = ["styles/Ink Wash v2.safetensors", "styles/old\\ink.safetensors", "people/anna_ink.safetensors", "wash.safetensors"];

test("all words in any order, whatever their case", () => {
  assert.deepEqual(findNames(NAMES, "WASH ink"), [NAMES[0]]);
  assert.deepEqual(findNames(NAMES, "ink wash"), [NAMES[0]]);
  assert.deepEqual(findNames(NAMES, "  "), NAMES);
  assert.deepEqual(findNames(NAMES, "nothing"), []);
});

test("files that begin with the first word come first", () => {
  assert.deepEqual(findNames(NAMES, "ink"), [NAMES[0], NAMES[1], NAMES[2]]);
  assert.deepEqual(findNames(NAMES, "wash"), [NAMES[3], NAMES[0]]);
});

test("trigger words count too", () => {
  assert.deepEqual(findNames(NAMES, "heron", (name) => (name === NAMES[3] ? "a heron" : "")), [NAMES[3]]);
});

test("folders with what lies below them", () => {
  assert.deepEqual([...foldersOf(NAMES)], [["people", 1], ["styles", 2], ["styles/old", 1]]);
  assert.deepEqual(NAMES.filter((name) => isIn(name, "styles")), NAMES.slice(0, 2));
  assert.equal(isIn("styles2/x", "styles"), false);
});

test("what fits comes first, what does not last, in the order that they had", () => {
  const levels = { a: "error", b: undefined, c: "warning", d: "ok", e: "error", f: "ok" };
  assert.deepEqual(fittingFirst(Object.keys(levels), (name) => levels[name]), ["d", "f", "c", "b", "a", "e"]);
});
