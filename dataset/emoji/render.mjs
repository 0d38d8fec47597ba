// Rasterizes SVG pictures: a JSON array of them on standard input, and for each its width and height as little-endian
// uint32 and its premultiplied RGBA pixels on standard output: 0 and 0 where it fails. Arguments: the folder of
// resvg-wasm, pixels in width.
import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, width] = process.argv.slice(2);
const wasm = readFileSync(join(folder, 'index_bg.wasm'));

// resvg starts afresh after each picture that it fails at.
async function start(attempt) {
  const { initWasm, Resvg } = await import(pathToFileURL(join(folder, 'index.mjs')) + '?' + attempt);
  await initWasm(wasm);
  return Resvg;
}

function write(bytes) {
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(1, bytes, at);
    } catch (e) {
      if (e.code !== 'EAGAIN') throw e; // a pipe that is full for now
    }
  }
}

function header(width, height) {
  const size = Buffer.alloc(8);
  size.writeUInt32LE(width, 0);
  size.writeUInt32LE(height, 4);
  return size;
}

let Resvg = await start(0), failed = 0;
for (const svg of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    const picture = new Resvg(svg, { fitTo: { mode: 'width', value: Number(width) } }).render();
    write(header(picture.width, picture.height));
    write(picture.pixels);
    picture.free();
  } catch {
    write(header(0, 0));
    Resvg = await start(++failed);
  }
}
