// Elements from data. Text goes in as text nodes only, so that nothing from a file can become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {string | number | Node | null | undefined | false} Child
 * @typedef {Record<string, unknown>} Props  `on` takes listeners, `style` takes properties; null and false leave out.
 */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, props = {}, ...children) {
  return fill(/** @type {SVGElementTagNameMap[K]} */ (document.createElementNS(SVG, tag)), props, children);
}

/**
 * @template {HTMLElement | SVGElement} E
 * @param {E} element
 * @param {Props} props
 * @param {Child[]} children
 * @returns {E}
 */
function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") listen(element, /** @type {Record<string, EventListener>} */ (value));
    else if (name === "style") setStyle(element, /** @type {Record<string, string | number>} */ (value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) element.append(toNode(child));
  }
  return element;
}

/** @param {string | number | Node} child */
const toNode = (child) => (typeof child === "object" ? child : document.createTextNode(String(child)));

/** @param {Element} element @param {Record<string, string | number>} attributes */
export function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
}

/**
 * @param {Element} element
 * @param {Record<string, EventListener>} listeners
 */
function listen(element, listeners) {
  for (const [type, listener] of Object.entries(listeners)) element.addEventListener(type, listener);
}

/**
 * Sets style properties, custom ones (`--x`) too.
 * @param {HTMLElement | SVGElement} element
 * @param {Record<string, string | number>} properties
 */
export function setStyle(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, String(value));
}

/**
 * Text that others wrote, in a place of its own: it cannot turn the writing direction of what stands around it.
 * @param {string} text
 * @param {Props} [props]
 */
export function foreignText(text, props = {}) {
  return h("bdi", props, text);
}

/**
 * A key or a file name of somebody else, which may go on in the next line after a dot, a dash or an underscore.
 * @param {string} text
 */
export function foreignKey(text) {
  const parts = text.split(/(?<=[._/-])(?=[^._/-])/);
  return h("bdi", { class: "patchbay-key" }, ...parts.flatMap((part, at) => (at > 0 ? [h("wbr"), part] : [part])));
}
