// Read: the write-up that the studio was started with. Its pictures are opened here.
import { h } from "./dom.js";

let at = ""; // the picture that was opened last
const tool = {
  id: "read", title: "Read", key: "y", own: true, noForm: true, wide: true, there: false,
  fits: () => tool.there,
  page: () => [h("iframe", { src: "writeup" + (at && "#again-" + at), title: "The write-up", className: "writeup" })],
  request: () => null,
  read: () => false,
};
export default tool;

// whenOpened calls with the address of a picture that carries a recipe. It returns the one that the page was opened with.
export function whenOpened(call) {
  addEventListener("message", (e) => {
    if (e.source === document.querySelector(".writeup")?.contentWindow && named(e.data?.again)) call(address(e.data.again));
  });
  addEventListener("hashchange", () => { const url = asked(); if (url) call(url); });
  return asked();
}
const named = (name) => /^[a-z0-9-]{1,64}$/.test(name ?? "");
const address = (name) => { at = name; return `writeup/${name}.png`; };

function asked() {
  const name = /^#again=(.+)$/.exec(location.hash)?.[1];
  if (!named(name)) return "";
  history.replaceState(null, "", location.pathname);
  return address(name);
}
