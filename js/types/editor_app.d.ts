/** The members of the ComfyUI frontend that the strength editor uses (seen in 1.47.12). */

import type { ComfyGraph, ComfyNode } from "./app";

export interface EditorWidget {
  name?: string;
  value?: unknown;
  /** Widgets that belong to this one: what becomes of a seed after a run. */
  linkedWidgets?: EditorWidget[];
  callback?(value: unknown): void;
}

export interface EditorLink {
  origin_id: number | string;
  origin_slot: number;
  target_id: number | string;
  target_slot: number;
}

export interface EditorGraph extends ComfyGraph {
  nodes?: EditorNode[];
  getNodeById?(id: number | string): EditorNode | null;
  getLink?(id: number): EditorLink | null | undefined;
  links?: Map<number, EditorLink>;
  /** Only on a subgraph: its own inputs and outputs. */
  inputs?: { linkIds?: number[] }[];
  outputs?: { linkIds?: number[] }[];
}

export interface EditorNode extends ComfyNode {
  widgets?: EditorWidget[];
  inputs?: { name?: string; type?: unknown; link?: number | null; widget?: { name?: string } }[];
  outputs?: { name?: string; type?: unknown }[];
  getInputLink?(slot: number): EditorLink | null | undefined;
  type?: string;
  /** Only on the page: a reroute, a primitive, a note. */
  isVirtualNode?: boolean;
  graph?: EditorGraph | null;
  subgraph?: EditorGraph;
}

/**
 * A file that a loader names: the folder as ComfyUI calls it, and the name in its list. In the folder `ran` are the models
 * that runs had, by the fingerprint of what led to them.
 */
export interface ModelFile {
  folder: "diffusion_models" | "checkpoints" | "unet_gguf" | "ran";
  name: string;
}
