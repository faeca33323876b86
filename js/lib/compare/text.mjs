// What the compare viewer says in words. Pure.

import { formatNumber, plainText } from "../ui/format.mjs";

/**
 * `ink × 0.8 · single_blocks.*=0`, one item a LoRA; empty where none lies before the picture.
 * @param {import("../../types/compare").UsedLora[] | undefined} loras
 * @param {string} locale
 */
export function usedText(loras, locale) {
  return (Array.isArray(loras) ? loras : []).slice(0, 8).map((lora) => oneLora(lora, locale)).join(", ");
}

/** @param {import("../../types/compare").UsedLora} lora @param {string} locale */
function oneLora({ name, strength_model, strength_clip, blocks }, locale) {
  const stem = plainText(name, 200).replace(/^.*[\\/]/, "").replace(/\.[a-z]{1,11}$/i, "");
  const clip = strength_clip === null || strength_clip === strength_model ? "" : ` / ${formatNumber(strength_clip, locale, 4)}`;
  const strength = strength_model === null ? "?" : formatNumber(strength_model, locale, 4);
  return `${plainText(stem, 60)} × ${strength}${clip}${blocks ? ` · ${plainText(blocks, 120)}` : ""}`;
}

/**
 * `MAE 0.041 · PSNR 21.3 dB · SSIM 0.82`, or that the pictures are the same.
 * @param {import("../../types/compare").CompareMetrics} metrics
 * @param {import("../words/i18n.mjs").Language} language
 */
export function metricsText(metrics, { t, locale }) {
  if (metrics.identical) return t("compare.identical");
  const parts = [`MAE ${formatNumber(metrics.mae, locale)}`];
  if (metrics.psnr !== null) parts.push(`PSNR ${formatNumber(metrics.psnr, locale)} dB`);
  parts.push(`SSIM ${similarity(metrics.ssim, locale)}`);
  return parts.join(" · ");
}

/**
 * Different pictures never read as 1.
 * @param {number | null} ssim
 * @param {string} locale
 */
function similarity(ssim, locale) {
  if (ssim === null) return "–";
  return ssim < 1 && ssim >= 0.9995 ? `> ${formatNumber(0.999, locale)}` : formatNumber(ssim, locale);
}

/** @param {import("../../types/compare").Size} size */
export const sizeText = (size) => `${size.width} × ${size.height}`;

/**
 * @param {number} scale
 * @param {string} locale
 */
export const zoomText = (scale, locale) =>
  new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 }).format(scale);
