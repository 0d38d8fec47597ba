// Fill: a part of a picture is painted over and drawn anew.
import { $, h, slider, labelled, choice, button } from "./dom.js";
import { b, change } from "./bench.js";
import * as screen from "./screen.js";
import { painter } from "./painter.js";

let sheet = null, feather = 0, method = "course", has = false;
const known = h("canvas", { className: "known", "aria-hidden": "true" });
const empty = h("p", { className: "over", hidden: true }, "Draw a picture first, or drop a photo here.");
const says = h("output");

function make() {
  if (sheet) return sheet;
  sheet = painter({ label: "What is drawn anew", mask: true, changed: (rests) => { sheet.square.classList.toggle("holed", !sheet.isEmpty()); if (rests) change(); } });
  sheet.square.append(empty);
  return sheet;
}

function take(image) {
  sheet.beneath(image, false);
  has = true;
  empty.hidden = true;
}

export default {
  id: "fill", title: "Fill", key: "f", sheet: true, narrow: true,
  stage() {
    make();
    sheet.start(b.model.width, b.model.height, b.model.channels === 1 ? "#000000" : "#ffffff");
    const c = screen.resultCanvas();
    if (!has && c) take(c);
    empty.hidden = has;
    return [sheet.square];
  },
  under: () => make().tools,
  // The first picture that is drawn is there to be painted over.
  drawn(job) {
    if (has || !job || job.request.inpaint) return;
    const c = screen.resultCanvas();
    if (c) take(c);
  },
  changedModel() { has = false; },
  panel() {
    says.textContent = feather ? `${feather} px` : "none";
    const show = button("Show what was known", () => {}, { "aria-pressed": "false" });
    const press = (on) => { show.setAttribute("aria-pressed", String(on)); reveal(on); };
    show.addEventListener("click", () => press(show.getAttribute("aria-pressed") !== "true"));
    return h("div", {},
      labelled("Feather", slider(0, Math.max(4, Math.round(b.model.width / 6)), 1, feather, (v) => { feather = v; says.textContent = v ? `${v} px` : "none"; change(); }), "inpaint.mask.feather", says),
      h("div", { className: "field", "data-field": "inpaint.method" }, h("span", { className: "label" }, "How"),
        choice("How", [["course", "Once", "After each step the known part is put back, noised to that time"], ["repaint", "Repaint", "Steps are repeated, so that the new part comes to fit"]], method, (v) => { method = v; change(); })),
      h("div", { className: "copies" }, show,
        button("Go on with the answer", () => { const c = screen.resultCanvas(); if (c) { take(c); screen.focus(-1); } }),
        h("label", { className: "button" }, "A photo…", h("input", { type: "file", accept: "image/*", className: "unseen", onchange: (e) => { if (e.target.files[0]) b.dropped(e.target.files[0], true); } }))));
  },
  request(r) {
    if (!has || sheet.isEmpty()) return null;
    r.inpaint = { picture: { name: "picture", data: sheet.under(), fit: "stretch", ink: "light" }, mask: { data: sheet.data(), feather }, method };
    return r;
  },
  missing: () => (has ? "Paint over what is to be drawn anew." : "Draw a picture first, or drop a photo here."),
  read(r, image, maskImage) {
    if (!r.inpaint) return false;
    method = r.inpaint.method === "repaint" ? "repaint" : "course";
    feather = r.inpaint.mask.feather ?? 0;
    if (image) { make(); sheet.start(b.model.width, b.model.height, b.model.channels === 1 ? "#000000" : "#ffffff"); take(image); if (maskImage) sheet.take(maskImage); }
    return true;
  },
  photo(image) { this.stage(); take(image); change(); },
  keys: { z: (e) => (e.shiftKey ? sheet.redo() : sheet.undo()), "[": () => sheet.bigger(0.8), "]": () => sheet.bigger(1.25) },
};

// reveal lays the picture with its hole over the answer.
function reveal(on) {
  if (!on || !sheet) { known.remove(); return; }
  known.width = sheet.canvas.width; known.height = sheet.canvas.height;
  const x = known.getContext("2d");
  x.drawImage(sheet.paper, 0, 0);
  x.globalCompositeOperation = "destination-out";
  x.drawImage(sheet.canvas, 0, 0);
  $("square").append(known);
}
