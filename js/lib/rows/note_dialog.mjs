// Where the user writes a note on a LoRA and the strengths that it works at.

import { parseTyped } from "../editor/text.mjs";
import { h, setStyle } from "../ui/dom.mjs";
import { saveNote } from "./note_store.mjs";
import { noteOf } from "./notes.mjs";

/** @typedef {import("../words/i18n.mjs").Language} Language */

const WIDTH = 300;
const HEIGHT = 230;

/**
 * @param {DOMRect} at where the row is
 * @param {string} lora
 * @param {Language} language
 * @param {(problem: string) => void} done once it is kept, or cannot be
 */
export function openNote(at, lora, { t, locale }, done) {
  const known = noteOf(lora);
  const text = h("textarea", { class: "patchbay-note-text", "aria-label": t("notes.text"), placeholder: t("notes.text"), maxlength: 2000 });
  text.value = known.text;
  const number = (/** @type {string} */ label, /** @type {number | null} */ value) =>
    h("input", { type: "text", inputmode: "decimal", "aria-label": label, title: label, value: value === null ? "" : String(value), autocomplete: "off" });
  const [least, most] = [number(t("notes.least"), known.least), number(t("notes.most"), known.most)];
  const save = h("button", { type: "button", class: "patchbay-button" }, t("notes.save"));
  const dialog = h(
    "div",
    { class: "patchbay-panel patchbay-note", role: "dialog", "aria-label": t("notes.title", { name: lora }), lang: locale },
    h("bdi", { class: "patchbay-note-name" }, lora), text,
    h("div", { class: "patchbay-note-range" }, h("span", {}, t("notes.range")), least, h("span", { "aria-hidden": "true" }, "–"), most, save),
  );
  const close = () => {
    document.removeEventListener("pointerdown", outside, true);
    dialog.remove();
  };
  const keep = () => {
    close();
    const note = { text: text.value, least: parseTyped(least.value), most: parseTyped(most.value) };
    saveNote(lora, note).then(() => done(""), (error) => done(t("notes.failed", { reason: String(error?.message ?? error) })));
  };
  // What was written is kept, as by its button: nothing is lost by a click beside it. Escape gives up.
  const outside = (/** @type {Event} */ event) => {
    if (event.target instanceof Node && !dialog.contains(event.target)) keep();
  };
  save.addEventListener("click", keep);
  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && event.target !== text && event.target !== save) keep();
  });
  for (const type of ["wheel", "paste", "copy", "cut", "pointerdown"]) dialog.addEventListener(type, (event) => event.stopPropagation());
  const left = Math.max(8, Math.min(at.left, window.innerWidth - WIDTH - 8));
  const top = at.bottom + 4 + HEIGHT < window.innerHeight ? at.bottom + 4 : Math.max(8, at.top - HEIGHT - 4);
  setStyle(dialog, { left: `${left}px`, top: `${top}px`, width: `${WIDTH}px` });
  document.body.append(dialog);
  document.addEventListener("pointerdown", outside, true);
  text.focus();
}
