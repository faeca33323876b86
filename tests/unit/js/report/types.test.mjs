import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const read = (path) => readFileSync(new URL(`../../../../${path}`, import.meta.url), "utf8").replaceAll("\r\n", "\n");
const python = read("nodes/core/report/report.py") + read("nodes/core/report/workbench.py");
const types = read("js/types/report.d.ts");

/** What `to_json` adds to the fields. */
const ADDED = { Report: ["schema", "version", "counts", "coverage", "inputs"], LayerReport: ["norm_ratio"] };

/** Fields of a Python dataclass. @param {string} name */
function pythonFields(name) {
  const body = new RegExp(`^class ${name}\\b.*?:\\n((?:    .*\\n|\\n)*)`, "m").exec(python)?.[1] ?? "";
  return [...body.matchAll(/^ {4}(\w+): /gm)].map((match) => match[1]);
}

/** Members of a TypeScript interface. @param {string} name */
function typeFields(name) {
  const body = new RegExp(`^export interface ${name} \\{\\n(.*?)^\\}`, "ms").exec(types)?.[1] ?? "";
  return [...body.matchAll(/^ {2}(\w+)\??: /gm)].map((match) => match[1]);
}

for (const name of ["BlockGroup", "ModelSummary", "LoraSummary", "LayerReport", "Report", "BlockStrength", "FoundLora", "ComparedBlock", "ComparedFile", "RankCurve"]) {
  test(`${name} has the same fields in Python and in the page`, () => {
    assert.ok(pythonFields(name).length > 2);
    assert.deepEqual(typeFields(name).sort(), [...pythonFields(name), ...(ADDED[name] ?? [])].sort());
  });
}

test("the states are the same in Python and in the page", () => {
  const states = [...(/^class LayerState.*?\n\n\n/ms.exec(python)?.[0] ?? "").matchAll(/^ {4}[A-Z_]+ = "(\w+)"/gm)].map((match) => match[1]);
  const union = [...(/LayerState =(.*?);/s.exec(types)?.[1] ?? "").matchAll(/"(\w+)"/g)].map((match) => match[1]);
  assert.deepEqual(union, states);
});

test("the page knows the version that Python writes", async () => {
  const { KNOWN_VERSION } = await import("../../../../js/lib/report/card.mjs");
  assert.equal(Number(/^REPORT_VERSION = (\d+)/m.exec(python)?.[1]), KNOWN_VERSION);
});
