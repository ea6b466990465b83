/** Small makers of elements, and the one style sheet of all widgets. */

const STYLE = `
.se-widget { display: flex; flex-direction: column; gap: 6px; box-sizing: border-box; width: 100%; height: 100%;
  min-height: 0; padding: 4px; font: 12px/1.35 system-ui, sans-serif; color: var(--input-text, #ddd);
  overflow: hidden; user-select: none; }
.se-row { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; flex: none; }
.se-widget button, .se-widget select, .se-widget input[type=text], .se-widget input[type=search] {
  font: inherit; color: inherit; background: var(--comfy-input-bg, #222); border: 1px solid var(--border-color, #666);
  border-radius: 5px; padding: 3px 7px; min-height: 24px; box-sizing: border-box; margin: 0; }
.se-widget button { cursor: pointer; }
.se-widget button:hover:not(:disabled) { border-color: #8ab; }
.se-widget button:disabled { opacity: .45; cursor: default; }
.se-widget button[aria-pressed=true], .se-widget button[aria-checked=true] { background: #1f5f99; border-color: #4c9be0;
  color: #fff; }
.se-widget :focus-visible { outline: 2px solid #6db3f2; outline-offset: 1px; }
.se-widget label { display: inline-flex; gap: 4px; align-items: center; }
.se-widget input[type=range] { width: 76px; margin: 0; min-height: 20px; accent-color: #4c9be0; }
.se-status { flex: none; min-height: 16px; color: var(--input-text, #ddd); }
.se-status[data-kind=warning] { color: #ffc46b; }
.se-stage { position: relative; flex: 1 1 0; min-height: 120px; overflow: hidden; border-radius: 6px; touch-action: none;
  background: repeating-conic-gradient(#26282c 0 25%, #2d3035 0 50%) 0 0 / 20px 20px; cursor: crosshair; }
.se-content { position: absolute; left: 0; top: 0; transform-origin: 0 0; }
.se-content > img, .se-content > canvas, .se-content > svg { position: absolute; inset: 0; width: 100%; height: 100%;
  display: block; max-width: none; }
.se-content > img { pointer-events: none; }
.se-content > img:not([src]) { display: none; }
.se-content > canvas { pointer-events: none; opacity: .5; }
.se-content > svg { overflow: visible; pointer-events: none; }
.se-hint { position: absolute; inset: 0; display: flex; align-items: center; justify-content: center; text-align: center;
  padding: 16px; pointer-events: none; }
.se-point { outline: none; }
.se-point:focus-visible > .se-ring { stroke: #ffe66b; stroke-width: 4; }
.se-cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 6px; flex: 1 1 0; min-height: 0;
  overflow-y: auto; grid-auto-rows: max-content; align-content: start; padding: 2px; }
.se-widget .se-card { display: flex; flex-direction: column; gap: 3px; padding: 4px; text-align: center; overflow: hidden;
  align-items: stretch; }
.se-card img { width: 100%; aspect-ratio: 2 / 1; object-fit: cover; flex: none; border-radius: 3px; background: #2d3035; }
.se-card span { flex: none; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.se-scroll { flex: 1 1 0; min-height: 0; overflow: auto; }
.se-table { border-collapse: collapse; width: 100%; }
.se-table th { font-weight: 500; text-align: right; padding: 0 1px; }
.se-table td { padding: 1px; text-align: center; }
.se-table th button { padding: 1px 3px; min-height: 22px; min-width: 20px; }
.se-heat { height: 18px; min-width: 12px; border-radius: 2px; }
.se-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.se-strip { display: flex; gap: 3px; overflow-x: auto; flex: none; }
.se-strip button { padding: 0; width: 40px; height: 40px; flex: none; overflow: hidden; }
.se-note { flex: 1 1 0; min-height: 0; overflow: hidden; line-height: 1.3; outline-offset: -2px; cursor: text; }
.se-note p { margin: 0 0 .5em; overflow-wrap: anywhere; }
.se-note .se-note-title { font-size: 1.4em; font-weight: 700; line-height: 1.15; color: #fff; }
.se-note strong { color: #8fd18f; }
.se-note[hidden], .se-note-area[hidden] { display: none; }
.se-note-area { flex: 1 1 0; min-height: 0; resize: none; font: 16px/1.4 system-ui, sans-serif; color: inherit;
  background: var(--comfy-input-bg, #222); border: 1px solid var(--border-color, #666); }
.se-strip img { width: 100%; height: 100%; object-fit: cover; display: block; }
`;

/** Makes an element: attributes by name, "on..." as listeners, children as nodes or text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children);
  return element;
}

/** The same for SVG. */
export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(element, attributes);
  element.append(...children);
  return element;
}

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === null || value === undefined) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
}

/** A sign such as "+" is read aloud by its title; words are read as they are. */
export function button(text, title, action, attributes = {}) {
  const label = /\p{L}/u.test(text) ? null : title;
  return make("button", { type: "button", title, "aria-label": label, onclick: action, ...attributes }, text);
}

/** A row of buttons of which one is chosen. Arrow keys move the choice; `choose(value)` is called for each. */
export function radioRow(label, entries, choose) {
  const row = make("div", { class: "se-row", role: "radiogroup", "aria-label": label });
  const buttons = new Map();
  row.show = (value) => {
    let any = false;
    for (const [key, each] of buttons) {
      const on = key === value;
      any ||= on;
      set(each, { "aria-checked": String(on), tabindex: on ? "0" : "-1" });
    }
    if (!any && buttons.size) set(buttons.values().next().value, { tabindex: "0" });
  };
  row.fill = (list) => {
    buttons.clear();
    row.replaceChildren(
      ...list.map(([value, text, title]) => {
        const act = () => choose(value);
        const each = make("button", { type: "button", role: "radio", title: title || text, onclick: act }, text);
        buttons.set(value, each);
        return each;
      }),
    );
  };
  row.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const list = [...buttons.keys()];
    const now = [...buttons.values()].indexOf(event.target);
    if (!(event.key in steps) || now < 0) return;
    event.preventDefault();
    const next = (now + steps[event.key] + list.length) % list.length;
    choose(list[next]);
    buttons.get(list[next])?.focus();
  });
  row.fill(entries);
  return row;
}

/** The outer box of a widget: keys and presses inside do not reach the graph behind it. */
export function widgetBox(label) {
  if (!document.getElementById("semantic-edit-style")) {
    document.head.append(make("style", { id: "semantic-edit-style" }, STYLE));
  }
  const box = make("div", { class: "se-widget", role: "group", "aria-label": label });
  for (const name of ["pointerdown", "mousedown", "touchstart", "dblclick", "contextmenu"]) {
    box.addEventListener(name, (event) => event.stopPropagation(), { passive: true });
  }
  // Delete would remove the node and Ctrl+Z undo in the graph; what ComfyUI starts a run with goes through.
  box.addEventListener("keydown", (event) => {
    if (!((event.ctrlKey || event.metaKey) && event.key === "Enter")) event.stopPropagation();
  });
  return box;
}
