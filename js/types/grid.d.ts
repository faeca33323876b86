/** What `PatchbayLoraGrid` returns in `ui.patchbay_grid[0]`, version 1: nodes/core/grid/report.py as JSON, with the pages. */

import type { CompareMetrics, ImageRef } from "./compare";
import type { Level } from "./report";

export interface GridCell {
  /** Number of its value on each axis. */
  index: number[];
  label: string;
  settings: Record<string, string | number>;
  state: "made" | "kept" | "missing" | "failed" | string;
  seconds: number | null;
  /** What it is compared with; empty where it is not. */
  reference: string;
  metrics: CompareMetrics | null;
  note: string;
  made_by: string;
  picture: ImageRef | null;
}

export interface GridAxis {
  name: string;
  labels: string[];
  values: (string | number)[];
}

export interface GridPage {
  title: string;
  rows: string[];
  columns: string[];
  /** Numbers of cells, by row. */
  cells: number[][];
}

export interface GridData {
  schema: "patchbay.report";
  version: number;
  kind: "grid";
  title: string;
  summary: string;
  advice: string;
  level: Level;
  axes: GridAxis[];
  cells: GridCell[];
  pages: GridPage[];
  reference: string;
  floor: { metrics: CompareMetrics | null; note: string } | null;
  notes: string[];
  sheets: ImageRef[];
}

/** What a node that applies a LoRA is given. */
export interface GridSettings {
  lora: string;
  strength: number;
  blocks: string;
}
