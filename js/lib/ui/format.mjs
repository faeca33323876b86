// Numbers and foreign text as people read them. Pure.

/** What cannot be seen but changes how text is shown: controls, bidi overrides and isolates, zero-width marks. */
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** @type {Map<string, Intl.NumberFormat>} */
const formatters = new Map();

/**
 * @param {string} locale
 * @param {Intl.NumberFormatOptions} options
 */
function formatter(locale, options) {
  const key = `${locale} ${JSON.stringify(options)}`;
  const known = formatters.get(key) ?? new Intl.NumberFormat(locale, options);
  formatters.set(key, known);
  return known;
}

/** @param {number} value @param {string} [locale] */
export function formatCount(value, locale = "en") {
  return formatter(locale, { maximumFractionDigits: 0 }).format(value);
}

/**
 * Up to `digits` significant digits.
 * @param {number | null | undefined} value
 * @param {string} [locale]
 */
export function formatNumber(value, locale = "en", digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return formatter(locale, { maximumSignificantDigits: digits }).format(value);
}

/**
 * A relative change: three significant digits, and never a bare 0 for something that is not 0.
 * @param {number | null | undefined} ratio
 * @param {string} [locale]
 */
export function formatRatio(ratio, locale = "en") {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return "–";
  const format = formatter(locale, { style: "percent", maximumSignificantDigits: 3 });
  return ratio > 0 && ratio < 1e-5 ? `< ${format.format(1e-5)}` : format.format(ratio);
}

/**
 * A share of a whole, rounded towards "not quite": 100 % only where it is all, 0 % only where it is nothing.
 * @param {number} share
 * @param {string} [locale]
 */
export function formatShare(share, locale = "en") {
  const format = formatter(locale, { style: "percent", maximumFractionDigits: 1 });
  if (share > 0 && share < 0.001) return `< ${format.format(0.001)}`;
  return format.format(Math.floor(share * 1000 + 1e-9) / 1000);
}

/** @param {number} bytes @param {string} [locale] */
export function formatBytes(bytes, locale = "en") {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${formatNumber(value, locale)} ${units[unit]}`;
}

/**
 * Foreign text made safe to show: of bounded length and without characters that act instead of being seen.
 * @param {unknown} text
 */
export function plainText(text, limit = 400) {
  const whole = typeof text === "string" ? text : String(text ?? "");
  const shown = whole.length > limit ? `${whole.slice(0, limit).replace(/[\ud800-\udbff]$/, "")}…` : whole;
  return shown.replace(/[\r\n\t]+/g, " ").replace(INVISIBLE, nameOfInvisible);
}

/** The same, with the end of a name that is too long: what a layer is, its path says last. @param {string} text @param {number} limit */
export function endOfText(text, limit) {
  const shown = plainText(text, 200);
  return shown.length > limit ? `…${shown.slice(1 - limit).replace(/^[\udc00-\udfff]/, "")}` : shown;
}

/** @param {string} character */
const nameOfInvisible = (character) => `[U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`;

/**
 * `double_blocks` is `double` in the short form.
 * @param {string} kind
 */
export function shortKind(kind) {
  return kind.replace(/_blocks?$/, "").replace(/^transformer$/, "blocks") || kind;
}
