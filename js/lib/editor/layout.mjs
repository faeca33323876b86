// Which blocks the strength editor shows: those of the connected model as soon as they are known, of the file before.

import { alike } from "../ui/alike.mjs";
import { energyOfFile, energyOfReport, toBoard } from "./state.mjs";
import { toModel } from "./table.mjs";

/**
 * @typedef {import("../../types/strengths").StrengthLayout} StrengthLayout
 * @typedef {import("../../types/strengths").LayerShape} LayerShape
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("./state.mjs").Board} Board
 *
 * @typedef {object} Sources
 * @property {StrengthLayout | null} model from the header of the file that the model is loaded from
 * @property {StrengthLayout | null} lora from the header of the LoRA
 * @property {Report | null} report of the last run with this LoRA
 * @property {boolean} sameModel whether the model is still the one of that run
 */

/**
 * @param {Sources} sources
 * @param {(key: string) => string} t
 * @returns {{board: Board, source: "run" | "model" | "lora"} | null}
 */
export function chooseBoard({ model, lora, report, sameModel }, t) {
  const ran = report?.model && sameModel && report.model.blocks.length > 0 ? report : null;
  const own = model && model.containers.length > 0 ? model : null;
  if (own && (!ran || sameKinds(own, ran))) {
    const layout = withTextEncoder(own, lora);
    return { board: boardOf(layout, lora, ran, t), source: ran ? "run" : "model" };
  }
  if (ran) return { board: boardOf(withTextEncoder(layoutOfReport(ran), lora), lora, ran, t), source: "run" };
  return lora && { board: boardOf(lora, lora, null, t), source: "lora" };
}

/** @param {StrengthLayout} layout @param {StrengthLayout | null} lora @param {Report | null} report @param {(key: string) => string} t */
function boardOf(layout, lora, report, t) {
  const measured = report && energyOfReport(report.layers, toModel(layout));
  return toBoard(layout, measured ?? (lora && energyOfFile(lora)), t);
}

/**
 * Whether two boards show the same bars: a run seldom brings others, and those that stand there stay then. All that a board
 * holds besides follows from these three.
 * @param {Board | null} one
 * @param {Board | null} other
 */
export const sameBoard = (one, other) =>
  one !== null && other !== null && alike([one.layout, one.groups, one.energy], [other.layout, other.groups, other.energy]);

/** @param {StrengthLayout} layout @param {Report} report */
function sameKinds(layout, report) {
  const ran = report.model?.blocks.map(({ kind, count }) => `${kind} ${count}`) ?? [];
  return JSON.stringify(layout.containers.map(({ kind, blocks }) => `${kind} ${blocks.length}`).sort()) === JSON.stringify([...ran].sort());
}

/**
 * A model file knows no text encoder; the LoRA says whether it has layers for one.
 * @param {StrengthLayout} layout
 * @param {StrengthLayout | null} lora
 * @returns {StrengthLayout}
 */
function withTextEncoder(layout, lora) {
  if (layout.te || !lora?.te) return layout;
  const offset = layout.layer_sets.length;
  const other = lora.te.other.map(({ encoder, layers }) => ({ encoder, layers: layers + offset }));
  return { ...layout, te: { ...lora.te, other }, layer_sets: [...layout.layer_sets, ...lora.layer_sets] };
}

/**
 * The blocks of the model that a run met, with the layers that its report lists for each kind.
 * @param {Report} report
 * @returns {StrengthLayout}
 */
function layoutOfReport(report) {
  const layers = report.model?.layers ?? {};
  const kinds = report.model?.blocks ?? [];
  const sets = [...kinds.map(({ kind }) => kind), "other"].map((kind) => (layers[kind] ?? []).map(shapeOf));
  return {
    schema: "patchbay.blocks", version: 1, source: "model", architecture: report.model?.architecture ?? "",
    containers: kinds.map(({ kind, first, count }, set) => ({
      kind, blocks: Array.from({ length: Math.min(count, 4096) }, (_, i) => ({ index: first + i, layers: set })),
    })),
    other: (sets.at(-1)?.length ?? 0) > 0 ? sets.length - 1 : null,
    te: null,
    layer_sets: sets.map((set) => (set.length > 0 ? set : [shapeOf("")])),
    energy: null, not_measured: 0,
  };
}

/** Every piece of a layer's path is a name for it. @param {string} layer @returns {LayerShape} */
function shapeOf(layer) {
  const pieces = layer.split(".");
  const parts = pieces.flatMap((_, from) => pieces.slice(from).map((__, n) => pieces.slice(from, from + n + 1).join(".")));
  return { layer, parts, slices: [] };
}
