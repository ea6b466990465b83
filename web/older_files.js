/** Widgets that came later: workflows saved before them go on with what they gave, new nodes begin with the default. */

import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "SemanticEdit.OlderFiles",
  loadedGraphNode: keepOlderValues,
});

/** Set what a node's file did not hold yet; of a subgraph, what its nodes did not. */
function keepOlderValues(node) {
  node.subgraph?.nodes?.forEach(keepOlderValues); // ComfyUI asks for the nodes of the sheet only
  const { required = {}, optional = {} } = node.constructor?.nodeData?.input ?? {};
  if (!/^SemanticEdit/.test(node.comfyClass ?? node.type ?? "") || !Array.isArray(node.widgets_values)) return;
  for (const [name, spec] of Object.entries({ ...required, ...optional })) {
    const older = spec[1]?.value_in_older_files;
    const index = (node.widgets ?? []).findIndex((widget) => widget.name === name);
    if (older !== undefined && index >= node.widgets_values.length) node.widgets[index].value = older;
  }
}
