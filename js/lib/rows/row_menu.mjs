// The menus of one row and of all.

import { copyText } from "../ui/save_file.mjs";
import { askFacts } from "./facts.mjs";
import { openNote } from "./note_dialog.mjs";
import { changed } from "./model.mjs";

/**
 * @typedef {import("./model.mjs").Row} Row
 *
 * @typedef {object} RowsOwner
 * @property {Row[]} rows
 * @property {import("../words/i18n.mjs").Language} language
 * @property {(rows: Row[]) => void} writeOnce
 * @property {(from: number, to: number) => void} move
 * @property {(text: string) => void} say
 * @property {() => void} render
 * @property {HTMLElement} root
 * @property {boolean} options whether method and as_stock stand on the node
 * @property {(wanted: boolean) => void} showOptions
 */

/** @param {RowsOwner} owner @param {number} at @returns {import("../ui/menu.mjs").MenuSection[]} */
export function rowMenu(owner, at) {
  const row = owner.rows[at];
  const { t } = owner.language;
  if (!row) return [];
  const last = owner.rows.length - 1;
  const entries = [
    ...(at > 0 ? [{ text: t("rows.toTop"), act: () => owner.move(at, 0) }] : []),
    ...(at < last ? [{ text: t("rows.toBottom"), act: () => owner.move(at, last) }] : []),
    row.clip === null
      ? { text: t("rows.ownClip"), act: () => owner.writeOnce(changed(owner.rows, at, { clip: row.strength })) }
      : { text: t("rows.sameClip"), act: () => owner.writeOnce(changed(owner.rows, at, { clip: null })) },
    ...(row.lora ? [{ text: t("notes.menu"), act: () => writeNote(owner, at, row.lora) }] : []),
    { text: t("rows.copyWords"), act: () => void copyWords(owner, row.lora) },
    { text: t("rows.remove"), danger: true, act: () => owner.writeOnce(owner.rows.filter((_, index) => index !== at)) },
  ];
  return [{ title: row.lora || t("rows.choose"), entries }];
}

/** @param {RowsOwner} owner @returns {import("../ui/menu.mjs").MenuSection[]} */
export function nodeMenu(owner) {
  const { t } = owner.language;
  const entries = [
    { text: t(owner.options ? "rows.hideOptions" : "rows.showOptions"), act: () => owner.showOptions(!owner.options) },
    ...(owner.rows.length > 0 ? [{ text: t("rows.removeAll"), danger: true, act: () => owner.writeOnce([]) }] : []),
  ];
  return [{ title: t("rows.label"), entries }];
}

/** @param {RowsOwner} owner @param {number} at @param {string} lora */
function writeNote(owner, at, lora) {
  const place = (owner.root.querySelector(`[data-row="${at}"]`) ?? owner.root).getBoundingClientRect();
  // The menu gives its button the focus back first.
  setTimeout(() => openNote(place, lora, owner.language, (problem) => (problem ? owner.say(problem) : owner.render())));
}

/** @param {RowsOwner} owner @param {string} lora */
async function copyWords(owner, lora) {
  const facts = /** @type {{trigger_words?: string[]}} */ (await askFacts(lora));
  const words = (facts.trigger_words ?? []).join(", ");
  if (!words) return owner.say(owner.language.t("rows.noWords"));
  if (await copyText(words)) owner.say(owner.language.t("rows.copied", { words }));
}
