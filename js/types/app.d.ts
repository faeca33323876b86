/** The few members of the ComfyUI frontend that the pack uses (seen in 1.47.12). Everything else is off limits. */

export interface ComfyApp {
  registerExtension(extension: ComfyExtension): void;
  readonly nodeOutputs: Record<string, NodeOutput> | undefined;
  readonly rootGraph: ComfyGraph | undefined;
  readonly canvas: { processMouseWheel(event: WheelEvent): void; setDirty(foreground: boolean, background?: boolean): void };
  readonly extensionManager: { setting: { get(id: string): unknown } };
  readonly ui?: { settings?: { addEventListener?(type: string, listener: () => void): void } };
}

export interface ComfyApi {
  apiURL(route: string): string;
  fetchApi(route: string): Promise<Response>;
}

export interface ComfyGraph {
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

export interface ComfyNode {
  id: number | string;
  comfyClass?: string;
  graph?: ComfyGraph | null;
  /** What a subgraph node stands for. */
  subgraph?: ComfyGraph;
  size: ArrayLike<number>;
  setSize(size: [number, number]): void;
  computeSize(): ArrayLike<number>;
  removeWidget?(widget: DomWidget): void;
  addDOMWidget(name: string, type: string, element: HTMLElement, options: DomWidgetOptions): DomWidget;
  onExecuted?: (this: ComfyNode, output: NodeOutput) => void;
  onRemoved?: (this: ComfyNode) => void;
}

export interface DomWidgetOptions {
  serialize?: boolean;
  hideOnZoom?: boolean;
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

export interface ComfyExtension {
  name: string;
  settings?: ComfySetting[];
  aboutPageBadges?: { label: string; url: string; icon: string }[];
  setup?(): void | Promise<void>;
  beforeRegisterNodeDef?(nodeType: unknown, definition: ComfyNodeDefinition): void | Promise<void>;
  nodeCreated?(node: ComfyNode): void;
  afterConfigureGraph?(): void | Promise<void>;
  onNodeOutputsUpdated?(outputs: Record<string, NodeOutput>): void;
}
