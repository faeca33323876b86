// Compiles only when the types that the frontend publishes have every member that ours name, and have it so.
// 1.45.6 is the newest package with types in it: 1.53.6, 1.54.7 and 1.55.13 hold nothing but a licence.

import type { ComfyApi, ComfyApp, ComfyExtension, ExtensionManager } from "@comfyorg/comfyui-frontend-types";
import type * as ours from "../../../../js/types/app";
import type * as editor from "../../../../js/types/editor_app";

declare const api: ComfyApi;
declare const app: ComfyApp;
declare const manager: ExtensionManager;
declare const extension: ours.ComfyExtension;
declare function takes<Ours>(theirs: Ours): void;

/** Members of ours that theirs do not name. An optional one would pass as merely absent. */
type Unknown<Ours, Theirs> = Exclude<keyof Ours, keyof Theirs>;
declare function nothing(unknown: never): void;

takes<ours.ComfyApi>(api);
takes<Omit<ours.ComfyApp, "registerExtension">>(app);
takes<ours.ComfyExtensionManager>(manager);
takes<ours.ComfyCanvas>(app.canvas);
takes<ours.ComfyGraph>(app.rootGraph);
takes<ours.ComfyNode>(app.rootGraph.nodes[0]!);
takes<editor.EditorGraph>(app.rootGraph);
takes<editor.EditorNode>(app.rootGraph.nodes[0]!);
// The other way round: what we hand over is what `registerExtension` takes.
takes<ComfyExtension>({ ...extension });

// Three members are there, in every version that we know, but in no published type.
type Node = ComfyApp["rootGraph"]["nodes"][number];
nothing(null! as Unknown<ours.ComfyApi, ComfyApi>);
nothing(null! as Unknown<ours.ComfyApp, ComfyApp>);
nothing(null! as Unknown<Omit<ours.ComfyExtensionManager, "sidebarTab">, ExtensionManager>);
nothing(null! as Unknown<ours.ComfyCanvas, ComfyApp["canvas"]>);
nothing(null! as Unknown<ours.ComfyGraph, ComfyApp["rootGraph"]>);
nothing(null! as Unknown<Omit<ours.ComfyNode, "onExecuted" | "subgraph">, Node>);
nothing(null! as Unknown<ours.ComfyExtension, ComfyExtension>);
