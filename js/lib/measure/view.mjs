// A measurement as elements: `measurementView(measurement, language)`. The widget on the node and the sidebar show it.

import { foreignText, h } from "../ui/dom.mjs";
import { formatBytes, formatCount, formatNumber, plainText } from "../ui/format.mjs";
import { levelIcon } from "../ui/icons.mjs";
import { cssName, evaluationStrip, formatDuration, memoryBar, memoryText, memoryWhole, runBars, shownRuns, stripTop } from "./charts.mjs";
import { reportWords } from "../words/report_words.mjs";

/**
 * @typedef {import("../../types/measurement").Measurement} Measurement
 * @typedef {import("../../types/measurement").ConditionSummary} ConditionSummary
 * @typedef {import("../../types/measurement").Comparison} Comparison
 * @typedef {import("../../types/measurement").Ratio} Ratio
 * @typedef {import("../../types/measurement").Figure} Figure
 * @typedef {import("../words/i18n.mjs").Language} Language
 */

/** Newest version of the data that this page can read. */
export const KNOWN_MEASUREMENT = 1;

/**
 * @param {unknown} value
 * @returns {Measurement | null}
 */
export function asMeasurement(value) {
  if (typeof value !== "object" || value === null) return null;
  const measurement = /** @type {Measurement} */ (value);
  return measurement.schema === "patchbay.measurement" && Array.isArray(measurement.conditions) ? measurement : null;
}

/**
 * The whole view.
 * @param {Measurement} measurement
 * @param {Language} language
 * @returns {HTMLElement}
 */
export function measurementView(measurement, language) {
  const { t } = language;
  if (measurement.version > KNOWN_MEASUREMENT) {
    return h("p", { class: "patchbay-empty" }, t("card.newer", { version: measurement.version, known: KNOWN_MEASUREMENT }));
  }
  const { conditions, comparisons } = measurement;
  return h(
    "div",
    { class: "patchbay-measure-view", lang: language.locale },
    header(measurement, language),
    comparisons.length > 0 && h("p", { class: "patchbay-summary" }, ...answer(comparisons, language)),
    comparisons.length > 0
      ? h("ul", { class: "patchbay-measure-verdicts" }, ...comparisons.map((comparison) => verdict(comparison, conditions, language)))
      : h("p", { class: "patchbay-summary" }, foreignText(plainText(reportWords(measurement.summary, language.locale), 800))),
    conditions.length > 0 && strips(measurement, language),
    conditions.some((condition) => condition.segments.length > 0) && memory(measurement, language),
    why(measurement, language),
    conditions.length > 0 && figures(measurement, language),
    missing(conditions, language),
    notes(measurement, language),
  );
}

/** @param {Measurement} measurement @param {Language} language */
function header(measurement, { t }) {
  const level = ["ok", "warning", "error"].includes(measurement.level) ? measurement.level : "warning";
  return h(
    "div",
    { class: "patchbay-header" },
    h("span", { class: `patchbay-level patchbay-level-${level}` }, levelIcon(level), t(`level.${level}`)),
    h("span", { class: "patchbay-subject" }, foreignText(plainText(measurement.title, 200))),
  );
}

/** The answer in a line: what each costs against the first. @param {Comparison[]} comparisons @param {Language} language */
function answer(comparisons, { t, locale }) {
  return comparisons.flatMap(({ b, speed, steady }, at) => {
    const known = ["slower", "faster", "same"].includes(speed) ? speed : "open";
    const text = t(`answer.${known}`, { ratio: formatNumber(steady.value, locale) });
    return [at > 0 ? " · " : "", foreignText(plainText(b, 60)), `: ${text}`];
  });
}

/** @param {Comparison} comparison @param {ConditionSummary[]} conditions @param {Language} language */
function verdict(comparison, conditions, language) {
  const { t, locale } = language;
  const summary = conditions.find((condition) => condition.label === comparison.b);
  const known = ["slower", "faster", "same", "unsettled", "noisy", "one_pair", "unknown"].includes(comparison.speed) ? comparison.speed : "unknown";
  const parts = [t(`verdict.${known}`, { ratio: ratioText(comparison.steady, locale) })];
  if (summary?.switch_s.value && summary.switch_s.value > 0) parts.push(t("measure.switch", { time: formatDuration(summary.switch_s.value * 1000, locale) }));
  const results = [
    comparison.latents ? outputText(t("measure.latents"), comparison.latents, language) : "",
    comparison.images ? outputText(t("measure.images"), comparison.images, language) : "",
  ].filter(Boolean);
  return h(
    "li",
    { class: `patchbay-verdict patchbay-verdict-${known}` },
    h("strong", {}, foreignText(plainText(comparison.b, 60)), ` ${t("measure.against")} `, foreignText(plainText(comparison.a, 60))),
    ...[...parts, ...results].map((text) => h("span", {}, text)),
  );
}

/** @param {string} what @param {import("../../types/measurement").OutputDifference} difference @param {Language} language */
function outputText(what, difference, { t, locale }) {
  const known = ["identical", "noise", "different", "unknown"].includes(difference.verdict) ? difference.verdict : "unknown";
  const size = difference.relative === null ? "–" : `${formatNumber(difference.relative * 100, locale)} %`;
  const metrics = difference.ssim === null || known === "identical" ? "" : ` (${[difference.psnr === null ? "" : `PSNR ${formatNumber(difference.psnr, locale, 4)} dB`, `SSIM ${formatNumber(difference.ssim, locale, 4)}`].filter(Boolean).join(", ")})`;
  return t(`output.${known}`, { what, size }) + metrics;
}

/**
 * `+12.3 % [+11, +13.6]`, as the reports write intervals.
 * @param {Ratio} ratio
 * @param {string} locale
 */
export function ratioText(ratio, locale) {
  if (ratio.value === null) return "–";
  const change = (/** @type {number} */ value) => `${value >= 1 ? "+" : "−"}${formatNumber(Math.abs(value - 1) * 100, locale, Math.abs(value - 1) < 0.001 ? 1 : 3)}`;
  const bounded = ratio.low !== null && ratio.high !== null && ratio.high <= 2 * ratio.value;
  return `${change(ratio.value)} %${bounded ? ` [${change(/** @type {number} */ (ratio.low))}, ${change(/** @type {number} */ (ratio.high))}]` : ""}`;
}

/** @param {Measurement} measurement @param {Language} language */
function strips(measurement, language) {
  const { t, locale } = language;
  const top = stripTop(measurement);
  const rows = measurement.conditions.map((condition) =>
    row(
      [foreignText(plainText(condition.label, 60)), h("small", {}, t("measure.counts", { steps: formatCount(condition.steps, locale), evaluations: formatCount(condition.evaluations, locale) }))],
      h("div", { class: "patchbay-measure-scroll" }, evaluationStrip(measurement, condition, top, language)),
      [condition.steady_ms ? formatDuration(condition.steady_ms.median, locale) : "–", h("small", {}, condition.iterations_per_s.value === null ? "" : t("measure.pace", { pace: formatNumber(condition.iterations_per_s.value, locale) }))],
    ),
  );
  const present = new Set(measurement.conditions.flatMap((condition) => shownRuns(measurement, condition.label).flatMap(runBars)).map((bar) => bar.kind));
  const legend = [...present].map((kind) => legendEntry(`patchbay-measure-${kind}`, t(`measure.bar.${kind}`)));
  return section(t("measure.strips"), h("div", { class: "patchbay-measure-grid" }, ...rows), h("p", { class: "patchbay-measure-legend" }, ...legend));
}

/**
 * One condition: its name, its picture, its figures. The three are columns where there is room for them.
 * @param {(Node | string)[]} name
 * @param {Node} picture
 * @param {(Node | string)[]} figures
 */
const row = (name, picture, figures) =>
  h("div", { class: "patchbay-measure-row" }, h("div", { class: "patchbay-measure-name" }, ...name), picture, h("div", { class: "patchbay-measure-value" }, ...figures));

/** @param {Measurement} measurement @param {Language} language */
function memory({ conditions }, language) {
  const { t, locale } = language;
  const whole = memoryWhole(conditions);
  const rows = conditions.map((condition) => row([foreignText(plainText(condition.label, 60))], memoryBar(condition, whole, language), [memoryText(condition, locale)]));
  const names = [...new Set(conditions.flatMap((condition) => condition.segments.map((segment) => cssName(segment.name))))];
  const onCpu = conditions.every((condition) => condition.facts.mode === "CPU");
  return section(
    t(onCpu ? "measure.memory.main" : "measure.memory.device"),
    h("div", { class: "patchbay-measure-grid" }, ...rows),
    h("p", { class: "patchbay-measure-legend" }, ...names.map((name) => legendEntry(`patchbay-memory-${name}`, t(`memory.${name}`)))),
  );
}

/** @param {string} colour @param {string} words */
const legendEntry = (colour, words) => h("span", { class: "patchbay-measure-entry" }, h("i", { class: `patchbay-measure-swatch ${colour}` }), words);

/** @param {Measurement} measurement @param {Language} language */
function why({ sentences }, language) {
  if (sentences.length === 0) return null;
  /** What holds for several conditions is said once. @type {Map<string, string[]>} */
  const byText = new Map();
  for (const sentence of sentences) {
    const text = sentenceText(sentence, language);
    byText.set(text, [...(byText.get(text) ?? []), plainText(sentence.condition, 60)]);
  }
  const items = [...byText].map(([text, names]) => h("li", {}, h("strong", {}, foreignText([...new Set(names)].join(", ")), ": "), foreignText(text)));
  return section(language.t("measure.why"), h("ul", { class: "patchbay-measure-why" }, ...items));
}

/** In the page's language; a sentence that this page does not know stays as it came. @param {import("../../types/measurement").Sentence} sentence @param {Language} language */
export function sentenceText(sentence, { t }) {
  const key = `why.${sentence.id}`;
  const values = Object.fromEntries(Object.entries(sentence.values ?? {}).map(([name, value]) => [name, plainText(value, 60)]));
  const text = t(key, values);
  return text === key ? plainText(sentence.text, 600) : text;
}

/** @param {Measurement} measurement @param {Language} language */
function figures({ conditions }, { t, locale }) {
  const ms = (/** @type {Figure} */ figure) => (figure.value === null ? "–" : formatDuration(figure.value, locale));
  const seconds = (/** @type {Figure} */ figure) => (figure.value === null ? "–" : formatDuration(figure.value * 1000, locale));
  const bytes = (/** @type {Figure} */ figure) => (figure.value === null ? "–" : formatBytes(figure.value, locale));
  /** @type {[string, (condition: ConditionSummary) => string][]} */
  const rows = [
    [t("figure.steady"), ({ steady_ms: s }) => (s ? `${formatDuration(s.median, locale)} (${formatDuration(s.q1, locale)} – ${formatDuration(s.q3, locale)}, n ${s.n})` : "–")],
    [t("figure.first"), (c) => ms(c.first_ms)],
    [t("figure.firstLora"), (c) => `${formatDuration(c.lora.first_ms, locale)}, ${formatCount(c.lora.first_calls, locale)}`],
    [t("figure.prepare"), (c) => seconds(c.prepare_s)],
    [t("figure.prepareLora"), (c) => `${formatDuration(c.lora.prepare_ms, locale)}, ${formatCount(c.lora.prepare_calls, locale)}`],
    [t("figure.total"), (c) => seconds(c.total_s)],
    [t("figure.switch"), (c) => seconds(c.switch_s)],
    [t("figure.streamed"), (c) => bytes(c.streamed_bytes)],
    ...MEMORY.map((name) => /** @type {[string, (condition: ConditionSummary) => string]} */ ([t(`figure.${name}`), (c) => bytes(c.memory[name])])),
    [t("figure.runs"), (c) => formatCount(c.runs, locale)],
    [t("figure.loaded"), (c) => plainText(c.facts.mode, 40)],
    [t("figure.clock"), (c) => plainText(c.clock, 40)],
  ];
  const shown = rows.filter(([, read]) => conditions.some((condition) => read(condition) !== "–"));
  const table = h(
    "table",
    { class: "patchbay-measure-table" },
    h("thead", {}, h("tr", {}, h("th", {}), ...conditions.map((condition) => h("th", { scope: "col" }, foreignText(plainText(condition.label, 60)))))),
    h("tbody", {}, ...shown.map(([name, read]) => h("tr", {}, h("th", { scope: "row" }, name), ...conditions.map((condition) => h("td", {}, read(condition)))))),
  );
  return fold("figures", t("measure.figures"), h("div", { class: "patchbay-measure-scroll" }, table), blockTable(conditions, t, locale));
}

/** @type {readonly (keyof import("../../types/measurement").MemoryFigures)[]} */
const MEMORY = ["weights_total", "weights_resident", "torch_allocated_peak", "torch_reserved_peak", "cast_buffers", "process_low", "process_high", "device_used_peak", "pinned_ram", "ram_low", "ram_high"];

/** @param {ConditionSummary[]} conditions @param {Language["t"]} t @param {string} locale */
function blockTable(conditions, t, locale) {
  const timed = conditions.filter((condition) => condition.blocks.length > 0);
  if (timed.length === 0) return null;
  const names = [...new Set(timed.flatMap((condition) => condition.blocks.map((block) => block.block)))];
  const cell = (/** @type {ConditionSummary} */ condition, /** @type {string} */ name) => {
    const block = condition.blocks.find((each) => each.block === name);
    if (!block || block.ms.value === null) return "–";
    return formatDuration(block.ms.value, locale) + (block.peak_bytes.value === null ? "" : `, ${formatBytes(block.peak_bytes.value, locale)}`);
  };
  return h(
    "div",
    { class: "patchbay-measure-scroll" },
    h(
      "table",
      { class: "patchbay-measure-table" },
      h("thead", {}, h("tr", {}, h("th", {}, t("figure.block")), ...timed.map((condition) => h("th", { scope: "col" }, foreignText(plainText(condition.label, 60)))))),
      h("tbody", {}, ...names.slice(0, 400).map((name) => h("tr", {}, h("th", { scope: "row" }, foreignText(plainText(name, 60))), ...timed.map((condition) => h("td", {}, cell(condition, name)))))),
    ),
  );
}

/** Figures without a value, by their reason. @param {ConditionSummary[]} conditions @param {Language} language */
function missing(conditions, { t }) {
  /** @type {Map<string, Set<string>>} */
  const byReason = new Map();
  for (const condition of conditions) {
    for (const name of MEMORY) {
      const figure = condition.memory[name];
      if (figure.value === null) byReason.set(figure.reason, (byReason.get(figure.reason) ?? new Set()).add(t(`figure.${name}`)));
    }
  }
  if (byReason.size === 0) return null;
  const items = [...byReason].map(([reason, names]) => h("li", {}, `${[...names].join(", ")}: `, foreignText(plainText(reason, 300))));
  return fold("missing", t("measure.missing"), h("ul", {}, ...items));
}

/** @param {Measurement} measurement @param {Language} language */
function notes(measurement, { t, locale }) {
  const context = Object.entries(measurement.context ?? {}).filter(([name, value]) => name !== "conditions" && typeof value !== "object");
  const own = Object.entries(/** @type {Record<string, Record<string, unknown>>} */ (measurement.context?.conditions ?? {}));
  const lines = [
    ...measurement.notes.map((note) => reportWords(note, locale)),
    ...context.map(([name, value]) => `${name}: ${value}`),
    ...own.map(([label, facts]) => `${label}: ${Object.entries(facts).map(([name, value]) => `${name} ${value}`).join(", ")}`),
  ];
  if (lines.length === 0) return null;
  return fold("notes", t("measure.notes"), h("ul", {}, ...lines.slice(0, 60).map((line) => h("li", {}, foreignText(plainText(line, 400))))));
}

/** @param {string} title @param {...(Node | null)} children */
const section = (title, ...children) => h("section", { class: "patchbay-measure-section" }, h("h4", {}, title), ...children);

/** @param {string} name @param {string} title @param {...(Node | null)} children */
const fold = (name, title, ...children) => h("details", { class: "patchbay-fold patchbay-measure-fold", "data-fold": name }, h("summary", {}, title), ...children);
