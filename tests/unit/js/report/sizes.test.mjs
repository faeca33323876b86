import assert from "node:assert/strict";
import test from "node:test";
import { askSizes, knownSizes } from "../../../../js/lib/report/sizes.mjs";
import { layer, report } from "../support.mjs";

const waiting = (/** @type {string} */ sizes) => report([layer({ delta_norm: null, not_measured: "later" })], { sizes, inputs: { run: "1" } });
const answer = () => ({ report: report([layer({ delta_norm: 3 })]), text: "all" });

test("the sizes are asked for once, and come with the inputs of the run", async () => {
  const routes = [];
  const ask = async (/** @type {string} */ route) => (routes.push(route), answer());
  assert.equal(knownSizes(waiting("a,b")), undefined);
  const [first, second] = await Promise.all([askSizes(waiting("a,b"), ask), askSizes(waiting("a,b"), ask)]);
  assert.deepEqual(routes, ["/patchbay/sizes?of=a%2Cb"]);
  assert.equal(first, second);
  assert.equal(first?.report.layers[0]?.delta_norm, 3);
  assert.deepEqual(first?.report.inputs, { run: "1" });
  assert.equal(knownSizes(waiting("a,b")), first);
});

test("a server that no longer has the file is not asked again", async () => {
  let asked = 0;
  const ask = async () => {
    asked += 1;
    throw new Error("gone");
  };
  assert.equal(await askSizes(waiting("c"), ask), null);
  assert.equal(await askSizes(waiting("c"), ask), null);
  assert.equal(asked, 1);
  assert.equal(knownSizes(waiting("c")), null);
});

test("what was not left out is not asked for", () => {
  assert.equal(knownSizes(report([layer({})], { sizes: "" })), null);
});
