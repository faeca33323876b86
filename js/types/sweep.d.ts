// What Block Sweep sends, mirrored by hand from nodes/core/sweep/table.py; a test compares the two.

import type { Interval, Words } from "./shift";

export interface PictureFigures {
  mae: number;
  psnr: number | null;
  ssim: number;
}

export interface UnitRow {
  name: string;
  selectors: string[];
  layers: number;
  /** Share of the LoRA's whole effect; `null` where the unit was not run alone. */
  effect: Interval | null;
  toward: Interval | null;
  figures: PictureFigures | null;
  /** Shares and relative shifts; `null` where not measured. */
  energy: number | null;
  shift: number | null;
  kept: boolean;
  dead: boolean;
  given_others: number;
}

export interface Costs {
  settings: number;
  every_set: number;
  evaluations: number;
  resumed: number;
  seconds: number;
}

export interface Bundle {
  units: number[];
  effect: Interval;
}

export interface PairFound {
  units: string[];
  together: number;
  added: number;
  singly: number[];
}

export interface SweepTable {
  mode: string;
  grouping: string;
  rows: UnitRow[];
  distance: number;
  blocks: string;
  missed: Interval;
  kept_figures: PictureFigures | null;
  whole_figures: PictureFigures | null;
  floor: number;
  prompts: number;
  seeds: number;
  pictures: boolean;
  costs: Costs;
  bundles: Bundle[];
  interactions: PairFound[];
  stopped: boolean;
  notes: string[];
}

export interface SweepData extends SweepTable, Words {
  schema: "patchbay.sweep";
}
