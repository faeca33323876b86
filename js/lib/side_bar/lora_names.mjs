// Which LoRA files a node names, in whatever way, and which model file leads to it. Pure.

/**
 * @typedef {import("../../types/app").ComfyNode} ComfyNode
 * @typedef {{name: string, known: boolean}} NamedLora
 */

const FILE = /\.(safetensors|sft|pt|pth|bin|ckpt)$/i;

/** Names of stock and other loaders' inputs, with the folder that their files lie in. @type {Record<string, string>} */
const MODEL_INPUTS = { unet_name: "diffusion_models", ckpt_name: "checkpoints", model_name: "diffusion_models", "source.model_name": "diffusion_models", "source.ckpt_name": "checkpoints" };

const MOST_STEPS = 64;

/**
 * A value is a LoRA if ComfyUI lists it as one; or, for files that are missing here, if the widget is called so.
 * @param {ComfyNode} node
 * @param {ReadonlySet<string>} listed names of the LoRA files of this ComfyUI
 * @returns {NamedLora[]} each once, in the order of the widgets
 */
export function lorasOf(node, listed) {
  /** @type {Map<string, NamedLora>} */
  const found = new Map();
  for (const widget of node.widgets ?? []) {
    const name = fileName(widget.value);
    if (!name) continue;
    const known = listed.has(name);
    if (known || (FILE.test(name) && /lora/i.test(widget.name ?? ""))) found.set(name, { name, known });
  }
  return [...found.values()];
}

/** A combo holds a name, a power loader an object with one. @param {unknown} value */
function fileName(value) {
  if (typeof value === "string") return value;
  const named = typeof value === "object" && value !== null ? /** @type {{lora?: unknown}} */ (value).lora : null;
  return typeof named === "string" ? named : "";
}

/**
 * The model file at the start of the wire that leads to a node's model, where one is named there.
 * @param {ComfyNode} node
 * @returns {{folder: string, name: string} | null}
 */
export function modelFileOf(node) {
  /** @type {ComfyNode | null} */
  let at = node;
  const seen = new Set();
  for (let step = 0; at && step < MOST_STEPS && !seen.has(at); step += 1) {
    seen.add(at);
    const file = modelFile(at);
    if (file) return file;
    at = upstream(at);
  }
  return null;
}

/** @param {ComfyNode} node */
function modelFile({ widgets = [] }) {
  for (const { name = "", value } of widgets) {
    const folder = Object.hasOwn(MODEL_INPUTS, name) ? MODEL_INPUTS[name] : undefined;
    if (folder && typeof value === "string" && value) return { folder: /\.gguf$/i.test(value) ? "unet_gguf" : folder, name: value };
  }
  return null;
}

/** The node at the other end of the model wire; a reroute has one wire of any type. @param {ComfyNode} node */
function upstream(node) {
  const inputs = node.inputs ?? [];
  const slot = inputs.findIndex(({ type, name }) => type === "MODEL" && name !== "model_b");
  const any = inputs.length === 1 && inputs[0]?.type === "*" ? 0 : -1;
  const at = slot >= 0 ? slot : any;
  return at >= 0 ? node.getInputNode?.(at) ?? null : null;
}
