// What a panel on a node gets from the page, and whether its result is that of the canvas.

import { allNodes, app, ask, forwardWheel, lastOutput, viewUrl } from "./app.mjs";
import { onCanvasChange } from "./canvas_watch.mjs";
import { hideIdleStrength, keepProgressShort, keepTextRowShort, keepTextShort } from "./compact.mjs";
import { pastRuns } from "./history.mjs";
import { attachedPanels, growthOf, takePlaces } from "./node_panels.mjs";
import { leaveOutWhatIsOffScreen } from "./out_of_sight.mjs";
import { language, onLanguageChange } from "./page_language.mjs";
import { differences, earlierText, inputsOf } from "./run_inputs.mjs";
import { isOutOfSight } from "../ui/out_of_sight.mjs";

/**
 * @typedef {import("../../types/app").ComfyNode} ComfyNode
 * @typedef {import("../../types/app").NodeOutput} NodeOutput
 * @typedef {import("../../types/editor_app").EditorNode} EditorNode
 * @typedef {import("./node_panels.mjs").Attached} Attached
 */

let watching = false;

/** @param {Attached} entry @returns {import("./node_panels.mjs").PanelHost} */
export function hostFor(entry) {
  if (!watching) {
    watching = true;
    onCanvasChange(look);
    onLanguageChange(languageChanged);
    leaveOutWhatIsOffScreen(() => attachedPanels().map(({ root }) => root));
  }
  keepTextShort(/** @type {EditorNode} */ (entry.node));
  hideIdleStrength(/** @type {EditorNode} */ (entry.node));
  entry.afterShow = () => markEarlier(entry);
  return { node: entry.node, root: entry.root, language, ask, forwardWheel, viewUrl, contentChanged: growthOf(entry), setLeast: entry.setLeast };
}

/** Each node once, however many panels it has. */
function look() {
  takePlaces();
  const entries = attachedPanels().filter(({ root }) => !isOutOfSight(root));
  entries.forEach(markEarlier);
  for (const { node, root } of new Map(entries.map((entry) => [entry.node, entry])).values()) {
    const at = /** @type {EditorNode} */ (node);
    hideIdleStrength(at);
    keepProgressShort(at);
    keepTextRowShort(at, root);
  }
}

function languageChanged() {
  for (const entry of attachedPanels()) {
    entry.panel?.languageChanged();
    markEarlier(entry);
  }
}

/** @param {import("../../types/editor_app").EditorGraph} graph */
const hostOf = (graph) => /** @type {import("../../types/editor_app").EditorNode[]} */ (allNodes()).find((node) => node.subgraph === graph);

/**
 * How a result's inputs differ from the canvas, in one line; empty where they do not or where it does not say.
 * @param {ComfyNode} node
 * @param {NodeOutput | undefined} output
 */
export function earlierLine(node, output) {
  const inputs = inputsOf(output);
  if (!inputs || !node.graph) return "";
  const found = differences(inputs, /** @type {import("../../types/editor_app").EditorNode} */ (node), hostOf);
  return found.length > 0 ? earlierText(found, language().t) : "";
}

/** Dims a panel whose result is of other inputs, and says of which. @param {Attached} entry */
function markEarlier({ node, root, panel, output }) {
  if (!panel?.isResult) return;
  const line = earlierLine(node, output);
  if ((root.getAttribute("data-earlier") ?? "") === line) return;
  if (line) {
    root.setAttribute("data-earlier", line);
    root.setAttribute("aria-description", line);
    root.title = line;
  } else {
    for (const name of ["data-earlier", "aria-description", "title"]) root.removeAttribute(name);
  }
}

/**
 * For nodes of which the page knows no result: the newest that was made from what is on the canvas, else the newest of this
 * workflow, which is then shown as of an earlier run.
 * @param {string} workflow id
 */
export async function showPastResults(workflow) {
  const without = attachedPanels().filter((entry) => entry.panel?.isResult && !entry.output && !lastOutput(entry.node));
  if (without.length === 0) return;
  const runs = (await pastRuns()).slice().reverse();
  for (const entry of without) {
    if (entry.output || !app.rootGraph) continue;
    const output = bestOf(entry.node, runs, workflow);
    if (output) entry.show(output);
  }
}

/** @param {ComfyNode} node @param {import("./history.mjs").PastRun[]} runs newest first @param {string} workflow */
export function bestOf(node, runs, workflow) {
  /** @type {NodeOutput | null} */
  let second = null;
  for (const run of runs) {
    for (const output of Object.values(run.outputs)) {
      const inputs = inputsOf(output);
      if (!inputs || inputs.nodes[inputs.node]?.class_type !== node.comfyClass) continue;
      if (earlierLine(node, output) === "") return output;
      if (run.workflow === workflow && workflow && inputs.node.split(":").pop() === String(node.id)) second ??= output;
    }
  }
  return second;
}
