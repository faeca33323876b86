/** Mirror of `shift_data` and `fit_data` in nodes/feature_shift.py and nodes/fit_strengths.py, version 1. A test compares them. */

import type { Level } from "./report";

/** One stream of one block, or the model's output. */
export interface ShiftRow {
  block: string;
  /** `img`, `txt`, `all`, or empty for the output. */
  stream: string;
  shift: number | null;
  cosine: number | null;
  frechet: number | null;
  floor: number | null;
  seeds: number | null;
  reference_shift: number | null;
  ratio: number | null;
  change_cosine: number | null;
  change_error: number | null;
  seed_cosine: number | null;
  channels: [number, number][];
  low: number | null;
  high: number | null;
  histogram_a: number[];
  histogram_b: number[];
}

/** The guidance that the reference was compared at, and what was measured. */
export interface Guidance {
  cfg: number;
  low: number | null;
  high: number | null;
  /** By noise level. */
  levels: number[];
  distance: number | null;
  distance_unguided: number | null;
  scenes: number;
  /** What the user set instead; `null` where it was measured. */
  given: number | null;
}

export interface ShiftTable {
  rows: ShiftRow[];
  prompts: number;
  seeds: number;
  sigmas: number[];
  evaluations: number;
  seconds: number;
  from_cache: number;
  transfer: boolean;
  /** Absent in old results. */
  guidance?: Guidance | null;
}

/** What both nodes say in words. */
export interface Words {
  version: number;
  level: Level;
  title: string;
  summary: string;
  verdict: string;
  advice: string;
  notes: string[];
}

export interface ShiftData extends ShiftTable, Words {
  schema: "patchbay.shift";
  /** Cosines of the change from which on it transfers, transfers largely, transfers in part. Absent in old results. */
  bounds?: [number, number, number];
}

/** A mean with its 95 % interval; ends are `null` where a single value has none. */
export interface Interval {
  mean: number | null;
  low: number | null;
  high: number | null;
  count: number;
}

/** One way to set the strengths. */
export interface Candidate {
  name: string;
  strengths: Record<string, number>;
  errors: number[];
  error: Interval;
  gain: Interval;
  training_error: number | null;
}

export interface FitTable {
  candidates: Candidate[];
  chosen: string;
  groups: string[];
  ridge: number;
  floor: number | null;
  training_prompts: number;
  held_out_prompts: number;
  seeds: number;
  sigmas: number[];
  evaluations: number;
  seconds: number;
  guard: boolean;
  guarded: Record<string, number>;
  saved_as: string;
  /** Absent in old results. */
  guidance?: Guidance | null;
  /** What the user set; 0 has the guidance measured. */
  reference_cfg?: number;
}

export interface FitData extends FitTable, Words {
  schema: "patchbay.fit";
  blocks: string;
  /** A gain of less is not worth another strength. Absent in old results. */
  worthwhile?: number;
}
