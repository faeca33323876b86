// What the tests share: a DOM that is not a browser, reports made by hand, and snapshots that a person can read.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { parseHTML } from "linkedom";

/** A fresh page in the place of the browser's. */
export function freshPage() {
  const { document, Node, Element } = parseHTML("<!doctype html><html><head></head><body></body></html>");
  Object.assign(globalThis, { document, Node, Element });
  return document;
}

/** @param {Partial<import("../../../js/types/report").LayerReport>} [changes] */
export function layer(changes = {}) {
  const made = {
    state: "applied", reason: "", lora_key: "", model_key: "", block: "", layer: "", slice: null, format: "lora", rank: 16,
    alpha: 16, scale: 1, scale_source: "alpha / rank", strength: 1, block_strength: 1, delta_norm: 1, weight_norm: 100,
    not_measured: "", owner: "", ...changes,
  };
  const ratio = made.delta_norm === null || !made.weight_norm ? null : (Math.abs(made.strength) * made.delta_norm) / made.weight_norm;
  return { ...made, model_key: made.model_key || `diffusion_model.${made.block}.${made.layer}.weight`, norm_ratio: ratio };
}

/** @param {ReturnType<typeof layer>[]} layers @param {object} [changes] */
export function report(layers, changes = {}) {
  const counts = {};
  for (const { state } of layers) counts[state] = (counts[state] ?? 0) + 1;
  return {
    schema: "patchbay.report", version: 1, kind: "apply", title: "ink on Klein", summary: "2 layers were applied.", level: "ok",
    model: {
      architecture: "FLUX.2 Klein 4B", model_class: "Flux2", weight_count: 4, parameter_count: 4, dtype: "bfloat16", hidden_size: 8, evidence: [],
      blocks: [{ kind: "double_blocks", first: 0, count: 2 }, { kind: "single_blocks", first: 0, count: 3 }],
    },
    lora: {
      name: "ink.safetensors", size_bytes: 10, architecture: "FLUX.2 Klein 4B", key_style: "kohya", writer: "", formats: { lora: 2 }, ranks: [16],
      base_model: "", trigger_words: [], metadata: {},
    },
    strength_model: 1, strength_clip: null, blocks: "", layers, notes: [], counts, coverage: 1, ...changes,
  };
}

/**
 * ComfyUI's graph as plain objects.
 * @param {any[]} nodes
 * @param {[number, number, number, number, number?][]} links id, from, output, to, input
 */
export function graph(nodes, links) {
  const map = new Map(links.map(([id, origin_id, origin_slot, target_id, target_slot = 0]) => [id, { id, origin_id, origin_slot, target_id, target_slot }]));
  const made = { nodes, links: map, getNodeById: (id) => nodes.find((node) => String(node.id) === String(id)), getLink: (id) => map.get(id) };
  for (const node of nodes) node.graph = made;
  return made;
}

/**
 * Compares with the file of that name; `UPDATE_SNAPSHOTS=1` writes it.
 * @param {string} name
 * @param {string} actual
 */
export function matchesSnapshot(name, actual) {
  const folder = new URL("./snapshots/", import.meta.url);
  const file = new URL(name, folder);
  if (process.env.UPDATE_SNAPSHOTS || !existsSync(file)) {
    assert.ok(process.env.UPDATE_SNAPSHOTS, `no snapshot ${name}: run with UPDATE_SNAPSHOTS=1 and read what it writes`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, actual);
  }
  assert.equal(actual, readFileSync(file, "utf8").replaceAll("\r\n", "\n"));
}

/**
 * Markup with one element or text a line.
 * @param {import("linkedom").Node} node
 * @returns {string}
 */
export function readable(node, indent = "") {
  if (node.nodeType === 3) return `${indent}${node.textContent.trim()}\n`;
  const attributes = [...node.attributes].map(({ name, value }) => ` ${name}="${value.replaceAll("\n", "\\n").replaceAll('"', "&quot;")}"`).join("");
  const tag = node.localName;
  const children = [...node.childNodes].filter((child) => child.nodeType !== 3 || child.textContent.trim());
  if (children.length === 0) return `${indent}<${tag}${attributes}></${tag}>\n`;
  if (children.length === 1 && children[0].nodeType === 3) return `${indent}<${tag}${attributes}>${children[0].textContent}</${tag}>\n`;
  return `${indent}<${tag}${attributes}>\n${children.map((child) => readable(child, `${indent}  `)).join("")}${indent}</${tag}>\n`;
}

/**
 * Elements, their order, their classes and what attributes they have, without a word of text.
 * @param {import("linkedom").Node} node
 * @returns {string}
 */
function shape(node) {
  const attributes = [...node.attributes].map(({ name, value }) => (name === "class" ? `class=${value}` : name)).sort();
  return `${node.localName}[${attributes}](${[...node.children].map(shape).join()})`;
}

/**
 * The same thing in both languages: built alike, and said in another language.
 * @param {(locale: string) => import("linkedom").Element} make
 */
export function saysItInBothLanguages(make) {
  const [english, japanese] = ["en", "ja"].map(make);
  assert.equal(shape(japanese), shape(english));
  assert.match(japanese.textContent, /[\u3040-\u30ff]/);
  assert.doesNotMatch(english.textContent, /[\u3040-\u30ff]/);
}
