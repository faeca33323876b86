// Nodes off the screen are not drawn while ComfyUI runs (comfyui/out_of_sight.mjs); what is measured on them is true all the same.

/** On the element of such a node (panel.css). Not a class: the frontend writes its elements' classes anew. */
export const OUT_OF_SIGHT = "data-patchbay-out-of-sight";

/**
 * How far an element's content reaches below its lower edge, in CSS pixels.
 * @param {HTMLElement} element a panel or a part of one
 */
export function hiddenPixels(element) {
  const skipped = element.closest(`[${OUT_OF_SIGHT}]`);
  skipped?.toggleAttribute(OUT_OF_SIGHT, false);
  const pixels = element.scrollHeight - element.clientHeight;
  skipped?.toggleAttribute(OUT_OF_SIGHT, true);
  return pixels;
}
