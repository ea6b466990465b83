/** A few words in the corner of the page when one of the Save nodes has written its file: under which name it is found. */

import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "SemanticEdit.Saved",
  nodeCreated(node) {
    if (!/^SemanticEditSave/.test(node.comfyClass ?? "")) return;
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      const result = before?.apply(this, arguments);
      const detail = [output?.text].flat().filter(Boolean).join(" ");
      if (detail) app.extensionManager?.toast?.add?.({ severity: "success", summary: node.title, detail, life: 6000 });
      return result;
    };
  },
});
