// A folder of pictures with captions is sent to be trained on.
import { h } from "./dom.js";
import * as api from "./api.js";

const side = 128, atOnce = 32; // pictures are made small here already, and sent some at a time
const ends = /\.(png|jpe?g|webp|gif|bmp|avif)$/i, stem = (path) => path.replace(/\.[^./]+$/, "");

// captionsOf finds what the pictures of some files show: in metadata.jsonl, in a text file beside each, or in its name.
export async function captionsOf(files) {
  const path = (f) => f.webkitRelativePath || f.name, texts = new Map(), named = new Map();
  for (const f of files) {
    if (f.name.endsWith(".txt") && f.size < 1e5) texts.set(stem(path(f)), (await f.text()).trim());
    if (f.name === "metadata.jsonl") {
      for (const line of (await f.text()).split("\n")) {
        try { const { file_name: name, text } = JSON.parse(line); named.set(path(f).replace(/[^/]*$/, name), [text].flat().join("\n")); } catch { /* what is no line of it names no picture */ }
      }
    }
  }
  const words = (f) => stem(f.name).replace(/[_-]+/g, " ").replace(/[\s(]*\d+\)?$/, "").trim();
  return files.filter((f) => ends.test(f.name) && !f.name.startsWith(".")).map((file) => {
    const given = named.get(path(file)) || texts.get(stem(path(file)));
    return { file, caption: given || words(file), given: Boolean(given) };
  }).filter((p) => p.caption);
}

// nameOf is what a folder's set is called: none of those that are taken.
export function nameOf(files, taken) {
  const folder = files[0]?.webkitRelativePath.split("/")[0] || "pictures";
  const name = folder.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 32) || "pictures";
  for (let n = 1; ; n++) { const one = n > 1 ? `${name}-${n}` : name; if (!taken.includes(one)) return one; }
}

// small is the square in the middle of a picture, as a PNG in base64.
async function small(file) {
  const image = await createImageBitmap(file), s = Math.min(image.width, image.height), to = Math.min(s, side);
  const c = h("canvas", { width: to, height: to }), x = c.getContext("2d");
  x.imageSmoothingQuality = "high";
  x.drawImage(image, (image.width - s) / 2, (image.height - s) / 2, s, s, 0, 0, to, to);
  image.close();
  return c.toDataURL("image/png").split(",")[1];
}

// send sends pictures to a set. said is told how far it is. It returns how many were sent, how many of them by their files' names, and how many could not be read.
export async function send(name, all, said) {
  let sent = 0, named = 0, unread = 0;
  for (let i = 0; i < all.length; i += atOnce) {
    const some = [];
    for (const { file, caption, given } of all.slice(i, i + atOnce)) {
      try { some.push({ caption, data: await small(file) }); named += !given; } catch { unread++; }
    }
    if (some.length) await api.sendData(name, some);
    sent += some.length;
    said(Math.min(i + atOnce, all.length), all.length);
  }
  return { sent, named, unread };
}
