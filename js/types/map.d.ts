/** The map of a model: what is drawn, before anything is drawn. */

import type { LayerReport } from "./report";

/** What of a LoRA is shown: `asked` by the file, `left` by the strengths, `applied` to the weights; `resident` is where the weights lie. */
export type MapView = "asked" | "left" | "applied" | "resident";

export type MetricId = "relative" | "delta" | "spectral" | "distance" | "direction" | "shift" | "time";

export interface Metric {
  id: MetricId;
  scale: ScaleId;
  /** Whether the figure belongs to single layers, or only to whole blocks. */
  of: "layer" | "block";
}

export type ScaleId = "ratio" | "norm" | "share" | "factor" | "milliseconds";

export type CellStatus = "untouched" | "skipped" | "dead" | "applied" | "unmeasured" | "present" | "partial" | "missed";

/** A slice of a fused weight, in 0..1 of its side. */
export interface CellPart {
  from: number;
  to: number;
  value: number | null;
}

export interface CellShare {
  /** Index into `ModelMap.owners`. */
  owner: number;
  /** Share of the cell's squared change, 0..1. */
  share: number;
}

export interface MapCell {
  /** Column key. */
  column: string;
  /** For people: `img_attn.qkv`. */
  name: string;
  status: CellStatus;
  value: number | null;
  /** More than one only where slices of the weight are changed differently. */
  parts: CellPart[];
  /** Only where several LoRAs meet in the map. */
  shares: CellShare[];
  /** Patched by somebody else's node. */
  foreign: boolean;
  layers: LayerReport[];
  /** Only in a map of differences: the two values. */
  pair?: [number | null, number | null];
}

export interface MapColumn {
  key: string;
  label: string;
  /** `img`, `txt` or empty. */
  band: string;
}

export interface MapRow {
  address: string;
  /** Row heading: the index, or a layer's name. */
  label: string;
  /** For people: `double 3`. */
  name: string;
  status: CellStatus;
  value: number | null;
  cells: MapCell[];
  /** Of a row without cells, as in a cell. */
  shares: CellShare[];
  /** Not a block of this model. */
  stranger: boolean;
  foreign: boolean;
  layers: LayerReport[];
  pair?: [number | null, number | null];
}

export interface MapGroup {
  kind: string;
  columns: MapColumn[];
  rows: MapRow[];
}

export interface MapOwner {
  name: string;
  foreign: boolean;
  /** Share of the model's squared change, 0..1; `null` where it was not measured. */
  share: number | null;
  layers: number;
}

export interface ModelMap {
  groups: MapGroup[];
  owners: MapOwner[];
  view: MapView;
  metric: Metric;
  scale: ScaleId;
  /** Of the whole model. */
  value: number | null;
  /** Statuses that occur, for the legend. */
  statuses: CellStatus[];
  foreign: boolean;
}

/** `GET /patchbay/loaded` */
export interface LoadedAnswer {
  schema: "patchbay.loaded";
  version: number;
  models: LoadedModel[];
}

export interface LoadedModel {
  model_class: string;
  weight_count: number;
  device: string;
  dynamic: boolean;
  layers: { block: string; layer: string; bytes: number; resident: number | null }[];
  not_known: string;
}
