// Package studio is a server for drawing in the browser and by programs: a page, an API of its own, and those of OpenAI
// and AUTOMATIC1111. Jobs stand in a [Queue], are drawn by a [lab.Lab], and their pictures lie in a folder, each with
// its recipe.
//
// What it refuses, and why:
//
//   - Foreign pages: a request whose Host is no loopback name, or whose Origin is another site, is refused, so that neither a page
//     that the browser has open nor a name that was pointed at 127.0.0.1 can drive the studio.
//   - Strangers on the network: any address but loopback needs a token.
//   - Paths: models are chosen from those that the studio was started with, pictures are sent whole, and pictures in the gallery are
//     found by their names in its list. No file is opened by a name from a request.
//   - Too much: bodies, pictures, prompts, images, steps and waiting jobs are bounded. See [Limits].
//   - Scripts from elsewhere: the page's Content-Security-Policy allows its own files only.
package studio
