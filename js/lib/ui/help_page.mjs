// A help page, written in a small part of Markdown, as elements. Pure.

import { h } from "../ui/dom.mjs";

/** `![words](picture.webp)` on a line of its own; the picture lies beside the page. */
const PICTURE = /^!\[([^\]]*)\]\(([\w-]+\.webp)\)$/;
/** Pixels of a picture for one of the page; as in tools/panel_pictures.py. */
const PICTURE_PIXELS = 1.5;
const HEADING = /^(#{1,3}) (.+)$/;
const ITEM = /^[*-] (.+)$/;
const INLINE = /\*\*([^*]+)\*\*|`([^`]+)`/g;

/**
 * Headings (the first is the page's title), paragraphs, lists and pictures, with **bold** and `code` inside of them.
 * @param {string} markdown
 * @param {(picture: string) => string} address of a picture
 * @returns {HTMLElement[]}
 */
export function renderHelp(markdown, address) {
  return markdown
    .replaceAll("\r\n", "\n")
    .split(/\n{2,}/)
    .map((block) => block.trim())
    .filter(Boolean)
    .flatMap((block) => blockElements(block, address));
}

/** @param {string} block @param {(picture: string) => string} address @returns {HTMLElement[]} */
function blockElements(block, address) {
  const picture = PICTURE.exec(block);
  if (picture) return [h("img", { class: "patchbay-help-picture", src: address(picture[2] ?? ""), alt: picture[1] ?? "", loading: "lazy", on: { load: inItsSize } })];
  const heading = HEADING.exec(block);
  if (heading) return [h(heading[1] === "#" ? "h3" : "h4", heading[1] === "#" ? { id: "patchbay-help-title" } : {}, heading[2] ?? "")];
  const lines = block.split("\n");
  if (lines.every((line) => ITEM.test(line))) return [h("ul", {}, ...lines.map((line) => h("li", {}, ...inline(line.replace(ITEM, "$1")))))];
  return [h("p", {}, ...inline(lines.join(" ")))];
}

/** As large as it was on the page. @param {Event} event */
function inItsSize({ target }) {
  const picture = /** @type {HTMLImageElement} */ (target);
  picture.width = Math.round(picture.naturalWidth / PICTURE_PIXELS);
}

/** @param {string} text @returns {(string | HTMLElement)[]} */
function inline(text) {
  /** @type {(string | HTMLElement)[]} */
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(from, match.index));
    parts.push(match[1] === undefined ? h("code", {}, match[2] ?? "") : h("strong", {}, match[1]));
    from = match.index + match[0].length;
  }
  return [...parts, text.slice(from)].filter((part) => part !== "");
}
