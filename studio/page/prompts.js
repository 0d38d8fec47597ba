// Inputs for prompts: buttons for a small vocabulary, and text with completion.
import { $, h, button, say } from "./dom.js";
import { b, change, now } from "./bench.js";

let lists = 0;

// words completes texts from what the model understands.
export const words = () => b.model.words ?? [];

// textInput is a text with completion. several: each line is a prompt of its own.
export function textInput({ id, value, several, placeholder, set }) {
  const input = h(several ? "textarea" : "input", { id: id ?? "", placeholder: placeholder ?? "", spellcheck: false });
  if (several) input.rows = 1; else input.type = "text";
  input.value = value;
  const list = h("ul", { className: "completions", role: "listbox", hidden: true, id: "completions" + ++lists, "aria-label": "Words that the model knows" });
  const box = h("div", { className: "completed" }, input, list);
  const grow = () => { if (several) input.rows = Math.min(6, input.value.split("\n").length); };
  let at = -1;
  if (words().length) {
    const told = { "aria-autocomplete": "list", "aria-controls": list.id, "aria-haspopup": "listbox" };
    if (!several) Object.assign(told, { role: "combobox", "aria-expanded": "false" }); // a text of several lines may be none
    for (const [k, v] of Object.entries(told)) input.setAttribute(k, v);
  }
  const expanded = (is) => { if (!several && words().length) input.setAttribute("aria-expanded", String(is)); };
  const close = () => { list.hidden = true; at = -1; expanded(false); input.removeAttribute("aria-activedescendant"); };
  const begun = () => /[\p{L}\p{N}]+$/u.exec(input.value.slice(0, input.selectionStart))?.[0] ?? "";
  const take = (word) => {
    const from = input.selectionStart - begun().length, rest = input.value.slice(input.selectionStart);
    input.value = input.value.slice(0, from) + word + (rest.startsWith(" ") || rest.startsWith("\n") ? rest : " " + rest);
    input.selectionStart = input.selectionEnd = from + word.length + 1;
    close();
    typed(false);
  };
  const offer = () => {
    const start = begun().toLowerCase();
    const found = start.length < 2 ? [] : words().filter((w) => w.startsWith(start) && w !== start).slice(0, 6);
    list.replaceChildren(...found.map((w, i) => h("li", { role: "option", id: `${list.id}-${i}`, onpointerdown: (e) => { e.preventDefault(); take(w); } }, h("b", {}, w.slice(0, start.length)), w.slice(start.length))));
    list.hidden = !found.length;
    at = -1;
    expanded(found.length > 0);
    if (found.length) say(`${found.length} words`);
  };
  const pick = (i) => {
    at = (i + list.children.length) % list.children.length;
    [...list.children].forEach((li, k) => li.setAttribute("aria-selected", String(k === at)));
    input.setAttribute("aria-activedescendant", list.children[at].id);
  };
  const typed = (complete = true) => {
    grow();
    if (complete && words().length) offer();
    set(input.value);
    change();
  };
  input.addEventListener("input", () => typed());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (e) => {
    if (!list.hidden) {
      if (e.key === "ArrowDown" || e.key === "ArrowUp") { e.preventDefault(); pick(at < 0 ? (e.key === "ArrowDown" ? 0 : -1) : at + (e.key === "ArrowDown" ? 1 : -1)); return; }
      if (e.key === "Escape") { e.stopPropagation(); close(); return; }
      if ((e.key === "Enter" && at >= 0) || e.key === "Tab") {
        if (e.key === "Tab" && (e.shiftKey || at < 0)) { close(); return; }
        e.preventDefault();
        take(words().find((w) => w === list.children[at].textContent));
        return;
      }
    }
    if (e.key === "Enter" && !e.shiftKey) { e.preventDefault(); close(); now(); }
  });
  grow();
  return { element: box, input };
}

// chips are buttons for the words of a small vocabulary.
function chips(label) {
  const row = h("div", { className: "chips", role: "group", "aria-labelledby": label });
  let several = b.s.prompts.length > 1;
  const press = () => {
    for (const c of row.children) c.setAttribute("aria-pressed", String(c.word !== undefined ? b.s.prompts.includes(c.word) : several));
  };
  for (const word of b.model.vocabulary) {
    const chip = button(word, (e) => {
      const p = b.s.prompts;
      if (several || e.shiftKey || e.ctrlKey || e.metaKey) {
        b.s.prompts = p.includes(word) ? p.filter((x) => x !== word) : b.model.vocabulary.filter((x) => x === word || p.includes(x));
        if (!b.s.prompts.length) b.s.prompts = [word];
      } else b.s.prompts = [word];
      press();
      change();
    });
    chip.word = word;
    row.append(chip);
  }
  if (b.tool.id === "draw") {
    row.append(button("several", () => {
      several = !several;
      b.s.prompts = several ? [...b.model.vocabulary] : b.s.prompts.slice(0, 1);
      press();
      change();
    }, { title: "Several beside each other", className: "quiet" }));
  } else b.s.prompts = b.s.prompts.slice(0, 1);
  press();
  return row;
}

// build makes the field of the prompts.
export function build() {
  const field = $("prompts");
  field.replaceChildren();
  field.hidden = !(b.model.texts || b.model.vocabulary?.length) || b.tool.ownPrompts;
  if (field.hidden) return;
  if (b.tool.asks) { field.append(h("div", { className: "parts" }, ...b.tool.asks())); return; }
  if (!b.model.texts && b.model.vocabulary.length <= 40) {
    field.append(h("span", { className: "label", id: "showsLabel" }, "Shows"), chips("showsLabel"));
    return;
  }
  const { element } = textInput({
    id: "prompt", several: true, value: b.s.prompts.join("\n"), placeholder: placeholder(),
    set: (v) => { b.s.prompts = v.split("\n").map((l) => l.trim()).filter(Boolean); },
  });
  field.append(h("label", { for: "prompt" }, "Prompt ", b.tool.id === "draw" ? h("span", { className: "hint" }, "Shift + Enter: another beside it") : null), element);
}

export const placeholder = () => b.model.examples?.[0] || "What the picture shows";

// one is an input for a single prompt, such as that of a part of an illusion.
export function one(label, value, set, field) {
  if (b.model.vocabulary?.length && !b.model.texts) {
    const e = h("select");
    for (const w of b.model.vocabulary) e.append(new Option(w, w));
    e.value = value;
    e.addEventListener("input", () => { set(e.value); change(); });
    return wrap(label, e, e, field);
  }
  const { element, input } = textInput({ value, set: (v) => set(v.trim()), placeholder: placeholder() });
  return wrap(label, element, input, field);
}

let ids = 0;
function wrap(label, element, input, field) {
  input.id ||= "prompt" + ++ids;
  const div = h("div", { className: "field" }, h("label", { for: input.id }, label), element);
  if (field) div.dataset.field = field;
  return div;
}
