// What the server is asked.

export class Refused extends Error {
  constructor(message, field, status) { super(message); this.field = field; this.status = status; }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Refused("The studio does not answer. Is it still running?", "", 0);
  }
  if (!answer.ok) {
    const text = await answer.text();
    let told = {};
    try { told = JSON.parse(text); } catch { told = { detail: text }; }
    const first = told.errors?.[0];
    throw new Refused(first?.message ?? told.detail ?? answer.statusText, (first?.location ?? "").replace(/^body\.?/, ""), answer.status);
  }
  return answer.status === 204 ? null : answer.json();
}

const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const models = () => ask("api/models");
export const gallery = (before = "") => ask("api/gallery?limit=60&before=" + encodeURIComponent(before));
export const remove = (name) => ask("api/images/" + name, { method: "DELETE" });
export const submit = (request, draft) => ask("api/jobs?draft=" + draft, json(request));
export const job = (id) => ask("api/jobs/" + id);
export const cancel = (id) => ask("api/jobs/" + id, { method: "DELETE" });
export const keep = (id) => ask("api/jobs/" + id + "/keep", { method: "POST" });
export const film = (id) => ask("api/jobs/" + id + "/film");
export const recipe = (blob) => ask("api/recipe", { method: "POST", headers: { "Content-Type": "image/png" }, body: blob });

// watch calls each with a job's states and frames until it has ended, and returns its last state. A lost connection is made again.
export function watch(id, onState, onFrame) {
  return new Promise((resolve, reject) => {
    const source = new EventSource("api/jobs/" + id + "/events");
    let lost = 0;
    source.addEventListener("state", (e) => {
      lost = 0;
      const state = JSON.parse(e.data);
      onState(state);
      if (["done", "failed", "cancelled"].includes(state.state)) { source.close(); resolve(state); }
    });
    source.addEventListener("frame", (e) => onFrame(JSON.parse(e.data)));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED || ++lost > 5) {
        source.close();
        job(id).then(resolve, reject);
      }
    };
  });
}

export function picture(src) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Refused("A picture could not be read.", "", 0));
    image.src = src;
  });
}
