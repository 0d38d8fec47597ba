package studio

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/unnoise/unnoise/internal/browsertest"
)

type tab struct{ browsertest.Tab }

func newTab(t *testing.T) tab { return tab{browsertest.New(t, 1280, 900)} }

func value[T any](b tab, expression string) T {
	b.T.Helper()
	return browsertest.Value[T](b.Tab, expression)
}

// until waits for an expression of the page to become true.
func (b tab) until(what, expression string) {
	b.T.Helper()
	for start := time.Now(); !value[bool](b, expression); time.Sleep(30 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			b.T.Fatalf("%s: it does not happen; the page says %q", what,
				value[string](b, `document.querySelector("main").innerText`))
		}
	}
}

// The page's signs that nothing is being drawn, and that the canvas is not of one color.
const (
	rests   = `document.getElementById("stop").disabled && document.getElementById("wait").textContent === ""`
	drawnOn = `(() => { const c = document.getElementById("screen"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		return d.some((v, i) => i % 4 !== 3 && v !== d[i % 4]); })()`
)

func TestPageInBrowser(t *testing.T) {
	s := serve(t, Options{})
	b := newTab(t)
	click := func(selector string) { b.Do("clicking "+selector, chromedp.Click(chromedp.CSS(selector))) }
	b.Do("opening", chromedp.Navigate(s.url), chromedp.WaitVisible(chromedp.CSS("#prompts button")))
	b.until("a picture at once", drawnOn+" && "+rests)
	b.until("its steps",
		`Number(document.getElementById("scrub").max) === Number(document.getElementById("steps").value)`)

	before := value[string](b, `document.getElementById("screen").toDataURL()`)
	click(`#prompts button[aria-pressed=false]`)
	b.until("another word draws another picture",
		fmt.Sprintf(`document.getElementById("screen").toDataURL() !== %q && %s`, before, rests))
	click("#keep")
	b.until("the shelf",
		`document.querySelectorAll("#shelf li").length === 1 && document.querySelector("#shelf img").naturalWidth > 0`)
	seed := value[string](b, `document.getElementById("seed").value`)
	result := value[string](b, `document.getElementById("screen").toDataURL()`)
	value[bool](b,
		`(() => { const r = document.getElementById("scrub"); r.value = 3; r.dispatchEvent(new Event("input")); return true; })()`)
	b.until("the fourth step", `document.getElementById("time").textContent.startsWith("step 4 of")`)
	if moment := value[string](b, `document.getElementById("screen").toDataURL()`); moment == result {
		t.Error("a step shows the result")
	}

	b.Do("another tool", chromedp.Click(chromedp.CSS(`[data-tool=turn]`)))
	b.until("an anagram", rests+` && !document.getElementById("turned").hidden`)
	value[bool](b, `document.querySelector("#turned button").click() ?? true`)
	b.until("turned", `document.getElementById("screen").style.transform === "rotate(180deg)"`)

	click(`[data-tool=edit]`)
	b.until("the sheet", rests+` && document.getElementById("drawing").checkVisibility()`)
	at := value[[]float64](b,
		`(() => { const r = document.getElementById("drawing").getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 4, r.height / 2]; })()`)
	unedited := value[string](b, `document.getElementById("screen").toDataURL()`)
	b.Do("a stroke",
		chromedp.MouseEvent(input.DispatchMouseEventTypeMousePressed, at[0], at[1], chromedp.ButtonLeft),
		chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0], at[1]+at[2], chromedp.ButtonLeft),
		chromedp.MouseEvent(input.DispatchMouseEventTypeMouseReleased, at[0], at[1]+at[2], chromedp.ButtonLeft))
	b.until("the answer to the stroke", fmt.Sprintf(`document.getElementById("screen").toDataURL() !== %q && %s`,
		unedited, rests))

	// A long job is stopped.
	click(`[data-tool=draw]`)
	b.until("drawing again", rests)
	value[bool](b, `(() => { const set = (id, v) => { const e = document.getElementById(id); e.value = v; e.dispatchEvent(new Event("input")); };
		document.getElementById("more").open = true; set("sampler", "ddpm"); document.getElementById("steps").max = 300; set("count", 16); set("steps", 300); return true; })()`)
	b.until("a long job runs", `!document.getElementById("stop").disabled`)
	b.Do("loading again while it runs", chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#prompts button")))
	b.until("the job goes on",
		`!document.getElementById("stop").disabled && document.getElementById("count").value === "16"`)
	click("#stop")
	b.until("stopped", `document.getElementById("says").textContent === "stopped"`)

	// A picture of the shelf brings its settings back.
	click("#shelf .open")
	b.until("the settings",
		fmt.Sprintf(`document.getElementById("seed").value === %q && document.getElementById("count").value === "1" && %s`, seed, rests))
	b.until("the picture", fmt.Sprintf(`document.getElementById("screen").toDataURL() === %q`, result))

	b.Do("phone", chromedp.EmulateViewport(360, 740, chromedp.EmulateScale(2), chromedp.EmulateMobile))
	if overflow := value[int](b, `document.documentElement.scrollWidth - 360`); overflow > 0 {
		t.Errorf("on a phone the page is %d pixels too wide", overflow)
	}
	if requests := value[[]string](b,
		`performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith(location.origin) && !/^(data|blob):/.test(n))`); len(requests) > 0 {
		t.Errorf("the page asked for %q", requests)
	}
}
