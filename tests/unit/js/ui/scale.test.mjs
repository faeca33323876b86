import assert from "node:assert/strict";
import test from "node:test";
import { RATIO_STOPS, ratioColour, scaleGradient, scalePosition } from "../../../../js/lib/ui/scale.mjs";

/** @type {[number, number][]} */
const POSITIONS = [[0, 0], [0.0005, 0], [0.001, 0], [0.01, 1 / 3], [0.1, 2 / 3], [1, 1], [50, 1], [Number.NaN, 0]];
for (const [ratio, position] of POSITIONS) {
  test(`${ratio} lies at ${position.toFixed(2)} of the scale`, () => assert.ok(Math.abs(scalePosition(ratio) - position) < 1e-9));
}

test("the stops have their own colours and what lies between is mixed", () => {
  assert.equal(ratioColour(0), "#392d7d");
  assert.equal(ratioColour(0.01), "#2579ab");
  assert.equal(ratioColour(1), "#fcec5e");
  assert.equal(ratioColour(0.001 * 10 ** 0.25), "#36408f");
});

test("the legend is drawn with the same stops", () => {
  assert.match(scaleGradient(), /^linear-gradient\(90deg, #392d7d 0%, #3353a0 17%, .*#fcec5e 100%\)$/);
});

// Linear RGB as seen without one kind of cone (Machado, Oliveira, Fernandes 2009, severity 1).
const SIGHTS = {
  normal: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

for (const [sight, matrix] of Object.entries(SIGHTS)) {
  test(`every step is clearly lighter than the one before with ${sight} sight`, () => {
    const lightness = RATIO_STOPS.map(([, colour]) => lightnessOf(see(linear(colour), matrix)));
    for (let i = 1; i < lightness.length; i += 1) {
      assert.ok(lightness[i] - lightness[i - 1] > 5, `${RATIO_STOPS[i]}: L* ${lightness[i - 1].toFixed(1)} to ${lightness[i].toFixed(1)}`);
    }
  });
}

/** @param {string} colour */
function linear(colour) {
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
}

/** @param {number[]} rgb @param {number[][]} matrix */
const see = (rgb, matrix) => matrix.map((row) => row.reduce((sum, weight, i) => sum + weight * rgb[i], 0));

/** CIE L*. @param {number[]} rgb */
function lightnessOf([r, g, b]) {
  const y = Math.max(0, 0.2126 * r + 0.7152 * g + 0.0722 * b);
  return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y;
}
