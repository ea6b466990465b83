/** What every widget needs of ComfyUI: a place on its node, the node's other values, and what the node has shown. */

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const PREFIX = "semantic_edit_";

/**
 * Registers a widget for a node type.
 * @param {string} name of the extension.
 * @param {string} nodeType the node's id.
 * @param {(node: object) => object} build returns { element, height, shown?(values), changed?(), ownPicture?, onTop?, undo? }.
 */
export function register(name, nodeType, build) {
  let any = false; // before there are nodes ComfyUI has no graph to ask
  app.registerExtension({
    name: `SemanticEdit.${name}`,
    nodeCreated(node) {
      if (node.comfyClass !== nodeType) return;
      any = true;
      attach(node, name, build(node));
    },
    // Values are in place only now, and pictures of an earlier run may be there, too.
    loadedGraphNode: (node) => node.comfyClass === nodeType && loaded(node),
    // Pictures of a tab that is opened again come after its nodes.
    onNodeOutputsUpdated: () => any && nodesBelow(app.graph).forEach((node) => node.comfyClass === nodeType && restore(node)),
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
  part.widget = widget;
  if (part.onTop) putFirst(node, widget);
  part.element.style.minHeight = `${part.height}px`;
  for (const other of node.widgets ?? []) if (other !== widget) listen(other, () => node.semanticEditBusy || part.changed?.());
  let height = 0; // before previews made the node grow
  // A hook of the node rather than a listener of the page: copies that are never put into a graph are never removed.
  after(node, "onExecutionStart", () => (height = node.size[1]));
  after(node, "onExecuted", (output) => {
    if (fromAnotherTab(node, output)) return;
    show(node, output);
    if (part.ownPicture) requestAnimationFrame(() => dropPreview(node, height));
  });
  after(node, "onConnectionsChange", () => part.changed?.());
  setTimeout(() => takePlace(node), 1000);
  after(node, "onAfterGraphConfigured", () => loaded(node)); // older frontends tell of no node inside a subgraph
  part.changed?.();
  const needed = node.computeSize?.();
  if (needed) node.setSize([Math.max(node.size[0], 320), Math.max(node.size[1], needed[1])]);
}

function putFirst(node, widget) {
  node.widgets.splice(node.widgets.indexOf(widget), 1);
  node.widgets.unshift(widget);
  // ComfyUI saves values by the places of all widgets, and reads them by the places of those that hold any.
  after(node, "onSerialize", (data) => {
    if (data.widgets_values) data.widgets_values = node.widgets.filter((each) => each.serialize !== false).map((each) => each.value);
  });
}

/** Takes a widget out of sight, or brings it back; the node becomes as high as it has to be. */
export function hide(node, widget, hidden) {
  if (!widget || Boolean(widget.hidden) === hidden) return;
  widget.hidden = hidden;
  if (widget.options) widget.options.hidden = hidden; // what the newer renderer reads
  node.widgets.push(node.widgets.pop()); // it looks when the list changes
  if (hidden) widget.computeSize = () => [0, -4]; // the frontend of 0.3.64 leaves room for what is hidden
  else delete widget.computeSize;
  const needed = node.computeSize?.();
  if (needed && needed[1] > node.size[1]) node.setSize([node.size[0], needed[1]]);
  node.setDirtyCanvas?.(true, true);
}

function loaded(node) {
  node.semanticEdit?.undo?.settle();
  node.semanticEdit?.changed?.();
  requestAnimationFrame(() => restore(node));
  for (const wait of [50, 300, 1000]) setTimeout(() => takePlace(node), wait);
}

const elements = new Map(); // the node's number and kind -> the element that was on the page last

/** The newer renderer takes a node that is made anew for the one of its number before, and keeps that one's element. */
function takePlace(node) {
  if (!globalThis.LiteGraph?.vueNodesMode || node.graph?.getNodeById(node.id) !== node) return;
  const { element } = node.semanticEdit;
  const key = [node.graph === node.graph.rootGraph ? "" : node.graph.id, node.id, node.type].join(" ");
  const last = elements.get(key);
  if (last && last !== element && last.isConnected && !element.isConnected) last.replaceWith(element);
  if (element.isConnected) elements.set(key, element);
}

/** The preview of the last step would stay below a widget that shows the finished picture itself. */
function dropPreview(node, height) {
  node.imgs = undefined;
  for (const key of keysOf(node)) if (app.nodePreviewImages) delete app.nodePreviewImages[key];
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
  const output = keysOf(node).map((key) => app.nodeOutputs?.[key]).find(Boolean);
  if (output) show(node, output);
}

function show(node, output) {
  const part = node.semanticEdit;
  const values = unpacked(output);
  if (!part?.shown || !Object.keys(values).length) return;
  part.filled = true;
  part.shown(values);
}

/** True for what a run of another tab has made: older frontends hand it to the node of that number in the tab one looks at. */
function fromAnotherTab(node, output) {
  const { openWorkflows, activeWorkflow } = app.extensionManager?.workflow ?? {};
  const text = JSON.stringify(output);
  const has = (workflow) => keysOf(node).some((key) => JSON.stringify(workflow?.changeTracker?.nodeOutputs?.[key]) === text);
  return !has(activeWorkflow) && Boolean(openWorkflows?.some(has));
}

/**
 * The keys under which ComfyUI may keep what a node has shown. Numbers within a subgraph are its own: there it is the
 * subgraph's id and the node's, and in older frontends also the numbers of the nodes that one has to open on the way.
 */
function keysOf(node) {
  const { graph } = node;
  const root = graph?.rootGraph ?? graph;
  if (!graph || graph === root) return [String(node.id)];
  const keys = [`${graph.id}:${node.id}`];
  const search = (inside, way) => {
    for (const each of inside.nodes ?? []) {
      if (each.subgraph === graph) keys.push(`${way}${each.id}:${node.id}`);
      if (each.subgraph) search(each.subgraph, `${way}${each.id}:`);
    }
  };
  search(root, "");
  return keys;
}

// Of nodes whose results it still has ComfyUI shows nothing, and a page that was opened anew has none of their pictures.
// What they have shown is in the history.
api.addEventListener("execution_cached", ({ detail }) => bringBack(new Set(detail?.nodes)).catch(() => {}));

async function bringBack(cached) {
  const blank = nodesBelow(app.graph).filter((node) => {
    const part = node.semanticEdit;
    const lost = part?.stage?.image && !part.stage.image.hasAttribute("src");
    return part?.shown && (!part.filled || lost) && keysOf(node).some((key) => cached.has(key));
  });
  if (!blank.length) return;
  const runs = Object.values(await fetchJson("/history?max_items=64")).reverse(); // the newest first
  for (const node of blank) {
    const of = ({ prompt, outputs }) => keysOf(node).find((key) => outputs?.[key] && prompt?.[2]?.[key]?.class_type === node.comfyClass);
    const run = runs.find(of);
    if (run) show(node, run.outputs[of(run)]);
  }
}

function nodesBelow(graph) {
  return (graph?.nodes ?? []).flatMap((node) => (node.subgraph ? nodesBelow(node.subgraph) : [node]));
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
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    if (tracker?.captureCanvasState) tracker.captureCanvasState(); // its name since frontend 1.4x
    else tracker?.checkState?.();
  } catch {
    // Only the undo list of the graph misses this step.
  }
}
