// Draw: prompts, and grids of seeds, guidance, steps and samplers.
import { h, button, select } from "./dom.js";
import { b, change, write, prompted } from "./bench.js";
import * as screen from "./screen.js";

const box = h("div"), takes = h("p", { className: "takes", hidden: true });
let grid = "";

const grids = () => [
  ["", "one picture"],
  ...(prompted() ? [["seed,guidance", "seeds × guidance"]] : [["seed", "seeds"]]),
  ["sampler,steps", "samplers × steps"],
  ...(prompted() ? [["guidance", "guidance"]] : []),
  ["steps", "steps"],
];

function values(field) {
  const s = b.s, most = b.model.defaults.steps;
  switch (field) {
    case "seed": return [0, 1, 2, 3].map((k) => String((s.seed + k) % 2 ** 32));
    case "guidance": return ["1", "2", "4", "6", "10"];
    case "steps": return [...new Set([4, 8, 16, Math.max(32, most)])].map(String);
    case "sampler": return b.model.samplers.slice(0, 6);
  }
}

export default {
  id: "draw", title: "Draw", key: "d", branches: true,
  panel() {
    const field = h("div", { className: "field", "data-field": "vary" }, h("label", { for: "grid" }, "Show"));
    const e = select(grids(), grid, (v) => { grid = v; change(); });
    e.id = "grid";
    if (!e.value) { grid = ""; e.value = ""; }
    field.append(e);
    box.replaceChildren(field, takes);
    return box;
  },
  request(r) {
    if (!grid) return r;
    if (grid.includes("guidance") && !prompted()) return r;
    r.vary = grid.split(",").map((field) => ({ field, values: values(field) }));
    r.count = 1;
    r.prompts = r.prompts?.slice(0, 1);
    return r;
  },
  read(r) {
    grid = (r.vary ?? []).map((v) => v.field).join(",");
    return true;
  },
  focused(i) {
    const vary = b.job?.request.vary;
    takes.hidden = !(vary?.length && i >= 0);
    if (takes.hidden) return;
    const n = vary.at(-1).values.length, at = vary.length > 1 ? [Math.floor(i / n), i % n] : [i];
    const says = vary.map((v, k) => `${v.field} ${v.values[at[k]]}`).join(", ");
    takes.replaceChildren(button(`Take ${says}`, () => {
      vary.forEach((v, k) => { b.s[v.field] = v.field === "sampler" ? v.values[at[k]] : Number(v.values[at[k]]); });
      grid = "";
      box.querySelector("select").value = "";
      takes.hidden = true;
      screen.focus(-1);
      write();
      change();
    }));
  },
};
