// Results that the server remembers. The list is asked for again only after the server ran something.

import { api } from "../../../../scripts/api.js";
import { workflowId } from "./app.mjs";

/**
 * @typedef {import("../../types/app").NodeOutput} NodeOutput
 *
 * @typedef {object} PastRun
 * @property {number} number in the order of queueing
 * @property {number} at when it began, in milliseconds
 * @property {string} workflow id of the workflow; empty where it had none
 * @property {Record<string, NodeOutput>} outputs of our nodes, by execution id
 */

const MOST_RUNS = 32;

/** @type {Promise<PastRun[]> | null} */
let known = null;

for (const type of ["status", "execution_success", "execution_error", "execution_interrupted"]) {
  api.addEventListener(type, () => (known = null));
}

/** Runs that the server remembers, oldest first; none where it does not answer. @returns {Promise<PastRun[]>} */
export function pastRuns() {
  known ??= ask().catch(() => []);
  return known;
}

async function ask() {
  const response = await api.fetchApi(`/history?max_items=${MOST_RUNS}`);
  if (!response.ok) return [];
  /** @type {Record<string, {prompt?: unknown[], outputs?: Record<string, NodeOutput>, status?: {messages?: [string, {timestamp?: number}][]}}>} */
  const history = await response.json();
  return Object.values(history)
    .map((run) => ({
      number: Number(run.prompt?.[0] ?? 0),
      at: run.status?.messages?.find(([kind]) => kind === "execution_start")?.[1]?.timestamp ?? 0,
      workflow: workflowId(run.prompt) ?? "",
      outputs: ours(run.outputs ?? {}),
    }))
    .sort((a, b) => a.number - b.number);
}

/** What other nodes made is not kept: it may be large. @param {Record<string, NodeOutput>} outputs */
const ours = (outputs) => Object.fromEntries(Object.entries(outputs).filter(([, output]) => Object.keys(output).some((name) => name.startsWith("patchbay_"))));
