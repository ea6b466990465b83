/** What every widget needs of ComfyUI: a place on its node, the node's other values, and what the node has shown. */

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const PREFIX = "semantic_edit_";

/**
 * Registers a widget for a node type.
 * @param {string} name of the extension.
 * @param {string} nodeType the node's id.
 * @param {(node: object) => object} build returns { element, height, shown?(values), changed?() }.
 */
export function register(name, nodeType, build) {
  app.registerExtension({
    name: `SemanticEdit.${name}`,
    nodeCreated(node) {
      if (node.comfyClass !== nodeType) return;
      attach(node, name, build(node));
    },
    // Values are in place only now, and pictures of an earlier run may be there, too.
    loadedGraphNode(node) {
      node.semanticEdit?.changed?.();
      requestAnimationFrame(() => restore(node));
    },
  });
}

function attach(node, name, part) {
  node.semanticEdit = part;
  const widget = node.addDOMWidget(`${PREFIX}${name}`, "semantic_edit", part.element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => part.height,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false; // it holds nothing: values live in the node's own inputs
  part.element.style.minHeight = `${part.height}px`;
  for (const other of node.widgets ?? []) if (other !== widget) listen(other, () => node.semanticEditBusy || part.changed?.());
  let height = 0; // before previews made the node grow
  const begin = () => (height = node.size[1]);
  api.addEventListener("execution_start", begin);
  after(node, "onExecuted", (output) => {
    part.shown?.(unpacked(output));
    if (part.ownPicture) requestAnimationFrame(() => dropPreview(node, height));
  });
  after(node, "onConnectionsChange", () => part.changed?.());
  after(node, "onRemoved", () => api.removeEventListener("execution_start", begin));
  const needed = node.computeSize?.();
  if (needed) node.setSize([Math.max(node.size[0], 320), Math.max(node.size[1], needed[1])]);
  part.changed?.();
}

/** The preview of the last step would stay below a widget that shows the finished picture itself. */
function dropPreview(node, height) {
  node.imgs = undefined;
  if (app.nodePreviewImages) delete app.nodePreviewImages[node.id];
  const left = node.widgets?.findIndex((widget) => widget.name === "$$canvas-image-preview") ?? -1;
  if (left >= 0) {
    node.widgets[left].onRemove?.();
    node.widgets.splice(left, 1);
  }
  if (height) node.setSize([node.size[0], height]);
  node.setDirtyCanvas?.(true, true);
}

/** Shows again what the node has shown in this session, after the graph was left and opened again. */
function restore(node) {
  const output = app.nodeOutputs?.[node.id];
  if (output) node.semanticEdit?.shown?.(unpacked(output));
}

function after(node, name, action) {
  const before = node[name];
  node[name] = function (...values) {
    const result = before?.apply(this, values);
    action(...values);
    return result;
  };
}

function listen(widget, action) {
  const before = widget.callback;
  widget.callback = function (...values) {
    const result = before?.apply(this, values);
    action();
    return result;
  };
  // A text area tells its callback only when it is left.
  const area = widget.inputEl ?? widget.element;
  area?.addEventListener?.("input", () => requestAnimationFrame(action));
}

function unpacked(output) {
  const own = {};
  for (const [key, value] of Object.entries(output ?? {})) if (key.startsWith(PREFIX)) own[key.slice(PREFIX.length)] = value;
  return own;
}

/** The address of a picture that a node has shown. */
export function pictureUrl({ filename, subfolder = "", type = "temp" }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

export function inputWidget(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

export function valueOf(node, name, otherwise = "") {
  return inputWidget(node, name)?.value ?? otherwise;
}

/** Writes values into the node's own inputs, and tells ComfyUI, so that they are saved and can be undone. */
export function setValues(node, values) {
  node.semanticEditBusy = true; // callbacks of half the values are no change yet
  for (const [name, value] of Object.entries(values)) {
    const widget = inputWidget(node, name);
    if (!widget || widget.value === value) continue;
    widget.value = value;
    widget.callback?.(value);
  }
  node.semanticEditBusy = false;
  touched(node);
}

/** Remembers something about the view in the workflow, beside the values. */
export function remember(node, name, value) {
  node.properties ??= {};
  node.properties[PREFIX + name] = value;
}

export function recall(node, name, otherwise = null) {
  return node.properties?.[PREFIX + name] ?? otherwise;
}

/** True when an input comes by wire, so that the widget's own value does not count. */
export function isWired(node, name) {
  const slot = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  if (slot < 0) return false;
  return node.isInputConnected ? node.isInputConnected(slot) : node.inputs[slot].link != null;
}

export async function fetchJson(path) {
  const answer = await api.fetchApi(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

export function apiUrl(path) {
  return api.apiURL(path);
}

function touched(node) {
  node.setDirtyCanvas?.(true, true);
  try {
    app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.checkState?.();
  } catch {
    // Only the undo list of the graph misses this step.
  }
}
