// Nodes off the screen are not drawn while ComfyUI runs (comfyui/out_of_sight.mjs).

/** On the element of such a node (panel.css). Not a class: the frontend writes its elements' classes anew. */
export const OUT_OF_SIGHT = "data-patchbay-out-of-sight";

/** Whether an element stands on such a node: what only shows itself there can wait. @param {Element} element */
export const isOutOfSight = (element) => element.closest(`[${OUT_OF_SIGHT}]`) !== null;

/**
 * How far an element's content reaches below its lower edge, in CSS pixels. It is true of what is not drawn, too: Chromium
 * lays that out where somebody asks.
 * @param {HTMLElement} element a panel or a part of one
 */
export const hiddenPixels = (element) => element.scrollHeight - element.clientHeight;
