// What the server is asked.

export class Refused extends Error {
  constructor(message, field, status) { super(message); this.field = field; this.status = status; }
}

let isLost = () => {};
export const whenLost = (call) => { isLost = call; };

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (e) {
    if (e.name === "AbortError") throw e;
    isLost(true);
    throw new Refused("The studio does not answer. Is it still running?", "", 0);
  }
  isLost(false);
  if (!answer.ok) {
    const text = await answer.text();
    let told = {};
    try { told = JSON.parse(text); } catch { told = { detail: text }; }
    const first = told.errors?.[0];
    throw new Refused(first?.message ?? told.detail ?? answer.statusText, (first?.location ?? "").replace(/^body\.?/, ""), answer.status);
  }
  return answer;
}

const json = async (path, options) => { const a = await ask(path, options); return a.status === 204 ? null : a.json(); };
const body = (value, method = "POST") => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });
const png = (blob) => ({ method: "POST", headers: { "Content-Type": "image/png" }, body: blob });

export const models = () => json("api/models");
// missing lists models that are not on the server's machine, and where they come from; or where the given one does.
export const missing = (model = "") => json("api/missing?model=" + encodeURIComponent(model));
export const gallery = (before = "", limit = 60) => json(`api/gallery?limit=${limit}&before=` + encodeURIComponent(before));
export const remove = (name) => json("api/images/" + name, { method: "DELETE" });
export const submit = (request, draft) => json("api/jobs?draft=" + draft, body(request));
export const job = (id) => json("api/jobs/" + id);
export const cancel = (id) => json("api/jobs/" + id, { method: "DELETE" });
export const keep = (id) => json("api/jobs/" + id + "/keep", { method: "POST" });
export const film = (id) => json("api/jobs/" + id + "/film");
// filmOf is that of a picture on the shelf, as long as its job is remembered.
export const filmOf = (p) => film(p.name.replace(/-\d+\.png$/, ""));
export const recipe = (blob) => json("api/recipe", png(blob));
export const healthy = () => fetch("healthz", { cache: "no-store" }).then((a) => a.ok, () => false);
export const about = () => json("api/about");
export const data = () => json("api/data");
export const sendData = (name, pictures) => json("api/data/" + encodeURIComponent(name), body({ pictures }));
export const removeData = (name) => json("api/data/" + encodeURIComponent(name), { method: "DELETE" });
export const trainings = () => json("api/trainings");
export const train = (request) => json("api/trainings", body(request));
export const halt = (id) => json(`api/trainings/${id}/stop`, { method: "POST" });
export const goOn = (id) => json(`api/trainings/${id}/resume`, { method: "POST" });
export const removeTraining = (id) => json("api/trainings/" + id, { method: "DELETE" });
export const losses = (id, points) => json(`api/trainings/${id}/losses?points=${points}`);
export const words = (model) => json("api/words?model=" + encodeURIComponent(model));
export const perform = (blob, as, frames, side = 256) => json(`api/perform?frames=${frames}&side=${side}&as=` + encodeURIComponent(as), png(blob));

// watch calls each with a job's states and frames until it has ended, and returns its last state. A lost connection is made again.
export function watch(id, onState, onFrame, onSheet) {
  return new Promise((resolve, reject) => {
    const source = new EventSource("api/jobs/" + id + "/events");
    let lost = 0;
    source.addEventListener("state", (e) => {
      if (lost) isLost(false);
      lost = 0;
      const state = JSON.parse(e.data);
      onState(state);
      if (over(state)) { source.close(); resolve(state); }
    });
    source.addEventListener("frame", (e) => onFrame(JSON.parse(e.data)));
    source.addEventListener("sheet", (e) => onSheet?.(JSON.parse(e.data)));
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED && ++lost < 20) { if (lost > 1) isLost(true); return; }
      source.close();
      job(id).then(resolve, reject);
    };
  });
}

export const over = (state) => ["done", "failed", "cancelled"].includes(state.state);

export function picture(src) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Refused("A picture could not be read.", "", 0));
    image.src = src;
  });
}

export async function pictureOf(blob) {
  const url = URL.createObjectURL(blob);
  try { return await picture(url); } finally { URL.revokeObjectURL(url); }
}

// recipes of pictures that were read once.
const recipes = new Map();
export async function recipeAt(url) {
  if (!recipes.has(url)) {
    const blob = await (await ask(url)).blob();
    recipes.set(url, { blob, recipe: await recipe(blob) });
  }
  return recipes.get(url);
}
