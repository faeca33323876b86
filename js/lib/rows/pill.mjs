// The verdict before a run on nodes with one LoRA: a badge above the node, as the frontend draws them. Nodes 2.0 does not
// show a badge that comes later: there it stands on the node's own panel, as long as that has no result of these inputs.

import { redraw, setting } from "../comfyui/app.mjs";
import { onCanvasChange, watchValue } from "../comfyui/canvas_watch.mjs";
import { knownModel } from "../comfyui/known_models.mjs";
import { isLinked, widgetText } from "../comfyui/links.mjs";
import { attachedPanels } from "../comfyui/node_panels.mjs";
import { language, onLanguageChange } from "../comfyui/page_language.mjs";
import { formatShare } from "../ui/format.mjs";
import { askVerdict } from "./facts.mjs";

/**
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("./facts.mjs").Verdict} Verdict
 * @typedef {import("../words/i18n.mjs").Language} Language
 *
 * @typedef {object} Pilled
 * @property {EditorNode & {badges?: unknown[]}} node
 * @property {string} asked
 * @property {unknown} badge
 * @property {Verdict | null} verdict
 */

const LORA_WIDGET = "lora_name";
/** Sign, ground and ink by level: the sign alone tells it. @type {Record<string, [string, string, string]>} */
const LOOKS = { ok: ["✓", "#1b7346", "#fff"], warning: ["△", "#f2b53a", "#201600"], error: ["✗", "#b9261c", "#fff"] };

/** @type {Map<EditorNode, Pilled>} */
const pilled = new Map();
let watching = false;

/** From now on the node wears its verdict. @param {import("../../types/app").ComfyNode} node */
export function addPill(node) {
  const at = /** @type {EditorNode} */ (node);
  if (pilled.has(at) || widgetText(at, LORA_WIDGET) === null) return;
  if (!watching) {
    watching = true;
    onCanvasChange(() => pilled.forEach(look));
    onLanguageChange(() => pilled.forEach((each) => ((each.asked = ""), look(each))));
  }
  /** @type {Pilled} */
  const each = { node: at, asked: "", badge: null, verdict: null };
  pilled.set(at, each);
  watchValue(at.widgets?.find(({ name }) => name === LORA_WIDGET));
  const { onRemoved } = node;
  node.onRemoved = function () {
    onRemoved?.call(this);
    pilled.delete(at);
  };
  look(each);
}

/** @param {(node: import("../../types/app").ComfyNode) => boolean} which */
export function removePills(which) {
  for (const each of [...pilled.values()].filter(({ node }) => which(node))) {
    wear(each, null);
    pilled.delete(each.node);
  }
}

/** @param {Pilled} each */
function look(each) {
  const { node } = each;
  const lora = isLinked(node, LORA_WIDGET) ? "" : widgetText(node, LORA_WIDGET) ?? "";
  const model = lora && lora !== "none" ? knownModel(node) : null;
  const asked = JSON.stringify([lora, model]);
  markPanel(each);
  if (asked === each.asked) return;
  each.asked = asked;
  if (!model) return wear(each, null);
  void askVerdict(lora, model).then((found) => {
    if (each.asked !== asked || !pilled.has(node)) return;
    wear(each, found instanceof Error || found === null ? null : /** @type {Verdict} */ (found));
  });
}

/** What a pill says. @param {Verdict} verdict @param {Language} language */
export function pillText({ fit, share, level }, { t, locale }) {
  const words = fit === "fits in part" && share !== null ? t("pill.part", { share: formatShare(share, locale) }) : t(`verdict.${fit}`);
  return `${LOOKS[level]?.[0] ?? "△"} ${words}`;
}

/** @param {Verdict} verdict */
function badgeOf(verdict) {
  const [, bgColor, fgColor] = LOOKS[verdict.level] ?? ["", "#f2b53a", "#201600"];
  const Badge = /** @type {{LGraphBadge?: new (options: object) => unknown}} */ (/** @type {unknown} */ (window)).LGraphBadge;
  return Badge ? new Badge({ text: pillText(verdict, language()), bgColor, fgColor }) : null;
}

/** @param {Pilled} each */
function markPanel({ node, verdict }) {
  const entry = attachedPanels().find((panel) => panel.kind.name === "patchbay_report" && /** @type {unknown} */ (panel.node) === node);
  if (!entry) return;
  const text = verdict && setting("Comfy.VueNodes.Enabled") === true ? pillText(verdict, language()) : "";
  if ((entry.root.getAttribute("data-verdict") ?? "") === text) return;
  entry.root.toggleAttribute("data-verdict", text !== "");
  if (text) entry.root.setAttribute("data-verdict", text);
  entry.root.setAttribute("data-verdict-level", verdict?.level ?? "");
}

/** @param {Pilled} each @param {Verdict | null} verdict */
function wear(each, verdict) {
  const { node } = each;
  each.verdict = verdict;
  markPanel(each);
  const badge = verdict && badgeOf(verdict);
  if (!Array.isArray(node.badges) || (badge === null && each.badge === null)) return;
  node.badges = [...node.badges.filter((other) => other !== each.badge), ...(badge === null ? [] : [badge])];
  each.badge = badge;
  redraw();
}
