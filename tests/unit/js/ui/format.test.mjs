import assert from "node:assert/strict";
import test from "node:test";
import { formatBytes, formatCount, formatNumber, formatRatio, formatShare, plainText, shortKind } from "../../../../js/lib/ui/format.mjs";

/** @type {[number | null, string][]} */
const RATIOS = [[0, "0%"], [0.02314, "2.31%"], [1, "100%"], [0.00012345, "0.0123%"], [1e-9, "< 0.001%"], [null, "–"], [Number.NaN, "–"]];
for (const [ratio, text] of RATIOS) {
  test(`a change of ${ratio} reads ${text}`, () => assert.equal(formatRatio(ratio), text));
}

/** @type {[number, string][]} */
const SHARES = [[1, "100%"], [0.99999, "99.9%"], [0.9, "90%"], [0.4567, "45.6%"], [0.0001, "< 0.1%"], [0, "0%"]];
for (const [share, text] of SHARES) {
  test(`a share of ${share} reads ${text}: only all of it is 100%`, () => assert.equal(formatShare(share), text));
}

test("numbers keep three digits and a missing one is a dash", () => {
  assert.equal(formatNumber(0.041234), "0.0412");
  assert.equal(formatNumber(21.34), "21.3");
  assert.equal(formatNumber(null), "–");
  assert.equal(formatNumber(Infinity), "–");
  assert.equal(formatCount(12345), "12,345");
  assert.equal(formatBytes(88_000_000), "83.9 MiB");
});

test("characters that turn or hide text are named instead of obeyed", () => {
  assert.equal(plainText("a\u202egpj.exe"), "a[U+202E]gpj.exe");
  assert.equal(plainText("zero\u200bwidth\u0007\u2066"), "zero[U+200B]width[U+0007][U+2066]");
  assert.equal(plainText("two\r\nlines"), "two lines");
  assert.equal(plainText(null), "");
});

test("long text is cut, never inside a surrogate pair", () => {
  assert.equal(plainText("x".repeat(1_000_000)).length, 401);
  assert.equal(plainText("ab😀", 3), "ab…");
});

test("kinds have short forms", () => {
  assert.deepEqual(["double_blocks", "single_blocks", "transformer_blocks", "layers", "input_blocks"].map(shortKind), ["double", "single", "blocks", "layers", "input"]);
});
