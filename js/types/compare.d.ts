/** What `PatchbayCompareImages` returns in `ui.patchbay_compare[0]`, version 1. */

export interface ImageRef {
  filename: string;
  subfolder: string;
  type: "temp" | "output" | "input" | string;
}

export interface CompareMetrics {
  mae: number | null;
  psnr: number | null;
  ssim: number | null;
  identical: boolean;
}

/** A LoRA that lies before a picture; `null` where another node gives the number. */
export interface UsedLora {
  name: string;
  strength_model: number | null;
  strength_clip: number | null;
  /** Strength by block; empty for all ones, `...` where another node gives the text. */
  blocks: string;
}

export interface ComparePair {
  a: ImageRef;
  b: ImageRef;
  difference: ImageRef;
  width: number;
  height: number;
  metrics: CompareMetrics;
}

export interface ComparePayload {
  schema: "patchbay.compare";
  version: number;
  label_a: string;
  label_b: string;
  loras_a?: UsedLora[];
  loras_b?: UsedLora[];
  /** What the difference was multiplied with: fixed, never fitted to the picture. */
  gain: number;
  /** What there is to say about the pictures, for example that their sizes differ. */
  notes?: string[];
  pairs: ComparePair[];
}

export type CompareMode = "side" | "slider" | "blink" | "difference";

export interface Size {
  width: number;
  height: number;
}

export interface Point {
  x: number;
  y: number;
}

/** Scale in screen pixels per picture pixel, or `null` for "fit"; `centre` in 0..1 of the picture. */
export interface CompareView {
  scale: number | null;
  centre: Point;
}

export interface CompareState {
  payload: ComparePayload | null;
  index: number;
  mode: CompareMode;
  /** Place of the slider in 0..1 of the visible part of the picture. */
  split: number;
  view: CompareView;
  blinkShowsB: boolean;
  blinkPaused: boolean;
  /** An earlier run, whose second picture stands in the place of the first. */
  pinned: ComparePayload | null;
  /** The two change places while a key or the button is held. */
  held: boolean;
}
