/** Mirror of `measurement_json` in nodes/core/measure/runs.py, version 1. A test compares the two. */

import type { Level } from "./report";

export interface Figure {
  value: number | null;
  reason: string;
}

export interface MemoryFigures {
  weights_total: Figure;
  weights_resident: Figure;
  torch_allocated_peak: Figure;
  torch_reserved_peak: Figure;
  cast_buffers: Figure;
  process_low: Figure;
  process_high: Figure;
  device_used_peak: Figure;
  pinned_ram: Figure;
  ram_low: Figure;
  ram_high: Figure;
}

export interface LoraMath {
  prepare_calls: number;
  first_calls: number;
  later_calls: number;
  prepare_ms: number;
  first_ms: number;
  later_ms: number;
  untimed: number;
}

export interface BlockFigure {
  block: string;
  ms: Figure;
  peak_bytes: Figure;
}

export interface RunFacts {
  mode: string;
  sampler: string;
  cfg: number | null;
  shape: number[];
  patches: number;
  bypass_layers: number;
  quantised_layers: number;
  slowed_quantised_layers: number;
  compiled: boolean;
  preview: string;
}

export interface RunRecord {
  condition: string;
  number: number;
  outcome: "success" | "error" | "interrupted" | string;
  after_switch: boolean;
  clock: string;
  prepare_s: number;
  total_s: number;
  evaluations_ms: number[];
  gaps_ms: number[];
  steps: number;
  forwards: number;
  predictions: number;
  streamed_bytes: number[];
  lora: LoraMath;
  memory: MemoryFigures;
  facts: RunFacts;
  blocks: BlockFigure[];
  notes: string[];
}

export interface Spread {
  median: number;
  q1: number;
  q3: number;
  n: number;
}

export interface Ratio {
  value: number | null;
  low: number | null;
  high: number | null;
  n: number;
  reason: string;
}

export interface Segment {
  name: "weights" | "activations" | "cast_buffers" | "rest" | string;
  size_bytes: number;
}

export interface ConditionSummary {
  label: string;
  runs: number;
  steps: number;
  evaluations: number;
  predictions: number;
  steady_ms: Spread | null;
  first_ms: Figure;
  first_warm_ms: Figure;
  extra_ms: Figure;
  prepare_s: Figure;
  switch_s: Figure;
  total_s: Figure;
  iterations_per_s: Figure;
  gap_ms: Figure;
  streamed_bytes: Figure;
  lora: LoraMath;
  memory: MemoryFigures;
  facts: RunFacts;
  clock: string;
  segments: Segment[];
  blocks: BlockFigure[];
}

export interface OutputDifference {
  verdict: "identical" | "noise" | "different" | "unknown" | string;
  text: string;
  mae: number | null;
  floor: number | null;
  relative: number | null;
  psnr: number | null;
  ssim: number | null;
}

export interface Comparison {
  a: string;
  b: string;
  steady: Ratio;
  total: Ratio;
  memory: Record<string, Ratio>;
  speed: string;
  speed_verdict: string;
  speed_floor: number | null;
  latents: OutputDifference | null;
  images: OutputDifference | null;
}

export interface Sentence {
  id: string;
  condition: string;
  text: string;
  values: Record<string, string>;
}

export interface Measurement {
  schema: "patchbay.measurement";
  version: number;
  kind: "measure" | "benchmark" | string;
  title: string;
  summary: string;
  level: Level;
  conditions: ConditionSummary[];
  comparisons: Comparison[];
  sentences: Sentence[];
  runs: RunRecord[];
  notes: string[];
  context: Record<string, unknown>;
}
