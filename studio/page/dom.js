// Small helpers for building the page.
export const $ = (id) => document.getElementById(id);

// h makes an element. Names that begin with "on" are listeners, "data" and "aria" are attributes as written.
export function h(tag, properties = {}, ...children) {
  const e = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (name.includes("-") || tag.startsWith("svg:") || name === "for" || name === "role") e.setAttribute(name, value);
    else e[name] = value;
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

export const button = (text, onclick, properties = {}) => h("button", { type: "button", onclick, ...properties }, text);

// icon is a drawing of 24 by 24, in lines.
export const icon = (path) => h("svg:svg", { viewBox: "0 0 24 24", width: 20, height: 20, fill: "none", stroke: "currentColor", "stroke-width": 2, "aria-hidden": "true" }, h("svg:path", { d: path }));

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
export const dpr = () => Math.min(devicePixelRatio || 1, 2);

// say tells screen readers something.
export function say(text) { $("status").textContent = text; }

// store keeps settings in the browser: memory for this tab, and what outlives it.
const keeper = (where) => ({
  get(key) { try { return JSON.parse(where().getItem(key)); } catch { return null; } },
  set(key, value) { try { where().setItem(key, JSON.stringify(value)); } catch { /* private windows may refuse */ } },
});
export const store = keeper(() => sessionStorage);
export const lasting = keeper(() => localStorage);

export const chance = () => Math.floor(Math.random() * 2 ** 32);

// labelled is a field of a form: a label above an input, and what it says at the label's end.
let ids = 0;
export function labelled(text, input, field, output) {
  input.id ||= "input" + ++ids;
  const label = h("label", { for: input.id }, text, output ? " " : null, output);
  const div = h("div", { className: "field" }, label, input);
  if (field) div.dataset.field = field;
  return div;
}

export function slider(low, high, step, value, set) {
  const input = h("input", { type: "range" });
  input.min = low; input.max = high; input.step = step; input.value = value;
  input.addEventListener("input", () => set(Number(input.value)));
  return input;
}

export function select(options, value, set) {
  const e = h("select");
  for (const [v, text] of options) e.append(new Option(text, v));
  e.value = value;
  e.addEventListener("input", () => set(e.value));
  return e;
}

// choice is a row of buttons of which one is pressed.
export function choice(label, options, value, set) {
  const row = h("div", { className: "joined", role: "group", "aria-label": label });
  for (const [v, text, title] of options) {
    row.append(button(text, () => { for (const b of row.children) b.setAttribute("aria-pressed", b.value === String(v)); set(v); }, { value: v, title: title ?? "", "aria-pressed": String(v === value) }));
  }
  return row;
}
