package studio

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/unnoise/unnoise/internal/browsertest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/lab"
)

type tab struct{ browsertest.Tab }

func newTab(t *testing.T) tab { return tab{browsertest.New(t, 1280, 900)} }

func value[T any](b tab, expression string) T {
	b.T.Helper()
	return browsertest.Value[T](b.Tab, expression)
}

// awaited is the value that a promise of the page comes to.
func awaited[T any](b tab, expression string) T {
	b.T.Helper()
	v, err := chromedp.Run(b.Ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.T.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression of the page to become true.
func (b tab) until(what, expression string) {
	b.T.Helper()
	for start := time.Now(); !value[bool](b, expression); time.Sleep(30 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			b.T.Fatalf("%s: it does not happen; the page says %q", what,
				value[string](b, `document.querySelector("main").innerText`))
		}
	}
}

func (b tab) click(selector string) {
	b.T.Helper()
	b.Do("clicking "+selector, chromedp.Click(chromedp.CSS(selector)))
}

func (b tab) choose(tool string) {
	b.T.Helper()
	b.click(fmt.Sprintf("#tools button[value=%s]", tool))
	b.until(tool, fmt.Sprintf(`document.body.dataset.tool === %q`, tool))
}

func (b tab) open(url string) {
	b.T.Helper()
	b.Do("opening", chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#prompts button")))
}

// set gives an input of the page another value, as a hand would.
func (b tab) set(id string, v any) {
	b.T.Helper()
	value[bool](b, fmt.Sprintf(`(() => { const e = document.getElementById(%q); if (e.max && Number(e.max) < %[2]v) e.max = %[2]v;
		e.value = %[2]v; e.dispatchEvent(new Event("input", { bubbles: true })); return true; })()`, id, v))
}

func (b tab) screen() string {
	b.T.Helper()
	return value[string](b, `document.getElementById("screen").toDataURL()`)
}

// stroke paints over the middle of the sheet.
func (b tab) stroke() {
	b.T.Helper()
	at := value[[]float64](b, `(() => { const r = document.querySelector("#sheet .painted").getBoundingClientRect();
		return [r.x + r.width / 2, r.y + r.height / 4, r.height / 2]; })()`)
	b.Do("a stroke",
		chromedp.MouseEvent(input.DispatchMouseEventTypeMousePressed, at[0], at[1], chromedp.ButtonLeft),
		chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0], at[1]+at[2], chromedp.ButtonLeft),
		chromedp.MouseEvent(input.DispatchMouseEventTypeMouseReleased, at[0], at[1]+at[2], chromedp.ButtonLeft))
}

// What the page's signs are.
const (
	// nudged clicks where drawing takes so long, on a busy machine, that the page waits for it.
	nudged = `(() => { const go = document.getElementById("go");
		if (go.textContent.startsWith("Draw") && document.getElementById("stop").hidden) go.click(); return true; })()`
	// What was asked for is drawn.
	rests = nudged + ` && /^(Seed|As it is|Turned)/.test(document.getElementById("says").textContent) && !document.getElementById("keep").disabled`
	// The first picture is played from noise once.
	played  = `document.getElementById("time").textContent === "the result" && document.getElementById("play").textContent === "▶"`
	drawnOn = `(() => { const c = document.getElementById("screen"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		return d.some((v, i) => i % 4 !== 3 && v !== d[i % 4]); })()`
)

// another waits for another picture than before.
func (b tab) another(what, before string) {
	b.T.Helper()
	b.until(what, fmt.Sprintf(`%s && document.getElementById("screen").toDataURL() !== %q`, rests, before))
}

func TestDrawInBrowser(t *testing.T) {
	s := serve(t, Options{})
	b := newTab(t)
	b.open(s.url)
	b.until("a picture at once", drawnOn+" && "+rests)
	b.until("its steps", `document.getElementById("scrub").max === document.getElementById("steps").value`)
	b.until("at the result", played)
	t.Logf("the first paint came after %.0f ms", value[float64](b,
		`performance.getEntriesByName("first-contentful-paint")[0].startTime`))

	before := b.screen()
	b.click(`#prompts button[aria-pressed=false]`)
	b.another("another word draws another picture", before)
	result := b.screen()
	b.click("#keep")
	b.until("the shelf",
		`document.querySelectorAll("#shelf li").length === 1 && document.querySelector("#shelf img").naturalWidth > 0`)
	seed := value[string](b, `document.getElementById("seed").value`)

	// Time is gone through, and seen in three ways.
	b.set("scrub", 3)
	b.until("the fourth step", `document.getElementById("time").textContent.endsWith("step 4 of 20")`)
	seen := []string{result, b.screen()}
	for _, view := range []string{"x0", "epsilon"} {
		b.click(fmt.Sprintf("[data-view=%s]", view))
		b.until(view, fmt.Sprintf(`document.getElementById("screen").toDataURL() !== %q`, seen[len(seen)-1]))
		seen = append(seen, b.screen())
	}
	b.click("[data-view=x]")
	b.set("scrub", 9)
	b.until("the tenth step", `document.getElementById("time").textContent.endsWith("step 10 of 20")`)
	half := b.screen()
	b.click("#branch")
	b.until("a branch", rests+` && document.getElementById("fromSays").textContent.includes("step 10 of seed `+seed+`")`)
	b.set("scrub", 9)
	b.until("the branch begins as the other", fmt.Sprintf(`document.getElementById("screen").toDataURL() === %q`, half))
	b.set("scrub", 20)
	b.another("the branch ends elsewhere", result)
	b.click("#fromAway")
	b.until("begun anew", `document.getElementById("from").hidden && `+rests)

	// A grid.
	value[bool](b, `(() => { const e = document.getElementById("grid"); e.value = "steps"; e.dispatchEvent(new Event("input")); return true; })()`)
	b.until("a grid of steps", rests+` && document.querySelectorAll(".several .cell").length >= 4`)
	b.click(".several .cell:nth-of-type(2)")
	b.click(".takes button")
	b.until("its settings", rests+` && document.getElementById("steps").value === "8" && !document.querySelector(".several")`)

	// A long job is stopped, and survives that the page is loaded again.
	b.set("steps", 300)
	value[bool](b, `(() => { const e = document.getElementById("sampler"); e.value = "ddpm"; e.dispatchEvent(new Event("input")); return true; })()`)
	b.set("count", 16)
	b.until("it says how long", `/· \d+ (s|min)/.test(document.getElementById("go").textContent)`)
	b.click("#go")
	b.until("a long job runs", `!document.getElementById("stop").hidden`)
	b.Do("loading again while it runs", chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#prompts button")))
	b.until("the job goes on",
		`!document.getElementById("stop").hidden && document.getElementById("count").value === "16"`)
	b.click("#stop")
	b.until("stopped", `document.getElementById("says").textContent === "Stopped"`)

	// A picture of the shelf brings its settings back, and so does one that is dropped.
	b.click("#shelf .open")
	b.until("the settings", fmt.Sprintf(`document.getElementById("seed").value === %q && document.getElementById("count").value === "1"`, seed))
	b.until("the picture", fmt.Sprintf(`%s && document.getElementById("screen").toDataURL() === %q`, rests, result))
	b.click("#dice")
	b.until("another seed", fmt.Sprintf(`%s && document.getElementById("seed").value !== %q`, rests, seed))
	files, err := filepath.Glob(filepath.Join(s.dir, "*.png"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the gallery has %q, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	value[bool](b, fmt.Sprintf(`(() => { const bytes = Uint8Array.from(atob(%q), (c) => c.charCodeAt(0)), t = new DataTransfer();
		t.items.add(new File([bytes], "kept.png", { type: "image/png" }));
		document.dispatchEvent(new DragEvent("drop", { dataTransfer: t, cancelable: true })); return true; })()`,
		base64.StdEncoding.EncodeToString(data)))
	b.until("the dropped picture's settings", fmt.Sprintf(`%s && document.getElementById("seed").value === %q`, rests, seed))
	b.until("the dropped picture", fmt.Sprintf(`document.getElementById("screen").toDataURL() === %q`, result))

	b.Do("phone", chromedp.EmulateViewport(360, 740, chromedp.EmulateScale(2), chromedp.EmulateMobile))
	if overflow := value[int](b, `document.documentElement.scrollWidth - 360`); overflow > 0 {
		t.Errorf("on a phone the page is %d pixels too wide", overflow)
	}
	if below := value[bool](b, `document.getElementById("screen").getBoundingClientRect().top >
		document.getElementById("prompts").getBoundingClientRect().top`); below {
		t.Error("on a phone the picture does not stand first")
	}
	if requests := value[[]string](b, `performance.getEntriesByType("resource").map(e => e.name)
		.filter(n => !n.startsWith(location.origin) && !/^(data|blob):/.test(n))`); len(requests) > 0 {
		t.Errorf("the page asked for %q", requests)
	}
}

func TestToolsInBrowser(t *testing.T) {
	s := serve(t, Options{})
	b := newTab(t)
	b.open(s.url)
	b.until("a picture at once", drawnOn+" && "+rests)
	b.until("at the result", played)

	// Fill: what is not painted over stays.
	b.choose("fill")
	known := b.screen()
	b.stroke()
	b.another("the hole is filled", known)
	kept := awaited[float64](b, fmt.Sprintf(`(async () => {
		const old = new Image(); old.src = %q; await old.decode();
		const c = document.createElement("canvas"); c.width = old.width; c.height = old.height;
		const x = c.getContext("2d"); x.drawImage(old, 0, 0);
		const now = document.getElementById("screen").getContext("2d").getImageData(0, 0, c.width, c.height).data;
		const was = x.getImageData(0, 0, c.width, c.height).data;
		let most = 0;
		for (let y = 0; y < c.height; y++) for (let k = 0; k < c.width / 4; k++) most = Math.max(most, Math.abs(now[4 * (y * c.width + k)] - was[4 * (y * c.width + k)]));
		return most; })()`, known))
	if kept > 2 {
		t.Errorf("the known part of the picture changed by %g of 255", kept)
	}

	b.choose("edit")
	unedited := b.screen()
	b.stroke()
	start := time.Now()
	b.another("the answer to the stroke", unedited)
	t.Logf("the answer to a stroke came after %.2f s", time.Since(start).Seconds())

	b.choose("turn")
	b.until("an anagram", rests)
	b.click(".lever button")
	b.until("turned by hand", `document.querySelector(".cells").style.transform === "rotate(180deg)"`)
	b.click(`.pictograms button[title^="a puzzle"]`)
	b.click(".lever button")
	b.until("the jigsaw comes apart", `document.querySelector(".moving")?.hidden === false &&
		document.querySelector(".moving").width > 28`)

	b.click(".parts > button")
	b.until("three views", `document.querySelectorAll(".looks button").length === 3`)
	j := s.drawn(b, "an anagram of three views", func(r lab.Request) bool { return r.Illusion != nil && len(r.Illusion.Views) == 3 })
	if third := j.Request.Illusion.Views[2]; third.As != "rotate_180" || third.Prompts[0] != "2" {
		t.Errorf("the anagram's third view is %+v", third)
	}
	b.until("the anagram", rests)
	b.click(".looks button:nth-child(3)")
	b.until("turned to the third", `document.querySelector(".cells").style.transform === "rotate(180deg)" &&
		document.querySelector(".looks button:nth-child(3)").getAttribute("aria-pressed") === "true"`)
	b.click("#keep")
	b.until("kept", `document.querySelectorAll("#shelf li").length === 1`)
	b.click(".parts .field:nth-child(3) button")
	b.until("two views again", rests+` && document.querySelector(".looks").hidden`)
	b.click("#shelf .open")
	b.until("the picture brings its views back", rests+` && document.querySelectorAll(".looks button").length === 3 &&
		document.querySelectorAll(".parts select")[2].value === "2"`)

	b.choose("blend")
	b.until("a hybrid and its bands", rests+` && document.querySelectorAll(".bands canvas").length === 2`)
	b.click(".lever button")
	b.until("walked away", `document.getElementById("square").style.getPropertyValue("--scale") === "0.1" &&
		document.querySelector(".cells").getBoundingClientRect().width < 0.11 * document.getElementById("square").clientWidth`)

	b.choose("watch")
	b.until("noise in and out", `document.querySelectorAll("#own figure:not(.waits)").length === 5 &&
		document.getElementById("watchAt").textContent.startsWith("t = ")`)
}

// A model that is not here says how to fetch it; a second stage makes the picture larger.
func TestModelsInBrowser(t *testing.T) {
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	dir := golden.Dir(t)
	first, second := filepath.Join(dir, "if_tiny"), filepath.Join(dir, "if_sr_tiny")
	s := serve(t, Options{Models: []string{first, second, "owner/name"}})
	b := newTab(t)
	b.Do("opening", chromedp.Navigate(s.url), chromedp.WaitVisible(chromedp.CSS("#prompt")))
	pick := func(id, to string) {
		value[bool](b, fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.value = %q;
			for (const name of ["input", "change"]) e.dispatchEvent(new Event(name)); return true; })()`, id, to))
	}
	pick("model", "owner/name")
	b.until("how to fetch it", `document.querySelector("#error code")?.textContent === "unnoise model pull owner/name" &&
		document.getElementById("model").value !== "owner/name"`)

	defaults := awaited[[]string](b, `(async () => { const { b, defaults } = await import("/bench.js"), m = b.model;
		defaults();
		const without = b.s.upscale?.model ?? "";
		m.larger = m.second_stages[0];
		defaults();
		b.s.upscale.steps = 2;
		return [without, b.s.upscale.model]; })()`)
	if defaults[0] != "" || defaults[1] != second {
		t.Errorf("the second stages that models begin with are %q", defaults)
	}
	b.set("steps", 2)
	b.click("#prompt")
	b.Do("a prompt", chromedp.KeyEvent("a fox"))
	b.click("#go")
	side := want[[]Model](s, 200, "GET", "/api/models", nil)[1].Width
	b.until("a larger picture", fmt.Sprintf(`%s && document.getElementById("screen").width === %d`, rests, side))
	if u := s.newest().Request.Upscale; u == nil || u.Steps != 2 {
		t.Errorf("it was made larger by %+v", u)
	}
	pick("larger", "")
	b.click("#go")
	b.until("a small picture", fmt.Sprintf(`%s && document.getElementById("screen").width < %d`, rests, side))
}

// A folder of pictures is chosen, sent small with its captions, and offered to be trained on.
func TestFolderInBrowser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "My Squares")
	if err := os.MkdirAll(filepath.Join(dir, "more"), 0o777); err != nil {
		t.Fatal(err)
	}
	for i, p := range squares(t, 3, 300) {
		name := filepath.Join(dir, []string{"one", "more/two", "a_blue-square 01"}[i])
		if err := os.WriteFile(name+".png", p.Data, 0o666); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if err := os.WriteFile(name+".txt", []byte(p.Caption), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.png"), []byte("none"), 0o666); err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{})
	b := newTab(t)
	b.open(s.url)
	b.choose("train")
	b.until("the sets", `document.querySelector("#panel select")?.value === "MNIST"`)
	b.Do("a folder", chromedp.SetUploadFiles(chromedp.CSS("#panel input[type=file]"), []string{dir}))
	b.until("the set", `document.querySelector("#panel select").value === "my-squares" &&
		document.querySelector("#panel [role=status]").textContent === "3 pictures with captions, 1 of them the files' names, 1 could not be read."`)
	var captions []string
	files, _ := filepath.Glob(filepath.Join(s.dir, "data", "my-squares", "*.txt"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		captions = append(captions, strings.TrimSpace(string(text)))
	}
	slices.Sort(captions)
	if want := []string{"a blue square", "a square of color 0", "a square of color 1"}; !slices.Equal(captions, want) {
		t.Errorf("the captions are %q, expected %q", captions, want)
	}
	for range 2 {
		value[bool](b, `(() => { [...document.querySelectorAll("#panel button")].find((e) => /Delete|Sure/.test(e.textContent)).click(); return true; })()`)
	}
	b.until("deleted", `document.querySelector("#panel select").value === "MNIST"`)
}

// The write-up is read within the studio, and its picture is drawn there.
func TestWriteupInBrowser(t *testing.T) {
	file, err := FindWriteup(writeupOf(t))
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Writeup: file})
	b := newTab(t)
	b.open(s.url)
	b.until("a picture at once", drawnOn+" && "+rests)
	b.choose("read")
	link := func() { // it stands at the top of a page that the studio's scripts can't see
		at := value[[]float64](b, `(() => { const r = document.querySelector("iframe").getBoundingClientRect(); return [r.x + 30, r.y + 30]; })()`)
		b.Do("the link", chromedp.MouseClickXY(at[0], at[1]))
	}
	for start := time.Now(); value[string](b, `document.body.dataset.tool`) == "read"; time.Sleep(time.Second) {
		if link(); time.Since(start) > time.Minute {
			t.Fatal("the write-up's picture is not opened")
		}
	}
	s.drawn(b, "the anagram", func(r lab.Request) bool {
		return r.Illusion != nil && len(r.Illusion.Views) == 2 && r.Steps == 2 && *r.Seed == 3
	})
	b.Do("an address", chromedp.Navigate(s.url+"/#again=seven"))
	b.until("the anagram by its address", rests+` && document.body.dataset.tool === "turn" && location.hash === ""`)
}

// drawn waits until the newest job is the one that is meant, and done.
func (s served) drawn(b tab, what string, is func(lab.Request) bool) Status {
	s.t.Helper()
	for start := time.Now(); ; time.Sleep(30 * time.Millisecond) {
		value[bool](b, nudged)
		j := s.newest()
		if j.State == Done && is(j.Request) {
			return j
		}
		if time.Since(start) > time.Minute {
			s.t.Fatalf("%s is not drawn, but %+v; the page says %q", what, j.Request,
				value[string](b, `document.querySelector("main").innerText`))
		}
	}
}

// newest is the job that was submitted last.
func (s served) newest() Status {
	s.t.Helper()
	return want[[]Status](s, 200, "GET", "/api/jobs", nil)[0]
}

// A pen's pressure is the stroke's width, a finger paints until there is a pen, and two fingers move the sheet.
func TestPenAndTouch(t *testing.T) {
	s := serve(t, Options{})
	b := newTab(t)
	b.open(s.url)
	b.until("a picture at once", drawnOn+" && "+rests)
	b.choose("edit")
	at := value[[]float64](b, `(() => { const r = document.querySelector("#sheet .painted").getBoundingClientRect();
		return [r.x, r.y, r.width]; })()`)
	place := func(x, y float64) (float64, float64) { return at[0] + x*at[2], at[1] + y*at[2] }
	// painted is the share of the sheet that is not black.
	painted := func() float64 {
		return value[float64](b, `(() => { const c = document.querySelector("#sheet canvas");
			const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
			let n = 0;
			for (let i = 0; i < d.length; i += 4) n += d[i] > 127;
			return n / (c.width * c.height); })()`)
	}
	pen := func(force float64) {
		for _, e := range []struct {
			kind input.DispatchMouseEventType
			y    float64
		}{{chromedp.MousePressed, 0.3}, {chromedp.MouseMoved, 0.7}, {chromedp.MouseReleased, 0.7}} {
			x, y := place(0.5, e.y)
			b.Do("a pen", chromedp.MouseEvent(e.kind, x, y, chromedp.ButtonLeft, func(p *input.DispatchMouseEventParams) {
				p.PointerType, p.Force, p.Buttons = input.DispatchMouseEventPointerTypePen, force, 1
			}))
		}
	}
	finger := func(kind input.DispatchTouchEventType, places ...[2]float64) {
		e := input.DispatchTouchEventParams{Type: kind, TouchPoints: []*input.TouchPoint{}}
		for i, p := range places {
			x, y := place(p[0], p[1])
			id := float64(i)
			e.TouchPoints = append(e.TouchPoints, &input.TouchPoint{X: x, Y: y, ID: &id})
		}
		b.Do("a finger", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, input.DispatchTouchEvent, e)
			return err
		}))
	}
	stroke := func() {
		finger(input.DispatchTouchEventTypeTouchStart, [2]float64{0.3, 0.3})
		finger(input.DispatchTouchEventTypeTouchMove, [2]float64{0.3, 0.7})
		finger(input.DispatchTouchEventTypeTouchEnd)
	}
	stroke()
	one := painted()
	if one == 0 {
		t.Error("a finger does not paint")
	}
	finger(input.DispatchTouchEventTypeTouchStart, [2]float64{0.4, 0.4})
	finger(input.DispatchTouchEventTypeTouchStart, [2]float64{0.4, 0.4}, [2]float64{0.6, 0.6})
	finger(input.DispatchTouchEventTypeTouchMove, [2]float64{0.2, 0.2}, [2]float64{0.8, 0.8})
	finger(input.DispatchTouchEventTypeTouchEnd)
	if now := painted(); now != one {
		t.Errorf("two fingers paint: %g of the sheet, before %g", now, one)
	}
	if zoom := value[string](b, `document.querySelector(".layers").style.transform`); !strings.Contains(zoom, "scale(3)") {
		t.Errorf("two fingers that part do not enlarge the sheet by 3: %q", zoom)
	}
	finger(input.DispatchTouchEventTypeTouchStart, [2]float64{0.2, 0.2}, [2]float64{0.8, 0.8})
	finger(input.DispatchTouchEventTypeTouchMove, [2]float64{0.45, 0.45}, [2]float64{0.55, 0.55})
	finger(input.DispatchTouchEventTypeTouchEnd)

	clear := func() {
		value[bool](b, `(() => { [...document.querySelectorAll(".brushes button")].find((e) => e.textContent === "Clear").click(); return true; })()`)
	}
	clear()
	pen(0.1)
	light := painted()
	clear()
	pen(0.9)
	if strong := painted(); light == 0 || strong < 2*light {
		t.Errorf("a pen that is pressed lightly paints %g of the sheet, firmly %g", light, strong)
	}
	clear()
	stroke()
	if palm := painted(); palm != 0 {
		t.Errorf("beside a pen a palm paints %g of the sheet", palm)
	}
}

// Two tabs draw at once; each gets its own.
func TestTwoTabs(t *testing.T) {
	s := serve(t, Options{})
	a := newTab(t)
	ctx, stop := chromedp.NewContext(a.Ctx)
	defer stop()
	b := tab{browsertest.Tab{T: t, Ctx: ctx}}
	for _, one := range []tab{a, b} {
		one.open(s.url)
		one.until("a picture", drawnOn+" && "+rests)
	}
	for i := range 3 {
		a.set("seed", 10+i)
		b.set("seed", 20+i)
	}
	for i, one := range []tab{a, b} {
		want := fmt.Sprintf("Seed %d ", 10*(i+1)+2)
		one.until(want, fmt.Sprintf(`%s && document.getElementById("says").textContent.startsWith(%q)`, rests, want))
	}
	a.click("#keep")
	a.until("kept", `document.querySelectorAll("#shelf li").length === 1`)
	b.Do("the other tab again", chromedp.Reload())
	b.until("it is there too", `document.querySelectorAll("#shelf li").length === 1`)
}

// The studio is killed while the page is open, and comes back.
func TestStudioComesBack(t *testing.T) {
	dir := t.TempDir()
	begin := func(address string) (*http.Server, *Studio, string) {
		s, err := New(Options{Dir: dir, Models: []string{digits}})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: s}
		go func() { _ = server.Serve(l) }()
		return server, s, l.Addr().String()
	}
	server, s, address := begin("127.0.0.1:0")
	b := newTab(t)
	b.open("http://" + address)
	b.until("a picture", drawnOn+" && "+rests)
	server.Close()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.set("seed", 77)
	b.until("the page says so", nudged+` && !document.getElementById("lost").hidden`)
	server, s, _ = begin(address)
	defer func() {
		server.Close()
		if err := s.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	}()
	b.until("and draws what was asked for", nudged+` && document.getElementById("lost").hidden && document.getElementById("says").textContent.startsWith("Seed 77 ")`)
}

// axe-core finds nothing that keeps people from using the page.
func TestAccessible(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	axe, err := os.ReadFile(filepath.Join(cache, "unnoise", "axe.min.js"))
	if err != nil {
		t.Skipf("no axe-core: %v (fetch it with scripts/browser.sh)", err)
	}
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	file, err := FindWriteup(writeupOf(t))
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Models: []string{digits, "owner/name"}, Writeup: file})
	b := newTab(t)
	b.open(s.url)
	b.until("a picture", drawnOn+" && "+rests)
	b.click("#keep")
	b.until("the shelf", `document.querySelectorAll("#shelf li").length === 1`)
	b.choose("turn")
	b.click(".parts > button")
	b.choose("draw")
	value[bool](b, `(() => { document.getElementById("more").open = true; return true; })()`)
	value[bool](b, string(axe)+"; true")
	for _, scheme := range []string{"light", "dark"} {
		if scheme == "dark" {
			b.click("#theme")
		}
		for _, tool := range value[[]string](b, `[...document.querySelectorAll("#tools button:not([hidden])")].map((b) => b.value)`) {
			b.choose(tool)
			time.Sleep(300 * time.Millisecond)
			b.until("an error", `(() => { const e = document.getElementById("model"), error = document.getElementById("error");
				if (error.hidden) { e.value = "owner/name"; e.dispatchEvent(new Event("change")); }
				return !error.hidden; })()`) // a drawing takes it away
			found := awaited[string](b, `(async () => { const r = await axe.run(document, { resultTypes: ["violations"], iframes: false });
				return JSON.stringify(r.violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.target.join(" ") + ": " + n.failureSummary)])); })()`)
			var violations [][]any
			if err := json.Unmarshal([]byte(found), &violations); err != nil {
				t.Fatal(err)
			}
			for _, v := range violations {
				t.Errorf("%s in %s: %s", tool, scheme, strings.TrimSpace(fmt.Sprint(v...)))
			}
		}
	}
}
