// Found by `rootDirs` in jsconfig.json in the place of ComfyUI's own /scripts/api.js.
export const api: import("../app").ComfyApi;
