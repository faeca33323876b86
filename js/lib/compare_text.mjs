// What the compare viewer says in words. Pure.

import { formatNumber } from "./format.mjs";

/**
 * `MAE 0.041 · PSNR 21.3 dB · SSIM 0.82`, or that the pictures are the same.
 * @param {import("../types/compare").CompareMetrics} metrics
 * @param {import("./i18n.mjs").Language} language
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

/** @param {import("../types/compare").Size} size */
export const sizeText = (size) => `${size.width} × ${size.height}`;

/**
 * @param {number} scale
 * @param {string} locale
 */
export const zoomText = (scale, locale) =>
  new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 }).format(scale);
