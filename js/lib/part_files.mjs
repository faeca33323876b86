// Written by `python -m tools.web_parts`: what each part is made of, so that it is asked for at once.

export const PARTS = {
  host: {
    module: "./comfyui/panel_host.mjs",
    styles: ["panel"],
    files: "comfyui/canvas_watch comfyui/compact comfyui/history comfyui/links comfyui/origins comfyui/out_of_sight comfyui/page_language comfyui/panel_host comfyui/run_inputs ui/format ui/out_of_sight words/i18n words/strings words/strings_editor words/strings_grid words/strings_measure words/strings_panel words/strings_rows words/strings_shift words/strings_sweep words/strings_workbench",
  },
  report: {
    module: "./report/widget.mjs",
    styles: ["panel", "report_card", "report_layers", "workbench"],
    files: "report/bar_strip report/block_strip report/blocks report/card report/file_facts report/found report/layer_table report/rank_curves report/sizes report/two_files report/unapplied report/widget ui/alike ui/dom ui/format ui/icons ui/out_of_sight ui/save_file ui/scale words/i18n words/report_words words/strings words/strings_editor words/strings_grid words/strings_measure words/strings_panel words/strings_report words/strings_rows words/strings_shift words/strings_sweep words/strings_workbench",
  },
  editor: {
    module: "./editor/widget.mjs",
    styles: ["panel", "strength_editor", "strength_detail", "menu", "strength_hand"],
    files: "comfyui/canvas_watch comfyui/editor comfyui/follow comfyui/links comfyui/origins editor/base editor/edit editor/input editor/layout editor/memory editor/preset_menu editor/sentences editor/sources editor/state editor/table editor/text editor/view editor/widget report/bar_strip report/block_strip report/blocks report/card report/file_facts report/found report/layer_table report/rank_curves report/sizes report/two_files report/unapplied report/widget ui/alike ui/dom ui/format ui/icons ui/menu ui/out_of_sight ui/save_file ui/scale ui/wheel words/i18n words/report_words words/strings words/strings_editor words/strings_grid words/strings_measure words/strings_panel words/strings_report words/strings_rows words/strings_shift words/strings_sweep words/strings_workbench",
  },
  rows: {
    module: "./rows/widget.mjs",
    styles: ["panel", "report_card", "strength_editor", "strength_detail", "menu", "strength_hand", "rows", "picker"],
    files: "comfyui/canvas_watch comfyui/compact comfyui/editor comfyui/follow comfyui/history comfyui/known_models comfyui/links comfyui/origins comfyui/out_of_sight comfyui/page_language comfyui/panel_host comfyui/run_inputs editor/base editor/edit editor/input editor/layout editor/memory editor/preset_menu editor/sentences editor/sources editor/state editor/table editor/text editor/view editor/widget picker/list picker/match picker/picker report/bar_strip report/block_strip report/blocks report/card report/file_facts report/found report/layer_table report/rank_curves report/sizes report/two_files report/unapplied report/widget rows/facts rows/hand rows/model rows/note_dialog rows/note_store rows/notes rows/parts rows/row_menu rows/sources rows/view rows/widget ui/alike ui/dom ui/format ui/icons ui/menu ui/out_of_sight ui/save_file ui/scale ui/wheel words/i18n words/report_words words/strings words/strings_editor words/strings_grid words/strings_measure words/strings_panel words/strings_report words/strings_rows words/strings_shift words/strings_sweep words/strings_workbench",
  },
  pill: {
    module: "./rows/pill.mjs",
    styles: [],
    files: "comfyui/canvas_watch comfyui/editor comfyui/known_models comfyui/links comfyui/origins comfyui/page_language comfyui/run_inputs rows/facts rows/pill ui/format words/i18n words/strings words/strings_editor words/strings_grid words/strings_measure words/strings_panel words/strings_rows words/strings_shift words/strings_sweep words/strings_workbench",
  },
  choose: {
    module: "./rows/choose.mjs",
    styles: ["panel", "report_card", "rows", "picker"],
    files: "comfyui/editor comfyui/known_models comfyui/links comfyui/origins comfyui/page_language comfyui/run_inputs picker/list picker/match picker/picker rows/choose rows/facts rows/model rows/note_store rows/notes rows/sources ui/dom ui/format ui/icons words/i18n words/report_words words/strings words/strings_editor words/strings_grid words/strings_measure words/strings_panel words/strings_report words/strings_rows words/strings_shift words/strings_sweep words/strings_workbench",
  },
  compare: {
    module: "./compare/widget.mjs",
    styles: ["panel", "compare"],
    files: "comfyui/canvas_watch compare/input compare/state compare/text compare/view compare/widget ui/alike ui/dom ui/format",
  },
  grid: {
    module: "./grid/widget.mjs",
    styles: ["panel", "report_card", "arrivals", "menu", "grid"],
    files: "comfyui/arrivals comfyui/editor comfyui/links comfyui/origins grid/large grid/model grid/targets grid/view grid/widget grid/zoom report/arrivals ui/alike ui/dom ui/format ui/icons ui/menu ui/wheel words/report_words words/strings_report",
  },
  measure: {
    module: "./measure/widget.mjs",
    styles: ["panel", "report_card", "measure"],
    files: "measure/charts measure/view measure/widget ui/alike ui/dom ui/format ui/icons ui/out_of_sight ui/wheel words/report_words words/strings_report",
  },
  shift: {
    module: "./shift/widget.mjs",
    styles: ["panel", "report_card", "shift", "shift_measured", "fit"],
    files: "report/blocks shift/charts shift/detail shift/fit_view shift/model shift/panel shift/parts shift/tracks shift/view shift/widget ui/alike ui/dom ui/format ui/icons ui/out_of_sight ui/save_file ui/wheel words/report_words words/strings_report",
  },
  sweep: {
    module: "./sweep/widget.mjs",
    styles: ["panel", "report_card", "arrivals", "shift", "fit", "sweep"],
    files: "comfyui/arrivals report/arrivals report/blocks shift/charts shift/model shift/panel shift/parts sweep/model sweep/view sweep/widget ui/alike ui/dom ui/format ui/icons ui/out_of_sight ui/save_file ui/wheel words/report_words words/strings_report",
  },
  side_bar: {
    module: "./side_bar/extension.mjs",
    styles: ["panel", "report_card", "report_layers", "workbench", "strength_editor", "measure", "map", "map_legend", "sidebar", "lora_card"],
    files: "comfyui/canvas_watch comfyui/compact comfyui/editor comfyui/help_dialog comfyui/history comfyui/links comfyui/origins comfyui/out_of_sight comfyui/page_language comfyui/panel_host comfyui/run_inputs map/columns map/diff map/encoders map/export map/figures map/legend map/model map/scale map/status map/svg map/svg_cell map/svg_legend map/table map/tip map/view map/words measure/block_figures measure/charts measure/view report/bar_strip report/block_strip report/blocks report/card report/file_facts report/found report/layer_table report/rank_curves report/sizes report/two_files report/unapplied report/widget side_bar/extension side_bar/file_norms side_bar/host side_bar/lora_card side_bar/lora_dialog side_bar/lora_names side_bar/panel side_bar/progress side_bar/sources side_bar/view ui/alike ui/dom ui/format ui/help_page ui/icons ui/out_of_sight ui/owner_colours ui/save_file ui/scale ui/svg_text words/i18n words/report_words words/strings words/strings_editor words/strings_grid words/strings_measure words/strings_panel words/strings_report words/strings_rows words/strings_shift words/strings_sweep words/strings_workbench",
  },
};
