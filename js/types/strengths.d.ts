/** What `/patchbay/blocks` and `/patchbay/model_blocks` answer (nodes/core/strengths/layout.py), version 1. */

/** One layer by its path inside its block. */
export interface LayerShape {
  layer: string;
  /** Every name by which the layer can be selected. */
  parts: string[];
  /** Names of the slices of a fused weight, in order; empty for a weight that is not fused. */
  slices: string[][];
}

export interface LayoutBlock {
  index: number;
  /** Index into `layer_sets`. */
  layers: number;
}

export interface LayoutContainer {
  /** The model's own name: `double_blocks`; for a text encoder `clip_l.transformer.text_model.encoder.layers`. */
  kind: string;
  /** In ascending order. */
  blocks: LayoutBlock[];
}

export interface TextEncoderLayout {
  /** Whether the text encoder's own keys are known; else only what the LoRA names for it. */
  known: boolean;
  encoders: string[];
  containers: LayoutContainer[];
  /** What lies in no layer, by encoder. */
  other: { encoder: string; layers: number }[];
}

export interface StrengthLayout {
  schema: "patchbay.blocks";
  version: number;
  /** Whether the blocks are those of a model or only those that a LoRA file names. */
  source: "model" | "lora";
  architecture: string;
  containers: LayoutContainer[];
  /** Layers in no block, as an index into `layer_sets`; null where there are none. */
  other: number | null;
  te: TextEncoderLayout | null;
  layer_sets: LayerShape[][];
  /** By block address and layer: share of the LoRA's squared delta norm. Null where it was not measured. */
  energy: Record<string, Record<string, number>> | null;
  /** Layers of the file whose size could not be measured; their energy is missing from the shares. */
  not_measured: number;
}

export interface LayoutError {
  /** One sentence for people. */
  error: string;
}
