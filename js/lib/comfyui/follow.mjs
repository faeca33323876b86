// Runs the workflow again while somebody drags: one run at a time, and one more where something changed meanwhile.

import { api } from "../../../../scripts/api.js";
import { app } from "./app.mjs";

let running = false;
let again = false;

/** Queues the workflow, now or as soon as the last such run has ended. */
export function runAgain() {
  again = running;
  if (running) return;
  running = true;
  app.queuePrompt(0, 1).then((accepted) => accepted !== false || ended(), ended);
}

function ended() {
  running = false;
  if (again) runAgain();
}

for (const type of ["execution_success", "execution_error", "execution_interrupted"]) api.addEventListener(type, () => running && ended());
