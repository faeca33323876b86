// Written by `python -m tools.web_parts`: what each part is made of, so that it is asked for at once.

export const PARTS = {
  host: {
    module: "./comfyui/panel_host.mjs",
    styles: ["panel"],
    files: ["./comfyui/canvas_watch.mjs", "./comfyui/compact.mjs", "./comfyui/history.mjs", "./comfyui/links.mjs", "./comfyui/origins.mjs", "./comfyui/page_language.mjs", "./comfyui/panel_host.mjs", "./comfyui/run_inputs.mjs", "./ui/format.mjs", "./words/i18n.mjs", "./words/strings.mjs", "./words/strings_editor.mjs", "./words/strings_grid.mjs", "./words/strings_measure.mjs", "./words/strings_panel.mjs", "./words/strings_rows.mjs", "./words/strings_shift.mjs", "./words/strings_sweep.mjs", "./words/strings_workbench.mjs"],
  },
  report: {
    module: "./report/widget.mjs",
    styles: ["panel", "report_card", "workbench"],
    files: ["./report/bar_strip.mjs", "./report/block_strip.mjs", "./report/blocks.mjs", "./report/card.mjs", "./report/file_facts.mjs", "./report/found.mjs", "./report/layer_table.mjs", "./report/rank_curves.mjs", "./report/sizes.mjs", "./report/two_files.mjs", "./report/unapplied.mjs", "./report/widget.mjs", "./ui/alike.mjs", "./ui/dom.mjs", "./ui/format.mjs", "./ui/icons.mjs", "./ui/save_file.mjs", "./ui/scale.mjs", "./words/i18n.mjs", "./words/report_words.mjs", "./words/strings.mjs", "./words/strings_editor.mjs", "./words/strings_grid.mjs", "./words/strings_measure.mjs", "./words/strings_panel.mjs", "./words/strings_report.mjs", "./words/strings_rows.mjs", "./words/strings_shift.mjs", "./words/strings_sweep.mjs", "./words/strings_workbench.mjs"],
  },
  editor: {
    module: "./editor/widget.mjs",
    styles: ["panel", "strength_editor", "strength_hand"],
    files: ["./comfyui/canvas_watch.mjs", "./comfyui/editor.mjs", "./comfyui/follow.mjs", "./comfyui/links.mjs", "./comfyui/origins.mjs", "./editor/base.mjs", "./editor/edit.mjs", "./editor/input.mjs", "./editor/layout.mjs", "./editor/memory.mjs", "./editor/preset_menu.mjs", "./editor/sentences.mjs", "./editor/sources.mjs", "./editor/state.mjs", "./editor/table.mjs", "./editor/text.mjs", "./editor/view.mjs", "./editor/widget.mjs", "./report/bar_strip.mjs", "./report/block_strip.mjs", "./report/blocks.mjs", "./report/card.mjs", "./report/file_facts.mjs", "./report/found.mjs", "./report/layer_table.mjs", "./report/rank_curves.mjs", "./report/sizes.mjs", "./report/two_files.mjs", "./report/unapplied.mjs", "./report/widget.mjs", "./ui/alike.mjs", "./ui/dom.mjs", "./ui/format.mjs", "./ui/icons.mjs", "./ui/menu.mjs", "./ui/save_file.mjs", "./ui/scale.mjs", "./ui/wheel.mjs", "./words/i18n.mjs", "./words/report_words.mjs", "./words/strings.mjs", "./words/strings_editor.mjs", "./words/strings_grid.mjs", "./words/strings_measure.mjs", "./words/strings_panel.mjs", "./words/strings_report.mjs", "./words/strings_rows.mjs", "./words/strings_shift.mjs", "./words/strings_sweep.mjs", "./words/strings_workbench.mjs"],
  },
  rows: {
    module: "./rows/widget.mjs",
    styles: ["panel", "report_card", "strength_editor", "strength_hand", "rows", "picker"],
    files: ["./comfyui/canvas_watch.mjs", "./comfyui/compact.mjs", "./comfyui/editor.mjs", "./comfyui/follow.mjs", "./comfyui/history.mjs", "./comfyui/links.mjs", "./comfyui/origins.mjs", "./comfyui/page_language.mjs", "./comfyui/panel_host.mjs", "./comfyui/run_inputs.mjs", "./editor/base.mjs", "./editor/edit.mjs", "./editor/input.mjs", "./editor/layout.mjs", "./editor/memory.mjs", "./editor/preset_menu.mjs", "./editor/sentences.mjs", "./editor/sources.mjs", "./editor/state.mjs", "./editor/table.mjs", "./editor/text.mjs", "./editor/view.mjs", "./editor/widget.mjs", "./picker/list.mjs", "./picker/match.mjs", "./picker/picker.mjs", "./report/bar_strip.mjs", "./report/block_strip.mjs", "./report/blocks.mjs", "./report/card.mjs", "./report/file_facts.mjs", "./report/found.mjs", "./report/layer_table.mjs", "./report/rank_curves.mjs", "./report/sizes.mjs", "./report/two_files.mjs", "./report/unapplied.mjs", "./report/widget.mjs", "./rows/facts.mjs", "./rows/hand.mjs", "./rows/model.mjs", "./rows/note_dialog.mjs", "./rows/note_store.mjs", "./rows/notes.mjs", "./rows/parts.mjs", "./rows/row_menu.mjs", "./rows/sources.mjs", "./rows/view.mjs", "./rows/widget.mjs", "./ui/alike.mjs", "./ui/dom.mjs", "./ui/format.mjs", "./ui/icons.mjs", "./ui/menu.mjs", "./ui/save_file.mjs", "./ui/scale.mjs", "./ui/wheel.mjs", "./words/i18n.mjs", "./words/report_words.mjs", "./words/strings.mjs", "./words/strings_editor.mjs", "./words/strings_grid.mjs", "./words/strings_measure.mjs", "./words/strings_panel.mjs", "./words/strings_report.mjs", "./words/strings_rows.mjs", "./words/strings_shift.mjs", "./words/strings_sweep.mjs", "./words/strings_workbench.mjs"],
  },
  pill: {
    module: "./rows/pill.mjs",
    styles: [],
    files: ["./comfyui/canvas_watch.mjs", "./comfyui/editor.mjs", "./comfyui/links.mjs", "./comfyui/origins.mjs", "./comfyui/page_language.mjs", "./rows/facts.mjs", "./rows/pill.mjs", "./ui/format.mjs", "./words/i18n.mjs", "./words/strings.mjs", "./words/strings_editor.mjs", "./words/strings_grid.mjs", "./words/strings_measure.mjs", "./words/strings_panel.mjs", "./words/strings_rows.mjs", "./words/strings_shift.mjs", "./words/strings_sweep.mjs", "./words/strings_workbench.mjs"],
  },
  compare: {
    module: "./compare/widget.mjs",
    styles: ["panel", "compare"],
    files: ["./comfyui/canvas_watch.mjs", "./compare/input.mjs", "./compare/state.mjs", "./compare/text.mjs", "./compare/view.mjs", "./compare/widget.mjs", "./ui/alike.mjs", "./ui/dom.mjs", "./ui/format.mjs"],
  },
  grid: {
    module: "./grid/widget.mjs",
    styles: ["panel", "report_card", "grid"],
    files: ["./comfyui/arrivals.mjs", "./comfyui/editor.mjs", "./comfyui/links.mjs", "./comfyui/origins.mjs", "./grid/large.mjs", "./grid/model.mjs", "./grid/targets.mjs", "./grid/view.mjs", "./grid/widget.mjs", "./grid/zoom.mjs", "./ui/alike.mjs", "./ui/dom.mjs", "./ui/format.mjs", "./ui/icons.mjs", "./ui/menu.mjs", "./ui/wheel.mjs", "./words/report_words.mjs", "./words/strings_report.mjs"],
  },
  measure: {
    module: "./measure/widget.mjs",
    styles: ["panel", "report_card", "measure"],
    files: ["./measure/charts.mjs", "./measure/view.mjs", "./measure/widget.mjs", "./ui/alike.mjs", "./ui/dom.mjs", "./ui/format.mjs", "./ui/icons.mjs", "./ui/wheel.mjs", "./words/report_words.mjs", "./words/strings_report.mjs"],
  },
  shift: {
    module: "./shift/widget.mjs",
    styles: ["panel", "report_card", "shift", "fit"],
    files: ["./report/blocks.mjs", "./shift/charts.mjs", "./shift/detail.mjs", "./shift/fit_view.mjs", "./shift/model.mjs", "./shift/panel.mjs", "./shift/parts.mjs", "./shift/tracks.mjs", "./shift/view.mjs", "./shift/widget.mjs", "./ui/alike.mjs", "./ui/dom.mjs", "./ui/format.mjs", "./ui/icons.mjs", "./ui/save_file.mjs", "./ui/wheel.mjs", "./words/report_words.mjs", "./words/strings_report.mjs"],
  },
  sweep: {
    module: "./sweep/widget.mjs",
    styles: ["panel", "report_card", "shift", "fit", "sweep"],
    files: ["./report/blocks.mjs", "./shift/charts.mjs", "./shift/model.mjs", "./shift/panel.mjs", "./shift/parts.mjs", "./sweep/model.mjs", "./sweep/view.mjs", "./sweep/widget.mjs", "./ui/alike.mjs", "./ui/dom.mjs", "./ui/format.mjs", "./ui/icons.mjs", "./ui/save_file.mjs", "./ui/wheel.mjs", "./words/report_words.mjs", "./words/strings_report.mjs"],
  },
  side_bar: {
    module: "./side_bar/extension.mjs",
    styles: ["panel", "report_card", "workbench", "strength_editor", "measure", "map", "sidebar", "lora_card"],
    files: ["./comfyui/canvas_watch.mjs", "./comfyui/compact.mjs", "./comfyui/help_dialog.mjs", "./comfyui/history.mjs", "./comfyui/links.mjs", "./comfyui/origins.mjs", "./comfyui/page_language.mjs", "./comfyui/panel_host.mjs", "./comfyui/run_inputs.mjs", "./map/columns.mjs", "./map/diff.mjs", "./map/encoders.mjs", "./map/export.mjs", "./map/figures.mjs", "./map/legend.mjs", "./map/model.mjs", "./map/scale.mjs", "./map/status.mjs", "./map/svg.mjs", "./map/svg_cell.mjs", "./map/svg_legend.mjs", "./map/table.mjs", "./map/tip.mjs", "./map/view.mjs", "./map/words.mjs", "./measure/block_figures.mjs", "./measure/charts.mjs", "./measure/view.mjs", "./report/bar_strip.mjs", "./report/block_strip.mjs", "./report/blocks.mjs", "./report/card.mjs", "./report/file_facts.mjs", "./report/found.mjs", "./report/layer_table.mjs", "./report/rank_curves.mjs", "./report/sizes.mjs", "./report/two_files.mjs", "./report/unapplied.mjs", "./report/widget.mjs", "./side_bar/extension.mjs", "./side_bar/file_norms.mjs", "./side_bar/host.mjs", "./side_bar/lora_card.mjs", "./side_bar/lora_dialog.mjs", "./side_bar/lora_names.mjs", "./side_bar/panel.mjs", "./side_bar/progress.mjs", "./side_bar/sources.mjs", "./side_bar/view.mjs", "./ui/alike.mjs", "./ui/dom.mjs", "./ui/format.mjs", "./ui/help_page.mjs", "./ui/icons.mjs", "./ui/owner_colours.mjs", "./ui/save_file.mjs", "./ui/scale.mjs", "./ui/svg_text.mjs", "./words/i18n.mjs", "./words/report_words.mjs", "./words/strings.mjs", "./words/strings_editor.mjs", "./words/strings_grid.mjs", "./words/strings_measure.mjs", "./words/strings_panel.mjs", "./words/strings_report.mjs", "./words/strings_rows.mjs", "./words/strings_shift.mjs", "./words/strings_sweep.mjs", "./words/strings_workbench.mjs"],
  },
};
