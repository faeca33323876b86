/**
 * The few members of the ComfyUI frontend that the pack uses; everything else is off limits. What is not in every version
 * since 1.39 is optional. `tests/unit/js/published` compares them with the types that the frontend publishes.
 */

export interface ComfyApp {
  registerExtension(extension: ComfyExtension): void;
  readonly nodeOutputs: Record<string, NodeOutput> | undefined;
  readonly rootGraph: ComfyGraph | undefined;
  readonly canvas: ComfyCanvas;
  queuePrompt(number: number, batchCount?: number): Promise<boolean>;
  readonly extensionManager: ComfyExtensionManager;
  readonly ui?: { settings?: { addEventListener?(type: string, listener: () => void): void } };
}

declare global {
  interface Window {
    /** What the frontend gives to extensions; /scripts/app.js hands on the same. */
    comfyAPI: { app: { app: ComfyApp }; api: { api: ComfyApi } };
  }
}

export interface ComfyCanvas {
  /** The last that is drawn of a frame. */
  onDrawOverlay?: (context: CanvasRenderingContext2D) => void;
  processMouseWheel(event: WheelEvent): void;
  /** The element, and what of the graph it shows. */
  readonly canvas: HTMLCanvasElement;
  readonly ds: { scale: number; offset: any };
  setDirty(foreground: boolean, background?: boolean): void;
  selectedItems?: Set<unknown>;
  graph?: ComfyGraph | null;
  setGraph?(graph: ComfyGraph): void;
  centerOnNode?(node: ComfyNode): void;
  selectNode?(node: ComfyNode): void;
  /** Between the two lies one step of undo. */
  emitBeforeChange?(): void;
  emitAfterChange?(): void;
}

export interface ComfyExtensionManager {
  setting: { get(id: string): unknown };
  registerSidebarTab?(tab: ComfySidebarTab): void;
  unregisterSidebarTab?(id: string): void;
  sidebarTab?: { activeSidebarTabId?: string | null; toggleSidebarTab?(id: string): void };
  command?: { execute(id: string): unknown };
  dialog?: {
    prompt(options: { title: string; message: string; defaultValue?: string }): Promise<string | null>;
    confirm(options: { title: string; message: string }): Promise<boolean | null>;
  };
  toast?: { add(message: { severity: "info" | "success" | "warn" | "error"; summary: string; detail?: string; life?: number }): void };
}

export interface ComfySidebarTab {
  id: string;
  icon: string;
  title: string;
  tooltip: string;
  type: "custom";
  render(element: HTMLElement): void;
  destroy?(): void;
}

export interface ComfyApi {
  apiURL(route: string): string;
  fetchApi(route: string, init?: RequestInit): Promise<Response>;
  addEventListener(type: string, listener: (event: CustomEvent) => void): void;
}

export interface ComfyGraph {
  extra?: any;
  id?: string;
  isRootGraph?: boolean;
  nodes?: ComfyNode[];
  getNodeById?(id: number | string): ComfyNode | null;
  /** Only on the root graph. */
  subgraphs?: Map<string, ComfyGraph>;
}

/** What `execute` returned as `ui`. Every value is a list. */
export type NodeOutput = Record<string, unknown>;

export interface ComfyNodeDefinition {
  name: string;
  /** Types of the outputs, in order. A combo is a list. */
  output?: (string | string[])[];
}

export interface ComfyWidget {
  name?: string;
  type?: string;
  value?: unknown;
}

export interface ComfyNode {
  id: number | string;
  comfyClass?: string;
  title?: string;
  /** 0 always, 2 muted, 4 bypassed. */
  mode?: number;
  widgets?: ComfyWidget[];
  inputs?: { name?: string; type?: unknown }[];
  graph?: ComfyGraph | null;
  /** What a subgraph node stands for. */
  subgraph?: ComfyGraph;
  size: ArrayLike<number>;
  setSize(size: [number, number]): void;
  computeSize(): ArrayLike<number>;
  removeWidget?(widget: DomWidget): void;
  onExecuted?(output: NodeOutput): void;
  onRemoved?(): void;
  onSerialize?(stored: { size?: ArrayLike<number> }): void;
}

/** What the frontend adds to every node when it starts, without saying so in its published types. */
export interface DomNode extends ComfyNode {
  addDOMWidget(name: string, type: string, element: HTMLElement, options: DomWidgetOptions): DomWidget;
}

export interface DomWidgetOptions {
  serialize?: boolean;
  hideOnZoom?: boolean;
  hideInPanel?: boolean;
  margin?: number;
  getMinHeight?(): number;
  getHeight?(): number | string;
}

export interface DomWidget {
  name: string;
  serialize?: boolean;
}

export interface ComfySetting {
  id: string;
  category: string[];
  name: string;
  tooltip?: string;
  type: "boolean" | "combo";
  defaultValue: boolean | string;
  options?: { text: string; value: string }[];
  onChange?(value: unknown): void;
}

/** An entry of a right-click menu. */
export interface ComfyMenuItem {
  content: string;
  callback?(): void;
  submenu?: { options: ComfyMenuItem[] };
}

export interface ComfyCommand {
  id: string;
  label: string;
  icon?: string;
  function(): void | Promise<void>;
}

export interface ComfyKeybinding {
  commandId: string;
  combo: { key: string; alt?: boolean; ctrl?: boolean; shift?: boolean };
}

/** A workflow as it is stored, as far as the pack looks. */
export interface StoredWorkflow {
  nodes?: { type?: string }[];
  definitions?: { subgraphs?: { nodes?: { type?: string }[] }[] };
}

export interface ComfyExtension {
  name: string;
  commands?: ComfyCommand[];
  keybindings?: ComfyKeybinding[];
  menuCommands?: { path: string[]; commands: string[] }[];
  getNodeMenuItems?(node: ComfyNode): (ComfyMenuItem | null)[];
  refreshComboInNodes?(): void | Promise<void>;
  settings?: ComfySetting[];
  aboutPageBadges?: { label: string; url: string; icon: string }[];
  setup?(): void | Promise<void>;
  beforeRegisterNodeDef?(nodeType: unknown, definition: ComfyNodeDefinition): void | Promise<void>;
  /** A workflow is about to be opened. */
  beforeConfigureGraph?(workflow: StoredWorkflow): void | Promise<void>;
  nodeCreated?(node: ComfyNode): void;
  /** A node that a workflow brought, once it is as the workflow says. */
  loadedGraphNode?(node: ComfyNode): void;
  afterConfigureGraph?(): void | Promise<void>;
  onNodeOutputsUpdated?(outputs: Record<string, NodeOutput>): void;
}
