// Edit: paint, and the model draws on from it (SDEdit).
import { $, h, button, slider, labelled } from "./dom.js";
import { b, change, write } from "./bench.js";
import * as screen from "./screen.js";
import { painter } from "./painter.js";

const palette = ["#ffffff", "#000000", "#d93a2b", "#f2a33c", "#f5e050", "#3f9b4f", "#2f74c9", "#7a4bb0", "#8a5a3b"];
let sheet = null, strength = 0.6;
const says = h("output", { className: "words" });

function make() {
  sheet ??= painter({ label: "Your drawing", invites: "Paint here, and the model draws on from it", changed: (rests) => { if (rests) change(); } });
  return sheet;
}

function words() {
  const gone = Math.max(1, Math.floor(strength * b.s.steps + 1e-9));
  const what = strength <= 0.25 ? "Keeps nearly all of it" : strength <= 0.5 ? "Keeps the lines" : strength <= 0.75 ? "Keeps the idea" : strength < 1 ? "Keeps hardly anything" : "Starts from noise alone";
  says.textContent = `${what}: the last ${gone} of ${b.s.steps} steps`;
}

export default {
  id: "edit", title: "Edit", key: "e", sheet: true, narrow: true,
  stage() {
    make();
    const gray = b.model.channels === 1;
    const ground = gray ? "#000000" : "#ffffff", fresh = sheet.ground !== ground;
    sheet.start(b.model.width, b.model.height, ground);
    sheet.colors(gray ? ["#ffffff", "#000000", "#808080"] : palette);
    if (fresh || !sheet.touched) sheet.paint(gray ? "#ffffff" : "#2f74c9");
    return [sheet.square];
  },
  panel() {
    const strengthSlider = slider(0.05, 1, 0.05, strength, (v) => { strength = v; words(); change(); });
    const field = labelled("How much may change", strengthSlider, "edit.strength", null);
    field.append(says);
    words();
    return h("div", {}, field, h("div", { className: "copies" },
      button("Paint over the answer", () => { const c = screen.resultCanvas(); if (c) sheet.beneath(c); }),
      h("label", { className: "button" }, "A photo…", h("input", { type: "file", accept: "image/*", className: "unseen", onchange: (e) => { if (e.target.files[0]) b.dropped(e.target.files[0], true); } }))));
  },
  under: () => make().tools,
  write: words,
  request(r) {
    if (sheet && !sheet.isEmpty()) r.edit = { picture: { name: "drawing", data: sheet.data(), fit: "stretch", ink: "light" }, strength };
    return r;
  },
  read(r, image) {
    if (!r.edit) return false;
    strength = r.edit.strength ?? 0.6;
    if (image) { this.stage(); sheet.beneath(image, false); }
    return true;
  },
  photo(image) { this.stage(); sheet.beneath(image); },
  // A click on the answer takes its color.
  picked(color) { make().paint(color); },
  keys: { z: (e) => (e.shiftKey ? sheet.redo() : sheet.undo()), "[": () => sheet.bigger(0.8), "]": () => sheet.bigger(1.25) },
};
