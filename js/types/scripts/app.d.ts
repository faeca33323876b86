// Found by `rootDirs` in jsconfig.json in the place of ComfyUI's own /scripts/app.js.
export const app: import("../app").ComfyApp;
