import assert from "node:assert/strict";
import test from "node:test";
import { reportWords } from "../../../../js/lib/words/report_words.mjs";

const words = (text) => reportWords(text, "ja");

test("a sentence of Python is said in the language of the page, with its values", () => {
  assert.equal(words("duo.safetensors fits FLUX.2 Klein 4B: all 24 layers land."), "duo.safetensors は FLUX.2 Klein 4B に適合します：24 層すべてに行き先があります。");
  assert.equal(words("10 of 24 layers applied, 12 left out by strength 0; 2 do not fit its shapes."), "24 層中 10 層を適用。強度0で省略 12 層；形状不一致 2 層。");
  assert.equal(words("a.safetensors fits B in part: 3 of its 5 layers, 97.1% of its squared norm, land."), "a.safetensors は B に一部だけ適合します：行き先があるのは 5 層中 3 層（強さの 97.1%）です。");
});

test("sentences in a row and remarks in a row are found one by one", () => {
  assert.equal(words("24 of 48 weights are patched, by a.safetensors. 2 patches do not fit their weight: ComfyUI will leave those weights as they are."), "48 個の重みのうち 24 個がパッチされています（適用元：a.safetensors）。2 個のパッチは重みと形状が合いません。ComfyUIはその重みを変更しません。");
  assert.equal(words("its strength is 0; something new"), "強度が0です; something new");
});

test("what was measured of a preset is said in Japanese, with how it was measured", () => {
  assert.equal(
    words("On m with the LoRA l, 55% of the change (squared norm) and 96% of its effect on the picture are left (8 prompts, 4 steps, CFG 1, median)."),
    "m でLoRA l を使うと、変化（ノルムの二乗）の 55% と画像への効果の 96% が残ります（プロンプト 8 個、4 ステップ、CFG 1 の中央値）。",
  );
});

test("what the table does not have, other languages and nothing stay as they are", () => {
  for (const text of ["Something new. And more.", "a; b", "", "<img onerror> fits"]) assert.equal(words(text), text);
  assert.equal(reportWords("Use it as it is.", "en"), "Use it as it is.");
  for (const locale of ["constructor", "__proto__", "de"]) assert.equal(reportWords("Use it as it is.", locale), "Use it as it is.");
  assert.equal(words(null), "");
});

test("a value that looks like a place is not filled in again", () => {
  assert.equal(words("{model} $& fits {name}: all 3 layers land."), "{model} $& は {name} に適合します：3 層すべてに行き先があります。");
});
