// The side bar: which report, what of it, the map, a block's layers, what did not land. `state -> elements`.

import { foreignText, h } from "../ui/dom.mjs";
import { formatCount, plainText } from "../ui/format.mjs";
import { levelIcon, panelIcon } from "../ui/icons.mjs";
import { unappliedByReason } from "../report/blocks.mjs";
import { renderLegend, renderOwners } from "../map/legend.mjs";
import { SCALES } from "../map/scale.mjs";
import { renderBlockTable } from "../map/table.mjs";
import { renderMap } from "../map/view.mjs";
import { groupTitle, rowName } from "../map/words.mjs";
import { drawsWholeBlocks, VIEWS } from "../map/figures.mjs";
import { coverage, counts, subjectFacts } from "../report/card.mjs";
import { measurementView } from "../measure/view.mjs";
import { reportWords } from "../words/report_words.mjs";
import { renderUnapplied } from "../report/unapplied.mjs";

/**
 * @typedef {import("../../types/report").Report} Report
 * @typedef {import("../../types/map").ModelMap} ModelMap
 * @typedef {import("../../types/map").MapView} MapView
 * @typedef {import("../../types/map").MetricId} MetricId
 * @typedef {import("../words/i18n.mjs").Language} Language
 * @typedef {import("./sources.mjs").Source} Source
 *
 * @typedef {object} PanelState
 * @property {Language} language
 * @property {Source | null} shown
 * @property {Source[]} sources
 * @property {boolean} follow
 * @property {MapView} view
 * @property {MetricId} metric
 * @property {MetricId[]} metrics that the report has figures for
 * @property {ReturnType<typeof import("./sources.mjs").comparable>} others what the report can be compared with
 * @property {string} compare id of the other report, or empty
 * @property {{map: ModelMap, other: ModelMap | null, difference: ModelMap | null} | null} maps
 * @property {string | null} owner shown alone
 * @property {ModelMap | null} wholeMap of all owners
 * @property {string | null} block whose layers are listed
 * @property {Set<string>} open names of unfolded parts
 * @property {boolean} loadedKnown the server has said where weights lie
 * @property {boolean} [waiting] the workflow has nodes that report, but no report yet
 *
 * @typedef {object} PanelActions
 * @property {(key: string) => void} source
 * @property {() => void} follow
 * @property {() => void} goTo
 * @property {() => void} help
 * @property {(view: MapView) => void} view
 * @property {(metric: MetricId) => void} metric
 * @property {(id: string) => void} compare
 * @property {(owner: string | null) => void} owner
 * @property {(address: string | null) => void} block
 * @property {(what: "csv" | "json" | "svg" | "png" | "text" | "block" | "block text") => void} save
 * @property {(name: string, open: boolean) => void} fold
 * @property {import("../map/view.mjs").MapActions["tell"]} tell
 */

/** @param {PanelState} state @param {PanelActions} actions @returns {HTMLElement[]} */
export function renderPanel(state, actions) {
  const { shown, language } = state;
  if (!shown) {
    const help = h("button", { type: "button", class: "patchbay-button patchbay-primary", "data-key": "help", on: { click: actions.help } }, language.t("panel.help"));
    return [h("div", { class: "patchbay-empty" }, h("p", {}, language.t(state.waiting ? "panel.here" : "panel.empty")), help)];
  }
  // What a measuring node found comes before the map of its blocks: it has the verdict.
  const parts = [toolbar(state, actions), head(shown, language), measurement(state), controls(state, actions), picture(state, actions), block(state, actions), missing(state, actions), notes(state, actions)];
  return parts.filter((part) => part !== null);
}

/** @param {PanelState} state @param {PanelActions} actions */
function toolbar({ sources, shown, follow, language: { t } }, actions) {
  const options = sources.map(({ key, title, report }) => option(key, sourceTitle(title, report), key === shown?.key));
  return h(
    "div",
    { class: "patchbay-side-bar" },
    h("select", { class: "patchbay-select patchbay-grow", "aria-label": t("panel.source"), "data-key": "source", on: { change: (/** @type {Event} */ event) => actions.source(valueOf(event)) } }, ...options),
    shown?.nodeId !== undefined && iconButton("goto", t("panel.goto"), actions.goTo),
    iconButton("follow", t("panel.follow.hint"), actions.follow, { "aria-pressed": String(follow) }),
    exportMenu(t, actions),
    iconButton("help", t("panel.help"), actions.help),
  );
}

/** @param {"goto" | "follow" | "help"} name @param {string} label @param {() => void} click @param {import("../ui/dom.mjs").Props} [more] */
const iconButton = (name, label, click, more = {}) =>
  h("button", { type: "button", class: "patchbay-button patchbay-icon-button", title: label, "aria-label": label, "data-key": name, ...more, on: { click } }, panelIcon(name));

/** @param {string} title @param {Report} report */
export const sourceTitle = (title, report) => [plainText(title, 60), plainText(report.lora?.name ?? "", 60).replace(/\.safetensors$/, "")].filter(Boolean).join(" · ");

/** @param {string} value @param {string} text @param {boolean} selected */
const option = (value, text, selected) => h("option", { value, selected }, text);

/** @param {Event} event */
const valueOf = (event) => /** @type {HTMLSelectElement} */ (event.target).value;

/** @param {Language["t"]} t @param {PanelActions} actions */
function exportMenu(t, actions) {
  const items = /** @type {const} */ (["text", "csv", "json", "svg", "png"]).map((what) => {
    const click = (/** @type {Event} */ event) => {
      /** @type {HTMLElement} */ (event.target).closest("details")?.removeAttribute("open");
      actions.save(what);
    };
    return h("button", { type: "button", class: "patchbay-export-item", on: { click } }, t(`panel.export.${what}`));
  });
  const menu = h("details", { class: "patchbay-export" }, h("summary", { class: "patchbay-button patchbay-icon-button", title: t("panel.export"), "aria-label": t("panel.export"), "data-key": "export" }, panelIcon("export")), h("div", { class: "patchbay-export-items" }, ...items));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.hasAttribute("open")) return;
    event.stopPropagation();
    menu.removeAttribute("open");
    menu.querySelector("summary")?.focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(/** @type {Node | null} */ (event.relatedTarget))) menu.removeAttribute("open");
  });
  return menu;
}

/** @param {Source} shown @param {Language} language */
function head({ report, idle, earlier, measurement: measured }, language) {
  const { t, locale } = language;
  // The measurement has a head of its own.
  if (measured) return idle || earlier ? h("section", {}, earlierLine(earlier), idle && h("p", { class: "patchbay-muted" }, t("panel.bypassed"))) : null;
  const level = ["ok", "warning", "error"].includes(report.level) ? report.level : "warning";
  const facts = subjectFacts(report, t, locale);
  return h(
    "section",
    { class: earlier ? "patchbay-side-head patchbay-is-earlier" : "patchbay-side-head" },
    earlierLine(earlier),
    h("div", { class: "patchbay-header" }, h("span", { class: `patchbay-level patchbay-level-${level}` }, levelIcon(level), t(`level.${level}`)), h("span", { class: "patchbay-subject", title: facts.join(" · ") }, foreignText(facts.join(" · ")))),
    h("p", { class: "patchbay-summary" }, foreignText(plainText(reportWords(report.summary, locale), 600))),
    idle && h("p", { class: "patchbay-muted" }, t("panel.bypassed")),
    report.layers.length > 0 && counts(report, language),
    coverage(report, language),
  );
}

/** That the report is not of what is on the canvas. @param {string | undefined} line */
const earlierLine = (line) => (line ? h("p", { class: "patchbay-earlier", role: "status", title: line }, foreignText(line)) : null);

/** @param {PanelState} state @param {PanelActions} actions */
function controls(state, actions) {
  const { shown, language: { t, locale }, others } = state;
  if (!shown || !state.maps) return null;
  const strengths = shown.report.kind !== "inspect" && shown.report.layers.length > 0;
  const views = VIEWS.map((view) => {
    const press = { type: "button", role: "radio", class: "patchbay-segment", "aria-checked": String(state.view === view), title: t(`map.view.${view}.hint`), "data-key": `view ${view}` };
    return h("button", { ...press, tabindex: state.view === view ? 0 : -1, on: { click: () => actions.view(view) } }, t(`map.view.${view}`));
  });
  const group = h("div", { class: "patchbay-segments", role: "radiogroup", "aria-label": t("map.view"), on: { keydown: moveChoice } }, ...views);
  const metrics = state.metrics.map((id) => option(id, t(`metric.${id}`), id === state.metric));
  const compare = [option("", t("map.compare.none"), state.compare === ""), ...others.map(({ id, title, at }) => option(id, title ?? t("map.run", { time: timeText(at, locale) }), id === state.compare))];
  return h(
    "div",
    { class: "patchbay-side-controls" },
    strengths && group,
    state.view !== "resident" && metrics.length > 1 && field(t("map.metric"), "metric", metrics, (value) => actions.metric(/** @type {MetricId} */ (value))),
    others.length > 0 && field(t("map.compare"), "compare", compare, actions.compare),
  );
}

/** @param {string} label @param {string} key @param {HTMLElement[]} options @param {(value: string) => void} change */
const field = (label, key, options, change) =>
  h("label", { class: "patchbay-field" }, h("span", {}, label), h("select", { class: "patchbay-select patchbay-grow", "data-key": key, on: { change: (/** @type {Event} */ event) => change(valueOf(event)) } }, ...options));

/** Arrow keys choose, as in any group of radio buttons. @param {KeyboardEvent} event */
function moveChoice(event) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const target = event.target instanceof HTMLElement ? event.target : null;
  const all = /** @type {HTMLElement[]} */ ([...(target?.parentElement?.querySelectorAll("[role=radio]") ?? [])]);
  const next = step && target ? all[(all.indexOf(target) + step + all.length) % all.length] : null;
  if (!next) return;
  event.preventDefault();
  event.stopPropagation();
  next.focus();
  next.click();
}

/** @param {number | null} at @param {string} locale */
const timeText = (at, locale) => (at ? new Date(at).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }) : "");

/** Name of the shown report, or of the one that it is compared with. @param {PanelState} state @param {string} id */
function titleOf({ shown, others, language: { t, locale } }, id) {
  const other = others.find((each) => each.id === id);
  if (!other) return plainText(shown?.title ?? "", 40);
  return other.title === null ? t("map.run", { time: timeText(other.at, locale) }) : plainText(other.title, 40);
}

/** What is compared, A and B. @param {PanelState} state @returns {[string, string]} */
export const sidesOf = (state) => [state.language.t("map.compare.a", { name: titleOf(state, "") }), state.language.t("map.compare.b", { name: titleOf(state, state.compare) })];

/** The map, or three of them: A, B, and A over B. @param {PanelState} state @param {PanelActions} actions */
function picture(state, actions) {
  const { maps, language, wholeMap, owner, block: selected } = state;
  const { t } = language;
  if (!maps) return null;
  if (maps.map.groups.length === 0) return h("p", { class: "patchbay-muted" }, t("map.nothing"));
  const notLoaded = state.view === "resident" && maps.map.groups.every((group) => group.rows.every((row) => row.value === null));
  if (notLoaded) return h("p", { class: "patchbay-muted", role: "status" }, t(state.loadedKnown ? "map.notLoaded" : "map.asking"));
  const labels = maps.other ? [...sidesOf(state), t("map.compare.difference")] : [t("map.label")];
  const figures = [maps.map, maps.other, maps.difference].map((map, i) => {
    if (!map) return null;
    const label = labels[i] ?? "";
    return h(
      "figure",
      { class: "patchbay-map-figure" },
      caption(map, maps.other ? label : "", state),
      renderMap(map, { language, label, selected }, { open: (address) => actions.block(address === selected ? null : address), tell: actions.tell }),
      (i !== 1) && renderLegend(map, language),
    );
  });
  return h("div", { class: "patchbay-maps" }, wholeMap && state.view !== "resident" && renderOwners(wholeMap, owner, language, actions.owner), h("div", { class: "patchbay-map-figures" }, ...figures));
}

/**
 * Over a map: which of two it is, or the figure of the whole model. Blocks have a figure each, and the model none: there
 * the kind of figure is named, unless the page names it where it is chosen.
 * @param {ModelMap} map
 * @param {string} side name of one of two, or empty
 * @param {PanelState} state
 */
function caption(map, side, { metrics, language: { t, locale } }) {
  const byBlock = drawsWholeBlocks(map);
  if (byBlock && !side && metrics.length > 1) return null;
  const words = side || t(byBlock ? `metric.${map.metric.id}` : "map.whole");
  return h("figcaption", { title: side || null }, foreignText(words), h("strong", {}, map.value === null && byBlock ? "" : SCALES[map.scale].format(map.value, locale)));
}

/** What a measuring node found, as on the node itself. @param {PanelState} state */
const measurement = ({ shown, language }) => (shown?.measurement ? h("div", { class: "patchbay-side-measure" }, measurementView(shown.measurement, language)) : null);

/** @param {PanelState} state @param {PanelActions} actions */
function block({ maps, block: address, language }, actions) {
  const group = maps?.map.groups.find((each) => each.rows.some((row) => row.address === address));
  const row = group?.rows.find((each) => each.address === address);
  if (!group || !row) return null;
  const title = row.address === "" ? groupTitle("", language.t) : rowName(row, language.t);
  return renderBlockTable(title, row.layers, language, { close: () => actions.block(null), copy: () => actions.save("block text"), csv: () => actions.save("block") });
}

/** @param {PanelState} state @param {PanelActions} actions */
function missing({ shown, open, language }, actions) {
  const groups = unappliedByReason(shown?.report.layers ?? []).filter(({ state }) => state !== "skipped");
  const n = groups.reduce((sum, group) => sum + group.count, 0);
  if (n === 0) return null;
  const title = language.t("map.missing", { n: formatCount(n, language.locale) });
  return fold("missing", title, () => renderUnapplied(groups, language), open, actions);
}

/** @param {PanelState} state @param {PanelActions} actions */
function notes({ shown, open, language }, actions) {
  const all = shown?.report.notes ?? [];
  if (all.length === 0 || shown?.measurement) return null;
  const list = () => h("ul", { class: "patchbay-notes" }, ...all.slice(0, 50).map((note) => h("li", {}, foreignText(plainText(reportWords(note, language.locale), 600)))));
  return fold("notes", `${language.t("card.notes")} (${all.length})`, list, open, actions);
}

/**
 * @param {string} name
 * @param {string} title
 * @param {() => HTMLElement} content made when it is needed
 * @param {Set<string>} open
 * @param {PanelActions} actions
 */
function fold(name, title, content, open, actions) {
  const body = h("div", { class: "patchbay-fold-body" });
  const element = h("details", { class: "patchbay-fold", open: open.has(name) }, h("summary", { "data-key": `fold ${name}` }, title), body);
  if (open.has(name)) body.append(content());
  element.addEventListener("toggle", () => {
    if (element.open && !body.firstChild) body.append(content());
    actions.fold(name, element.open);
  });
  return element;
}
