// The presets menu of the strength editor: shipped ones, the user's own, and other tools' formats.

import { askText, askYes, requestJson, say } from "../comfyui/editor.mjs";
import { plainText } from "../ui/format.mjs";
import { openMenu } from "../ui/menu.mjs";

/**
 * @typedef {import("../../types/presets").Preset} Preset
 * @typedef {import("../../types/presets").PresetList} PresetList
 * @typedef {import("../../types/presets").FormatList} FormatList
 * @typedef {import("../../types/presets").StrengthFormat} StrengthFormat
 * @typedef {import("../../types/presets").Converted} Converted
 * @typedef {import("../words/i18n.mjs").Language} Language
 * @typedef {import("../ui/menu.mjs").MenuSection} MenuSection
 *
 * @typedef {object} PresetTarget
 * @property {() => string} text
 * @property {(text: string) => void} write as one step of undo
 */

const PRESETS = "/patchbay/presets";

/** @param {HTMLElement} button @param {PresetTarget} target @param {Language} language */
export async function showPresets(button, target, language) {
  const { t } = language;
  const [presets, formats] = await Promise.all([
    requestJson(PRESETS).then((answer) => /** @type {PresetList} */ (answer), () => null),
    requestJson("/patchbay/strengths/formats").then((answer) => /** @type {FormatList} */ (answer), () => null),
  ]);
  if (!presets) say("error", t("presets.failed"));
  presets?.problems.forEach((problem) => say("error", t("editor.presets"), plainText(problem)));
  const known = presets?.presets ?? [];
  const sections = presetSections(known, language, (preset) => target.write(preset.blocks));
  sections.push({ title: t("presets.actions"), entries: actions(button, target, presets, formats, language) });
  openMenu(button, sections, language.locale);
}

/**
 * @param {Preset[]} presets
 * @param {Language} language
 * @param {(preset: Preset) => void} use
 * @returns {MenuSection[]}
 */
export function presetSections(presets, { t, locale }, use) {
  const sources = /** @type {const} */ (["shipped", "user"]);
  return sources.map((source) => ({
    title: t(`presets.${source}`),
    entries: presets.filter((preset) => preset.source === source).map((preset) => ({
      text: plainText(preset.label[locale] ?? preset.label.en ?? preset.name, 80),
      hint: plainText(preset.description[locale] ?? preset.description.en ?? preset.blocks, 160),
      act: () => use(preset),
    })),
  }));
}

/**
 * @param {HTMLElement} button
 * @param {PresetTarget} target
 * @param {PresetList | null} presets
 * @param {FormatList | null} formats
 * @param {Language} language
 */
function actions(button, target, presets, formats, language) {
  const { t } = language;
  const entries = [{ text: t("presets.clear"), act: () => target.write("") }];
  if (presets) {
    entries.push({ text: t("presets.save"), act: () => void save(target, presets.presets, language) });
    for (const { name } of presets.presets.filter(({ source }) => source === "user")) {
      entries.push({ text: t("presets.delete", { name: plainText(name, 60) }), act: () => void remove(name, language) });
    }
  }
  const readable = formats?.formats.filter(({ can_import }) => can_import) ?? [];
  const writable = formats?.formats.filter(({ can_export }) => can_export) ?? [];
  if (readable.length > 0) entries.push({ text: t("presets.import"), act: () => later(() => chooseFormat(button, readable, language, (format) => void importText(target, format, language))) });
  if (writable.length > 0) entries.push({ text: t("presets.export"), act: () => later(() => chooseFormat(button, writable, language, (format) => void exportText(target, format, language))) });
  return entries;
}

/** After the menu that was clicked has closed. @param {() => void} act */
const later = (act) => void setTimeout(act, 0);

/** @param {HTMLElement} button @param {StrengthFormat[]} formats @param {Language} language @param {(format: StrengthFormat) => void} use */
function chooseFormat(button, formats, { t, locale }, use) {
  const entries = formats.map((format) => ({ text: plainText(format.label, 80), hint: plainText(format.note, 160), act: () => use(format) }));
  openMenu(button, [{ title: t("presets.format"), entries }], locale);
}

/** @param {PresetTarget} target @param {Preset[]} known @param {Language} language */
async function save(target, known, { t }) {
  const name = (await askText(t("presets.save"), t("presets.save.message")))?.trim();
  if (!name) return;
  const taken = known.some((preset) => preset.source === "user" && preset.name === name);
  if (taken && !(await askYes(t("presets.save"), t("presets.replace", { name })))) return;
  try {
    await requestJson(PRESETS, { method: "POST", body: { name, blocks: target.text(), overwrite: taken } });
    say("info", t("presets.saved", { name: plainText(name, 80) }));
  } catch (error) {
    say("error", t("presets.save"), sentence(error));
  }
}

/** @param {string} name @param {Language} language */
async function remove(name, { t }) {
  if (!(await askYes(t("editor.presets"), t("presets.delete.ask", { name: plainText(name, 80) })))) return;
  try {
    await requestJson(`${PRESETS}?name=${encodeURIComponent(name)}`, { method: "DELETE" });
  } catch (error) {
    say("error", t("editor.presets"), sentence(error));
  }
}

/** @param {PresetTarget} target @param {StrengthFormat} format @param {Language} language */
async function importText(target, format, { t }) {
  const text = await askText(t("presets.import"), t("presets.paste", { label: plainText(format.label, 80), note: plainText(format.note, 200) }), "");
  if (!text?.trim()) return;
  const converted = await convert({ text, from: format.id }, t("presets.import"), t);
  if (converted) target.write(converted.text);
}

/** @param {PresetTarget} target @param {StrengthFormat} format @param {Language} language */
async function exportText(target, format, { t }) {
  const converted = await convert({ text: target.text(), to: format.id }, t("presets.export"), t);
  if (!converted) return;
  await navigator.clipboard?.writeText(converted.text).catch(() => askText(format.label, "", converted.text));
  say("info", t("presets.copied", { label: plainText(format.label, 80) }));
}

/** @param {import("../../types/presets").ConvertRequest} request @param {string} title @param {Language["t"]} t */
async function convert(request, title, t) {
  try {
    const converted = /** @type {Converted} */ (await requestJson("/patchbay/strengths/convert", { method: "POST", body: request }));
    if (converted.lost.length > 0) say("error", t("presets.lost"), plainText(converted.lost.join(" "), 600));
    if (converted.notes.length > 0) say("info", title, plainText(converted.notes.join(" "), 600));
    return converted;
  } catch (error) {
    say("error", title, sentence(error));
    return null;
  }
}

/** @param {unknown} error */
const sentence = (error) => plainText(error instanceof Error ? error.message : error, 400);
