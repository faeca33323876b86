// Where notes on LoRAs are kept: ComfyUI's own store, with the user's settings and workflows. Nothing is written into a
// LoRA's file or beside it.

import { requestJson } from "../comfyui/editor.mjs";
import { readNote, setNotes } from "./notes.mjs";

/** @typedef {import("./notes.mjs").Note} Note */

const FOLDER = "lora-patchbay";
const NAME = "lora_notes.json";
const FILE = `/userdata/${encodeURIComponent(`${FOLDER}/${NAME}`)}`;

/** @type {Promise<void> | null} */
let loading = null;

/** Reads the notes once; without a server that keeps them there are none. */
export const loadNotes = () => (loading ??= readAll().then(setNotes).catch(() => {}));

/**
 * Another page may have written notes meanwhile: only this one is another afterwards.
 * @param {string} lora
 * @param {Note} note
 * @throws {Error} the notes cannot be read or written; nothing is changed then
 */
export async function saveNote(lora, note) {
  const all = await readAll();
  const kept = readNote(note);
  delete all[lora];
  if (kept.text || kept.least !== null || kept.most !== null) all[lora] = kept;
  await requestJson(`${FILE}?overwrite=true`, { method: "POST", body: { version: 1, notes: all } });
  setNotes(all);
}

/** @returns {Promise<Record<string, Note>>} */
async function readAll() {
  // Asking for a file that is not there is an error on the browser's console.
  if (!(await holds("", FOLDER)) || !(await holds(`?path=${FOLDER}`, NAME))) return {};
  const answer = /** @type {{notes?: unknown}} */ (await requestJson(FILE));
  const found = typeof answer.notes === "object" && answer.notes !== null ? answer.notes : {};
  return Object.fromEntries(Object.entries(found).map(([name, note]) => [name, readNote(note)]));
}

/** Whether a folder of the user's data holds something of this name. @param {string} folder as a query @param {string} name */
async function holds(folder, name) {
  const entries = await requestJson(`/v2/userdata${folder}`);
  return Array.isArray(entries) && entries.some((entry) => entry.name === name);
}
