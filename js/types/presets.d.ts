/**
 * Block-strength presets over HTTP, version 1. The routes are described in nodes/host/routes/presets.py.
 *
 * GET    /patchbay/presets            -> PresetList
 * POST   /patchbay/presets            PresetToSave -> Preset; 400, 409 (exists and no `overwrite`) or 413 -> PresetError
 * DELETE /patchbay/presets?name=NAME  -> { deleted: NAME }; 404 -> PresetError
 * GET    /patchbay/strengths/formats  -> FormatList
 * POST   /patchbay/strengths/convert  ConvertRequest -> Converted; 400 -> PresetError
 *
 * Send them with `api.fetchApi`, which adds the user's header in multi-user mode.
 */

export interface Preset {
  /** Unique within its source; what POST and DELETE call it. No slash, at most 80 characters. Untrusted text for user presets. */
  name: string;
  /** Value of the node's `preset` combo: the name, for a user preset `user/NAME`. */
  value: string;
  source: "shipped" | "user";
  /** Block strengths in the text form. */
  blocks: string;
  /** Name for people by language ("en", "ja"); empty for user presets: show `name`. */
  label: Record<string, string>;
  /** What it does, one or two sentences by language; a user preset has only "en", whatever language the user wrote. */
  description: Record<string, string>;
  /** Where it comes from; empty for user presets. */
  origin: string;
  /** Measured effects; empty where nothing is claimed. */
  measured: PresetMeasure[];
}

export interface PresetMeasure {
  /** What was measured, on what, by which command. */
  what: string;
  model: string;
  lora: string;
  /** Share of the whole LoRA's weight change (squared Frobenius norm) that the preset leaves, 0..1. */
  energy: number | null;
  /** Mean absolute pixel difference to the picture without the LoRA, over that of the whole LoRA. */
  effect: number | null;
  command: string;
}

export interface PresetList {
  schema: "patchbay.presets";
  version: number;
  /** Shipped ones first, in the order of the menu, then the user's by name. */
  presets: Preset[];
  /** Sentences for the user, for example that the file of user presets cannot be read. */
  problems: string[];
}

export interface PresetToSave {
  name: string;
  blocks: string;
  description?: string;
  overwrite?: boolean;
}

export interface PresetError {
  /** One sentence for people. */
  error: string;
}

export interface StrengthFormat {
  /** `lbw.sd.17`, `inspire.named`, `kj.blocks`, ... */
  id: string;
  label: string;
  /** What one has to know about it, one sentence. */
  note: string;
  example: string;
  can_import: boolean;
  can_export: boolean;
}

export interface FormatList {
  formats: StrengthFormat[];
}

/** From a community format to the text form (`from`), or from the text form to one (`to`). Exactly one of the two. */
export interface ConvertRequest {
  text: string;
  from?: string;
  to?: string;
}

export interface Converted {
  text: string;
  /** What the other side cannot say, one sentence each. */
  lost: string[];
  /** What one should know although nothing was lost. */
  notes: string[];
}
