// What the strength editor says: why there are no bars, what is wrong with the text, and what the bars show.

import { hasBase } from "./base.mjs";
import { linkedNode, widgetText } from "../comfyui/links.mjs";
import { plainText } from "../ui/format.mjs";

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {ReturnType<import("../comfyui/node_panels.mjs").PanelHost["language"]>} Language
 */

/** @param {EditorNode} node @param {boolean} busy @param {string} fileProblem @param {Language} language */
export function emptyText(node, busy, fileProblem, { t }) {
  if (busy) return t("compare.loading");
  if (fileProblem) return t("editor.unreadable", { reason: plainText(fileProblem, 240) });
  return t(widgetText(node, "lora_name") === null ? "editor.unconnected" : "editor.empty");
}

/**
 * @param {EditorNode} node @param {string} name of the widget with the text
 * @param {import("./text.mjs").Problem[]} problems @param {boolean} linked @param {Language} language
 */
export function problemText(node, name, problems, linked, { t }) {
  const [first] = problems;
  if (first) return t(`editor.error.${first.kind}`, { item: plainText(first.item, 80), word: plainText(first.word, 60) });
  if (!linked) return "";
  const source = linkedNode(node, name);
  return t("editor.linked", { title: plainText(source?.title ?? source?.comfyClass ?? "", 60) });
}

/**
 * @param {EditorNode} node @param {string} source of the bars @param {boolean} busy
 * @param {import("./state.mjs").Board} board @param {Language} language
 */
export function footWords(node, source, busy, board, { t }) {
  const words = [t(`editor.source.${source}`)];
  if (busy) words.push(t("editor.measuring"));
  else if (board.energy?.shares.length) words.push(t("editor.shade"));
  if (!busy && board.energy && board.energy.missing > 0) words.push(t("editor.unmeasured", { n: board.energy.missing }));
  // The line is short: where the bars hold more than the text, that is what has to be said.
  if (hasBase(node)) words.unshift(t("editor.onTop"));
  return words;
}
