// Written by `python -m tools.web_parts`: what each part is made of, so that it is asked for at once.

export const PARTS = {
  host: {
    module: "./comfyui/panel_host.mjs",
    styles: ["panel"],
    files: "comfyui/canvas_watch,compact,history,links,origins,out_of_sight,page_language,panel_host,run_inputs ui/format,out_of_sight words/i18n,strings,strings_editor,strings_grid,strings_measure,strings_panel,strings_rows,strings_shift,strings_sweep,strings_workbench",
  },
  report: {
    module: "./report/widget.mjs",
    styles: ["panel", "report_card", "report_layers", "workbench"],
    files: "report/bar_strip,block_strip,blocks,card,file_facts,found,layer_table,rank_curves,sizes,two_files,unapplied,widget ui/alike,dom,format,icons,out_of_sight,save_file,scale words/i18n,report_words,strings,strings_editor,strings_grid,strings_measure,strings_panel,strings_report,strings_rows,strings_shift,strings_sweep,strings_workbench",
  },
  editor: {
    module: "./editor/widget.mjs",
    styles: ["panel", "strength_editor", "strength_detail", "menu", "strength_hand"],
    files: "comfyui/canvas_watch,editor,follow,links,origins editor/base,edit,input,layout,memory,preset_menu,sentences,sources,state,table,text,view,widget report/bar_strip,block_strip,blocks,card,file_facts,found,layer_table,rank_curves,sizes,two_files,unapplied,widget ui/alike,dom,format,icons,menu,out_of_sight,save_file,scale,wheel words/i18n,report_words,strings,strings_editor,strings_grid,strings_measure,strings_panel,strings_report,strings_rows,strings_shift,strings_sweep,strings_workbench",
  },
  rows: {
    module: "./rows/widget.mjs",
    styles: ["panel", "report_card", "strength_editor", "strength_detail", "menu", "strength_hand", "rows", "picker"],
    files: "comfyui/canvas_watch,compact,editor,follow,history,known_models,links,origins,out_of_sight,page_language,panel_host,run_inputs editor/base,edit,input,layout,memory,preset_menu,sentences,sources,state,table,text,view,widget picker/list,match,picker report/bar_strip,block_strip,blocks,card,file_facts,found,layer_table,rank_curves,sizes,two_files,unapplied,widget rows/facts,hand,model,note_dialog,note_store,notes,parts,row_menu,sources,view,widget ui/alike,dom,format,icons,menu,out_of_sight,save_file,scale,wheel words/i18n,report_words,strings,strings_editor,strings_grid,strings_measure,strings_panel,strings_report,strings_rows,strings_shift,strings_sweep,strings_workbench",
  },
  pill: {
    module: "./rows/pill.mjs",
    styles: [],
    files: "comfyui/canvas_watch,editor,known_models,links,origins,page_language,run_inputs rows/facts,pill ui/format words/i18n,strings,strings_editor,strings_grid,strings_measure,strings_panel,strings_rows,strings_shift,strings_sweep,strings_workbench",
  },
  choose: {
    module: "./rows/choose.mjs",
    styles: ["panel", "report_card", "rows", "picker"],
    files: "comfyui/editor,known_models,links,origins,page_language,run_inputs picker/list,match,picker rows/choose,facts,model,note_store,notes,sources ui/dom,format,icons words/i18n,report_words,strings,strings_editor,strings_grid,strings_measure,strings_panel,strings_report,strings_rows,strings_shift,strings_sweep,strings_workbench",
  },
  compare: {
    module: "./compare/widget.mjs",
    styles: ["panel", "compare"],
    files: "comfyui/canvas_watch compare/input,state,text,view,widget ui/alike,dom,format",
  },
  grid: {
    module: "./grid/widget.mjs",
    styles: ["panel", "report_card", "arrivals", "menu", "grid"],
    files: "comfyui/arrivals,editor,links,origins grid/large,model,targets,view,widget,zoom report/arrivals ui/alike,dom,format,icons,menu,wheel words/report_words,strings_report",
  },
  measure: {
    module: "./measure/widget.mjs",
    styles: ["panel", "report_card", "measure"],
    files: "measure/charts,view,widget ui/alike,dom,format,icons,out_of_sight,wheel words/report_words,strings_report",
  },
  shift: {
    module: "./shift/widget.mjs",
    styles: ["panel", "report_card", "shift", "shift_measured", "fit"],
    files: "report/blocks shift/charts,detail,fit_view,model,panel,parts,tracks,view,widget ui/alike,dom,format,icons,out_of_sight,save_file,wheel words/report_words,strings_report",
  },
  sweep: {
    module: "./sweep/widget.mjs",
    styles: ["panel", "report_card", "arrivals", "shift", "fit", "sweep"],
    files: "comfyui/arrivals report/arrivals,blocks shift/charts,model,panel,parts sweep/model,view,widget ui/alike,dom,format,icons,out_of_sight,save_file,wheel words/report_words,strings_report",
  },
  side_bar: {
    module: "./side_bar/extension.mjs",
    styles: ["panel", "report_card", "report_layers", "workbench", "strength_editor", "measure", "map", "map_legend", "sidebar", "lora_card"],
    files: "comfyui/canvas_watch,compact,editor,help_dialog,history,links,origins,out_of_sight,page_language,panel_host,run_inputs map/columns,diff,encoders,export,figures,legend,model,scale,status,svg,svg_cell,svg_legend,table,tip,view,words measure/block_figures,charts,view report/bar_strip,block_strip,blocks,card,file_facts,found,layer_table,rank_curves,sizes,two_files,unapplied,widget side_bar/extension,file_norms,host,lora_card,lora_dialog,lora_names,panel,progress,sources,view ui/alike,dom,format,help_page,icons,out_of_sight,owner_colours,save_file,scale,svg_text words/i18n,report_words,strings,strings_editor,strings_grid,strings_measure,strings_panel,strings_report,strings_rows,strings_shift,strings_sweep,strings_workbench",
  },
};
