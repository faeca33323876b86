// Which LoRA files a node names, in whatever way. Pure.

/**
 * @typedef {import("../../types/app").ComfyNode} ComfyNode
 * @typedef {{name: string, known: boolean}} NamedLora
 */

const FILE = /\.(safetensors|sft|pt|pth|bin|ckpt)$/i;

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
