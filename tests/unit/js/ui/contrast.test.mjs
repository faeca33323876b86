// Contrast of what the style sheets write, by WCAG 2.2: 4.5 for text, 3 for signs and outlines. Measured from the style
// sheets themselves, with ComfyUI's dark and light palettes and the palette of older versions.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { PALETTES } from "../../../../js/lib/map/svg.mjs";

const PAGES = {
  dark: { "--comfy-menu-bg": "#171718", "--comfy-input-bg": "#222222", "--input-text": "#dddddd" },
  "dark, older": { "--comfy-menu-bg": "#353535", "--comfy-input-bg": "#222222", "--input-text": "#dddddd" },
  light: { "--comfy-menu-bg": "#ffffff", "--comfy-input-bg": "#c9c9c9", "--input-text": "#222222" },
  "light, older": { "--comfy-menu-bg": "#f5f5f5", "--comfy-input-bg": "#c9c9c9", "--input-text": "#222222" },
};

const css = (name) => readFileSync(new URL(`../../../../js/css/${name}.css`, import.meta.url), "utf8");

/** Declarations of the first rule with this selector. */
function rule(sheet, selector) {
  const at = sheet.indexOf(`${selector} {`);
  assert.ok(at >= 0, selector);
  const body = sheet.slice(sheet.indexOf("{", at) + 1, sheet.indexOf("}", at));
  return Object.fromEntries([...body.matchAll(/([\w-]+):\s*([^;]+);/g)].map(([, name, value]) => [name, value.trim()]));
}

/** The arguments of a function, not those of a function inside. */
function split(text) {
  const parts = [""];
  let depth = 0;
  for (const character of text) {
    if (character === "," && depth === 0) parts.push("");
    else parts[parts.length - 1] += character;
    depth += { "(": 1, ")": -1 }[character] ?? 0;
  }
  return parts.map((part) => part.trim());
}

/** Red, green, blue of a colour in the page: `#rgb`, `var(…)` and `color-mix(in srgb, a p%, b)` of opaque colours. */
function colour(text, variables) {
  if (text.startsWith("#")) {
    const digits = text.length === 4 ? [...text.slice(1)].map((digit) => digit + digit) : text.slice(1).match(/../g);
    return digits.map((digit) => Number.parseInt(digit, 16));
  }
  const inside = text.slice(text.indexOf("(") + 1, -1);
  if (text.startsWith("var(")) {
    const [name, fallback] = split(inside);
    return colour(variables[name] ?? fallback, variables);
  }
  assert.ok(text.startsWith("color-mix(in srgb"), text);
  const [, first, second] = split(inside);
  const [, base, percent] = /^(.*) (\d+)%$/.exec(first);
  const [a, b] = [colour(base, variables), colour(second, variables)];
  return a.map((value, i) => (value * percent + b[i] * (100 - percent)) / 100);
}

function luminance(rgb) {
  const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

test("the ratio is that of WCAG", () => {
  assert.equal(contrast([0, 0, 0], [255, 255, 255]), 21);
  assert.ok(Math.abs(contrast([118, 118, 118], [255, 255, 255]) - 4.54) < 0.01);
});

const SIDES = { "side bar": [css("map"), ".patchbay-side,\n.patchbay-dialog"], "cards on nodes": [css("panel"), ".patchbay-panel"] };

for (const [page, palette] of Object.entries(PAGES)) {
  for (const [side, [sheet, selector]] of Object.entries(SIDES)) {
    test(`${side}, ${page}: text reaches 4.5, outlines 3`, () => {
      const variables = { ...rule(sheet, selector), ...palette };
      for (const [name, value] of sheet.slice(sheet.indexOf(selector)).matchAll(/(--patchbay-[\w]+):\s*([^;]+);/g)) variables[name] ??= value;
      const of = (name) => colour(`var(--patchbay-${name})`, variables);
      const tinted = colour("color-mix(in srgb, var(--patchbay-focus) 30%, var(--patchbay-sunk))", variables);
      const found = {};
      for (const ground of ["ground", "sunk"]) {
        for (const ink of ["ink", "soft", "alarm"]) found[`${ink} on ${ground}`] = [contrast(of(ink), of(ground)), 4.5];
        found[`focus ring on ${ground}`] = [contrast(of("focus"), of(ground)), 3];
      }
      found["ink on what is chosen"] = [contrast(of("ink"), tinted), 4.5];
      const low = Object.entries(found).filter(([, [ratio, least]]) => ratio < least);
      assert.deepEqual(low.map(([name, [ratio, least]]) => `${name}: ${ratio.toFixed(2)} < ${least}`), []);
    });
  }
}

/** What the strength editor puts on what, as its rules say; `transparent` lies on the ground. */
const EDITOR_PAIRS = {
  "number typed": ["var(--patchbay-ink)", "var(--patchbay-sunk)", 4.5],
  "range in an empty number field": ["var(--patchbay-soft)", "var(--patchbay-sunk)", 4.5],
  "kind that is chosen": ["var(--patchbay-ink)", "color-mix(in srgb, var(--patchbay-bar-colour) 16%, var(--patchbay-ground))", 4.5],
  "marks, foot": ["var(--patchbay-soft)", "var(--patchbay-ground)", 4.5],
  "problem": ["var(--patchbay-alarm)", "var(--patchbay-ground)", 4.5],
  "bar at 1": ["var(--patchbay-plain-colour)", "var(--patchbay-track-colour)", 3],
  "changed bar": ["var(--patchbay-bar-colour)", "var(--patchbay-track-colour)", 3],
  "negative bar": ["var(--patchbay-minus-colour)", "var(--patchbay-track-colour)", 3],
  // It stands beside the bar, never behind it: the bar leaves 22 % of at least 14 pixels.
  "energy beside the bar": ["var(--patchbay-energy-colour)", "var(--patchbay-track-colour)", 3],
};
const MENU_PAIRS = {
  "hint in the menu": ["var(--patchbay-soft)", "var(--patchbay-ground)", 4.5],
  "hint of the entry that is pointed at": ["var(--patchbay-soft)", "color-mix(in srgb, var(--patchbay-ink) 11%, var(--patchbay-ground))", 4.5],
};

for (const [page, palette] of Object.entries(PAGES)) {
  test(`strength editor and its menu, ${page}`, () => {
    const sheet = css("strength_editor");
    const editor = { ...rule(css("panel"), ".patchbay-panel"), ...rule(sheet, ".patchbay-editor"), ...palette };
    const menu = { ...rule(css("menu"), ".patchbay-menu"), ...palette };
    const low = [[EDITOR_PAIRS, editor], [MENU_PAIRS, menu]].flatMap(([pairs, variables]) =>
      Object.entries(pairs).map(([name, [ink, ground, least]]) => [name, contrast(colour(ink, variables), colour(ground, variables)), least]));
    assert.deepEqual(low.filter(([, ratio, least]) => ratio < least).map(([name, ratio, least]) => `${name}: ${ratio.toFixed(2)} < ${least}`), []);
  });
}

/** What the pictures of a feature shift and of fitted strengths put on what. */
const SHIFT_PAIRS = {
  "legend, labels": ["var(--patchbay-soft)", "var(--patchbay-ground)", 4.5],
  "a zone that is not the verdict's": ["var(--patchbay-ink)", "var(--patchbay-band)", 4.5],
  image: ["var(--patchbay-img)", "var(--patchbay-ground)", 3],
  text: ["var(--patchbay-txt)", "var(--patchbay-ground)", 3],
  "whole block": ["var(--patchbay-all)", "var(--patchbay-ground)", 3],
  better: ["var(--patchbay-good)", "var(--patchbay-ground)", 4.5],
  "better, used": ["var(--patchbay-good)", "color-mix(in srgb, var(--patchbay-good) 10%, var(--patchbay-ground))", 4.5],
  worse: ["var(--patchbay-alarm)", "var(--patchbay-ground)", 4.5],
  "interval, used": ["var(--patchbay-soft)", "color-mix(in srgb, var(--patchbay-good) 10%, var(--patchbay-ground))", 4.5],
  "interval on the error": ["var(--patchbay-ink)", "color-mix(in srgb, var(--patchbay-ink) 40%, var(--patchbay-ground))", 3],
};

for (const [page, palette] of Object.entries(PAGES)) {
  test(`feature shift and fitted strengths, ${page}`, () => {
    const sheet = css("shift");
    const variables = { ...rule(css("panel"), ".patchbay-panel"), ...rule(sheet, ".patchbay-shift"), ...palette };
    const low = Object.entries(SHIFT_PAIRS).map(([name, [ink, ground, least]]) => [name, contrast(colour(ink, variables), colour(ground, variables)), least]).filter(([, ratio, least]) => ratio < least);
    assert.deepEqual(low.map(([name, ratio, least]) => `${name}: ${ratio.toFixed(2)} < ${least}`), []);
    for (const [of, selector] of [[css("shift_measured"), ".patchbay-shift-zone.patchbay-is-here"], [css("shift_measured"), ".patchbay-shift-zone-0.patchbay-is-here"], [css("fit"), ".patchbay-fit-tag"]]) {
      const { background } = rule(of, selector);
      assert.ok(contrast([255, 255, 255], colour(background, {})) >= 4.5, selector);
    }
  });
}

test("badges of levels", () => {
  const sheet = css("report_card");
  const ink = rule(sheet, ".patchbay-level").color;
  for (const level of ["ok", "warning", "error"]) {
    const own = rule(sheet, `.patchbay-level-${level}`);
    assert.ok(contrast(colour(own.color ?? ink, {}), colour(own.background, {})) >= 4.5, level);
  }
});

test("the map as a picture", () => {
  for (const [name, { ground, ink, soft, alarm }] of Object.entries(PALETTES)) {
    for (const text of [ink, soft, alarm]) assert.ok(contrast(colour(text, {}), colour(ground, {})) >= 4.5, `${text} on ${name}`);
  }
});
