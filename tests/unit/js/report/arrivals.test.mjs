import assert from "node:assert/strict";
import test from "node:test";
import { arrivalsView } from "../../../../js/lib/report/arrivals.mjs";
import { languageFor } from "../../../../js/lib/words/i18n.mjs";
import { freshPage } from "../support.mjs";

const arrivals = (label, max) => [1, 2].map((value) => ({ picture: { filename: `${value}.png`, subfolder: "", type: "temp" }, label, value, max }));

function show(label, max = 0, locale = "en") {
  freshPage();
  return arrivalsView(arrivals(label, max), languageFor(locale), ({ filename }) => `/view?filename=${filename}`);
}

test("pictures of a run that goes on", () => {
  const view = show("<b>x</b>", 9);
  assert.deepEqual([...view.querySelectorAll("img")].map((image) => image.getAttribute("src")), ["/view?filename=1.png", "/view?filename=2.png"]);
  assert.equal(view.querySelectorAll("b").length, 0);
  assert.match(view.textContent, /2 of 9 pictures/);
});

test("where nobody knows how many there will be, it says how many there are", () => assert.match(show("x").textContent, /2 pictures so far/));

test("what was left out is said in the page's language", () => {
  const said = ["the whole LoRA", "without the LoRA", "only a.0, a.1, a.2 and 4 more", "without b.1"].map((label) => show(label, 0, "ja").querySelector("figcaption").textContent);
  assert.deepEqual(said, ["LoRA全体", "LoRAなし", "a.0, a.1, a.2 とほか 4 個だけ", "b.1 なし"]);
});
