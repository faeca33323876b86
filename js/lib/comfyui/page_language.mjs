// The language of ComfyUI's page.

import { languageFor } from "../words/i18n.mjs";
import { app, setting } from "./app.mjs";

export const language = () => languageFor(setting("Comfy.Locale"));

/** @param {() => void} listener */
export function onLanguageChange(listener) {
  app.ui?.settings?.addEventListener?.("Comfy.Locale.change", listener);
}
