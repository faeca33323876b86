// Entry of LoRA Patchbay's web side. ComfyUI imports every .js below this folder: the rest are .mjs.
// This file waits for nothing, and so does ComfyUI's page for us: what it does is in LIBRARY, which comes with the first
// workflow: ahead of it where it has nodes for us, else after it. Fetched sooner, it would hold up what ComfyUI waits for.

/**
 * @typedef {import("./types/app").ComfyExtension} ComfyExtension
 * @typedef {typeof import("./lib/extension.mjs")} Library
 * @typedef {typeof import("./lib/side_bar/extension.mjs")} SideBar
 */

const app = window.comfyAPI.app.app;
const SIDEBAR_ID = "lora-patchbay";
const SIDEBAR_SETTING = "LoraPatchbay.Panel.ShowSidebar";

/** The words of what is there before the library. @type {Record<string, {tooltip: string}>} */
const WORDS = { en: { tooltip: "LoRA Patchbay: which layers were patched" }, ja: { tooltip: "LoRA Patchbay：どの層が変更されたか" } };

/** Names of the nodes with a `PATCHBAY_REPORT` output. @type {Set<string>} */
const reportNodes = new Set();

/** Nodes that a workflow brought, which have a size of their own. @type {WeakSet<object>} */
const restored = new WeakSet();

/** lib/extension.mjs and all that it imports. */
const LIBRARY = "extension comfyui/app comfyui/node_panels parts part_files".split(" ").map((name) => `lib/${name}.mjs`);

/** @type {Library | null} */
let library = null;
/** @type {Promise<Library> | null} */
let loading = null;

/** Asks for all of the library at once, not for one import after the other. */
function loadLibrary() {
  loading ??= (() => {
    for (const file of [...LIBRARY, "../../scripts/api.js", "../../scripts/app.js"]) {
      document.head.append(Object.assign(document.createElement("link"), { rel: "modulepreload", href: new URL(file, import.meta.url).href }));
    }
    return import("./lib/extension.mjs").then((loaded) => (library = loaded));
  })();
  return loading;
}

/** At once where the library is there, else as soon as it is. @param {(loaded: Library) => void} act */
function withLibrary(act) {
  if (library) act(library);
  else void loadLibrary().then(act);
}

/** @param {(loaded: SideBar) => void} act */
const withSideBar = (act) => void loadLibrary().then((loaded) => loaded.sideBar()).then(act);

/** @param {unknown} type of a node, by whatever a workflow says */
const isOurs = (type) => String(type).startsWith("Patchbay");

/** @param {unknown} type */
const hasLora = (type) => /lora/i.test(String(type));

let ready = false;
let registered = false;

/** @param {boolean} wanted */
function showSidebar(wanted) {
  if (!ready || wanted === registered) return;
  registered = wanted;
  const manager = app.extensionManager;
  if (!wanted) return manager.unregisterSidebarTab?.(SIDEBAR_ID);
  const locale = String(manager.setting.get("Comfy.Locale") ?? "en").split("-")[0] ?? "en";
  const { tooltip } = WORDS[locale] ?? WORDS.en ?? { tooltip: "" };
  let shown = false;
  manager.registerSidebarTab?.({
    id: SIDEBAR_ID, icon: "pi pi-sliders-h", title: "Patchbay", tooltip, type: "custom",
    render(element) {
      shown = true;
      withSideBar(({ mountPanel }) => shown && mountPanel(element));
    },
    destroy() {
      shown = false;
      withSideBar(({ unmountPanel }) => shown || unmountPanel());
    },
  });
}

/**
 * @param {string} id
 * @param {string[]} category
 * @param {string} name
 * @param {string} tooltip
 * @param {(wanted: boolean) => void} [onChange]
 * @returns {import("./types/app").ComfySetting}
 */
const toggle = (id, category, name, tooltip, onChange) => ({
  id, category: ["LoRA Patchbay", ...category], name, tooltip, type: "boolean", defaultValue: true,
  onChange: (value) => ready && onChange?.(value !== false),
});

/** Without a listener the frontend complains of a message that nobody knows; side bar and panels have their own. */
for (const message of ["patchbay.progress", "patchbay.picture"]) window.comfyAPI.api.api.addEventListener(message, () => {});

/** @type {ComfyExtension} */
const extension = {
  name: "lora-patchbay.main",
  aboutPageBadges: [{ label: "LoRA Patchbay", url: "https://github.com/lora-patchbay/lora-patchbay", icon: "pi pi-sliders-h" }],
  settings: [
    toggle(SIDEBAR_SETTING, ["Side bar", "Show side bar"], "Show the Patchbay side bar", "A side bar with the map of the model and of what was patched.", showSidebar),
    toggle(
      "LoraPatchbay.Panel.LiveProgress", ["Side bar", "Show progress"], "Show progress in the side bar", "What is running, and how far it is, while a workflow runs.",
      (wanted) => wanted || withSideBar(({ setProgress }) => setProgress(null)),
    ),
    toggle("LoraPatchbay.Panel.LoraMenu", ["Side bar", "LoRA card in menus"], "LoRA card in the right-click menu", "Adds “LoRA card” to the menu of every node that has a LoRA."),
    toggle(
      "LoraPatchbay.Nodes.ShowReportCards", ["Nodes", "Show report cards"], "Show report cards", "A card on each Patchbay node that says what was patched and what was not.",
      (wanted) => withLibrary(({ showCards }) => showCards(wanted)),
    ),
    toggle(
      "LoraPatchbay.Nodes.ShowStrengthEditor", ["Nodes", "Show the strength editor"], "Show the strength editor",
      "Bars for the strength of every block on Apply LoRA and Block Strengths. The text stays authoritative.",
      (wanted) => withLibrary(({ showEditors }) => showEditors(wanted)),
    ),
    {
      id: "LoraPatchbay.Compare.StartMode", category: ["LoRA Patchbay", "Compare viewer", "Start with"], name: "Compare viewer starts with",
      tooltip: "How the two pictures are shown on a new node or after a reload.", type: "combo", defaultValue: "side",
      options: [["side", "Side by side"], ["slider", "Slider"], ["blink", "Blink"], ["difference", "Difference"]].map(([value = "", text = ""]) => ({ value, text })),
    },
    {
      id: "LoraPatchbay.Nodes.ShowVerdicts", category: ["LoRA Patchbay", "Nodes", "Show verdicts on other loaders"], name: "Show verdicts on other loaders",
      tooltip: "Whether the LoRA fits the model, as a badge on ComfyUI's own LoRA loaders and those of other packs.", type: "boolean", defaultValue: false,
      onChange: (value) => ready && withLibrary(({ showVerdicts }) => showVerdicts(value === true)),
    },
  ],
  commands: [
    { id: "Patchbay.ToggleSidebar", label: "Toggle the Patchbay side bar", icon: "pi pi-sliders-h", function: () => app.extensionManager.sidebarTab?.toggleSidebarTab?.(SIDEBAR_ID) },
    { id: "Patchbay.ShowSelected", label: "Show the selected node in Patchbay", icon: "pi pi-sliders-h", function: () => withSideBar(({ showSelected }) => showSelected()) },
    { id: "Patchbay.LoraCard", label: "Show the LoRA card of the selected node", icon: "pi pi-id-card", function: () => withSideBar(({ cardOfSelected }) => cardOfSelected()) },
    { id: "Patchbay.CopyReport", label: "Copy the report that Patchbay shows", icon: "pi pi-copy", function: () => withSideBar(({ copyShown }) => void copyShown()) },
    { id: "Patchbay.Help", label: "How to read the Patchbay side bar", icon: "pi pi-question-circle", function: () => withSideBar(({ openHelp }) => void openHelp()) },
  ],
  // The second of each pair is what the same keys write on a Mac.
  keybindings: [
    { commandId: "Patchbay.ToggleSidebar", combo: { key: "p", alt: true } },
    { commandId: "Patchbay.ToggleSidebar", combo: { key: "π", alt: true } },
    { commandId: "Patchbay.LoraCard", combo: { key: "l", alt: true } },
    { commandId: "Patchbay.LoraCard", combo: { key: "¬", alt: true } },
  ],
  menuCommands: [{ path: ["Extensions", "LoRA Patchbay"], commands: ["Patchbay.ToggleSidebar", "Patchbay.ShowSelected", "Patchbay.LoraCard", "Patchbay.CopyReport", "Patchbay.Help"] }],

  setup() {
    ready = true;
    showSidebar(app.extensionManager.setting.get(SIDEBAR_SETTING) !== false);
    document.addEventListener("pointerdown", () => withLibrary(({ pageIsUsed }) => pageIsUsed()), { once: true, capture: true });
  },

  beforeRegisterNodeDef(_nodeType, definition) {
    if (definition.output?.includes("PATCHBAY_REPORT")) reportNodes.add(definition.name);
  },

  beforeConfigureGraph({ nodes, definitions }) {
    const all = [nodes, ...Object.values(definitions?.subgraphs ?? {}).map((subgraph) => subgraph?.nodes)].flat();
    if (all.some((node) => isOurs(node?.type) || hasLora(node?.type))) void loadLibrary();
  },

  nodeCreated(node) {
    if (isOurs(node.comfyClass)) withLibrary(({ nodeCreated }) => nodeCreated(node, reportNodes, !restored.has(node)));
    else if (hasLora(node.comfyClass)) withLibrary(({ loraIsNear }) => loraIsNear(node));
  },

  loadedGraphNode(node) {
    restored.add(node);
  },

  getNodeMenuItems: (node) => library?.nodeMenuItems(node) ?? [],
  refreshComboInNodes: () => library?.namesRefreshed(),
  onNodeOutputsUpdated: () => library?.outputsUpdated(),
  afterConfigureGraph: () => withLibrary(({ graphConfigured }) => void graphConfigured()),
};

app.registerExtension(extension);
