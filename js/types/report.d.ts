/** Mirror of `to_json` in nodes/core/report/report.py, version 1. A test compares the two. */

export type LayerState =
  | "applied"
  | "skipped"
  | "no_such_layer"
  | "shape_mismatch"
  | "wrong_architecture"
  | "not_understood"
  | "dead"
  | "in_file";

export type Level = "ok" | "warning" | "error";

export interface BlockGroup {
  kind: string;
  first: number;
  count: number;
}

export interface ModelSummary {
  architecture: string;
  model_class: string;
  blocks: BlockGroup[];
  weight_count: number;
  parameter_count: number;
  dtype: string;
  hidden_size: number | null;
  evidence: string[];
  layers: Record<string, string[]>;
}

export interface LoraSummary {
  name: string;
  size_bytes: number;
  architecture: string;
  key_style: string;
  writer: string;
  formats: Record<string, number>;
  ranks: number[];
  base_model: string;
  trigger_words: string[];
  metadata: Record<string, string>;
}

export interface LayerReport {
  state: LayerState;
  reason: string;
  lora_key: string;
  model_key: string;
  block: string;
  layer: string;
  slice: [number, number, number] | null;
  format: string;
  rank: number | null;
  alpha: number | null;
  scale: number | null;
  scale_source: string;
  strength: number | null;
  block_strength: number | null;
  delta_norm: number | null;
  weight_norm: number | null;
  spectral_norm: number | null;
  needs?: number[];
  above_noise?: number | null;
  shape: number[] | null;
  not_measured: string;
  stored: string;
  owner: string;
  method: "" | "merge" | "bypass";
  delta_kept: number | null;
  delta_noise: number | null;
  stock: LayerState | null;
  stock_reason: string;
  norm_ratio: number | null;
}

export interface ModelBlock {
  block: string;
  weights: number;
  parameters: number;
  dtypes: Record<string, number>;
  patched: number;
  distance: number | null;
  direction_shift: number | null;
  cosine: number | null;
  not_compared: string;
}

export interface Doubt {
  id: string;
  sentence: string;
}

/** These mirror nodes/core/report/workbench.py. */
export interface BlockStrength {
  block: string;
  strength: number | null;
  rest: number | null;
}

export interface FoundLora {
  name: string;
  verdict: "verified" | "partly" | "not" | "cannot tell";
  reason: string;
  strength: number | null;
  error: number | null;
  layers: number;
  exact: number;
  blocks: BlockStrength[];
}

export interface ComparedBlock {
  block: string;
  cosine: number | null;
  share_a: number;
  share_b: number;
}

export interface ComparedFile {
  name: string;
  same: boolean;
  factor: number | null;
  residual: number | null;
  cosine: number | null;
  blocks: ComparedBlock[];
  only_first: string[];
  only_second: string[];
  not_compared: string;
}

export interface RankCurve {
  block: string;
  ranks: number[];
  kept: number[];
  needed: number[];
  stored: number;
  above_noise: number;
  dead: number;
  over_ranked: number;
  layers: number;
}

/** What `POST /patchbay/resize` answers. */
export interface Resized {
  file: string;
  size_bytes: number;
  before_bytes: number;
  ranks: number[];
  error: number;
}

export interface Report {
  schema: "patchbay.report";
  version: number;
  kind: "apply" | "schedule" | "save" | "patches" | "inspect" | "check" | "model" | "strengths" | string;
  title: string;
  summary: string;
  level: Level;
  model: ModelSummary | null;
  lora: LoraSummary | null;
  strength_model: number | null;
  strength_clip: number | null;
  blocks: string;
  layers: LayerReport[];
  notes: string[];
  verdict: string;
  advice: string;
  doubts: Doubt[];
  model_blocks: ModelBlock[];
  found?: FoundLora[];
  compared?: ComparedFile | null;
  ranks?: RankCurve[];
  /** What `/patchbay/sizes` is asked with for the sizes that were left out; empty where none were. */
  sizes: string;
  counts: Partial<Record<LayerState, number>>;
  coverage: number | null;
  /** Only in what a node sends to the page. */
  inputs?: RunInputs;
}

/** Mirror of `RunInputs` in nodes/core/report/inputs.py. */
export interface RunInputs {
  run: string;
  node: string;
  nodes: Record<string, { class_type: string; inputs: Record<string, unknown> }>;
  files: Record<string, string>;
  fingerprint: string;
  /** Of what leads to the node's input `model`: by it the server knows the model that came. */
  model: string;
}
