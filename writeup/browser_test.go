package writeup

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/unnoise/unnoise/internal/browsertest"
)

type tab struct{ browsertest.Tab }

func newTab(t *testing.T) tab { return tab{browsertest.New(t, 1100, 900)} }

func evaluate[T any](b tab, script string) T {
	b.T.Helper()
	return browsertest.Value[T](b.Tab, script)
}

// middle scrolls to an element and returns where its middle is.
func (b tab) middle(selector string) []float64 {
	b.T.Helper()
	return evaluate[[]float64](b, `(() => { const e = document.querySelector("`+selector+`"); e.scrollIntoView({block: "center"});
		const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`)
}

// point moves the mouse to the middle of an element.
func (b tab) point(selector string) {
	b.T.Helper()
	at := b.middle(selector)
	b.Do("pointing at "+selector, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0], at[1]))
}

// tap has an element get the events of a finger's tap that the player listens to.
func (b tab) tap(selector string) {
	b.T.Helper()
	evaluate[bool](b, `(() => { const e = document.querySelector("`+selector+`"); for (const type of ["enter", "leave"]) {
		e.dispatchEvent(new PointerEvent("pointer" + type, {pointerType: "touch"})); e.dispatchEvent(new MouseEvent("mouse" + type)); } e.click(); return true; })()`)
}

// prefer sets a media feature, such as the color scheme.
func (b tab) prefer(feature, value string) {
	b.T.Helper()
	_, err := chromedp.Run(b.Ctx, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia,
			emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: feature, Value: value}}})
		return chromedp.Void{}, err
	})
	if err != nil {
		b.T.Fatal(err)
	}
}

// frame is the player's state, read from what is on the screen, not from what the script remembers.
type frame struct {
	At      float64 `json:"at"` // 0..100: how far down the strip the screens are, and whether both are
	Same    bool    `json:"same"`
	Slider  float64 `json:"slider"`
	Time    string  `json:"time"`
	Playing bool    `json:"playing"`
}

const readFrame = `(() => {
	const player = document.querySelector("%s");
	const at = [...player.querySelectorAll(".screen")].map(s => parseFloat(getComputedStyle(s).backgroundPositionY));
	const slider = player.querySelector("input[type=range]");
	return {at: at[0], same: at.every(v => v === at[0]), slider: 100 * slider.value / slider.max,
		time: player.querySelector("output").textContent, playing: player.querySelector(".pause").checkVisibility()};
})()`

// watched is a player on a page.
type watched struct {
	tab
	selector string
}

func (w watched) look() frame {
	w.T.Helper()
	f := evaluate[frame](w.tab, fmt.Sprintf(readFrame, w.selector))
	if !f.Same || math.Abs(f.At-f.Slider) > 0.01 {
		w.T.Fatalf("screens and slider disagree: %+v", f)
	}
	return f
}

// plays waits until several different moments were seen. What is out of the window stands, and keys that are made here
// scroll, though a person's, which the player takes, do not.
func (w watched) plays(why string) {
	w.T.Helper()
	seen := map[float64]bool{}
	for start := time.Now(); len(seen) < 5; time.Sleep(30 * time.Millisecond) {
		evaluate[bool](w.tab,
			fmt.Sprintf(`(() => { document.querySelector("%s .screen").scrollIntoView({block: "nearest"}); return true; })()`, w.selector))
		seen[w.look().At] = true
		if time.Since(start) > 10*time.Second {
			w.T.Fatalf("%s: it does not play; the screens stay at %v", why, seen)
		}
	}
}

func (w watched) still(why string, want float64) {
	w.T.Helper()
	for start := time.Now(); w.look().At != want; time.Sleep(30 * time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			w.T.Fatalf("%s: the screens are at %v, expected %v", why, w.look().At, want)
		}
	}
	time.Sleep(200 * time.Millisecond)
	if f := w.look(); f.At != want || f.Playing {
		w.T.Fatalf("%s: it did not stay at %v: %+v", why, want, f)
	}
}

// selfContained reports whether all pictures show, and that nothing was asked for.
func (b tab) selfContained() {
	b.T.Helper()
	if broken := evaluate[[]string](b,
		`[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)`); len(broken) > 0 {
		b.T.Errorf("pictures that do not show: %q", broken)
	}
	const heights = `[...document.querySelectorAll(".screen")].map(s => {
		s.strip ??= Object.assign(new Image(), {src: getComputedStyle(s).backgroundImage.slice(5, -2)});
		return s.strip.complete ? s.strip.naturalHeight : -1; })`
	decoded := evaluate[[]int](b, heights)
	for start := time.Now(); slices.Contains(decoded, -1) &&
		time.Since(start) < 10*time.Second; time.Sleep(30 * time.Millisecond) {
		decoded = evaluate[[]int](b, heights)
	}
	if len(decoded) == 0 || slices.Min(decoded) < 28 {
		b.T.Errorf("the strips of the screens are %v pixels high", decoded)
	}
	if requests := evaluate[[]string](b,
		`performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:"))`); len(
		requests) > 0 {
		b.T.Errorf("the page asked for %q", requests)
	}
}

// phoneInTheDark reports whether the page fits a phone, and is dark where that is preferred.
func (b tab) phoneInTheDark() {
	b.T.Helper()
	b.Do("phone", chromedp.EmulateViewport(360, 740, chromedp.EmulateScale(2), chromedp.EmulateMobile))
	b.prefer("prefers-color-scheme", "dark")
	if overflow := evaluate[int](b, `document.documentElement.scrollWidth - 360`); overflow > 0 {
		b.T.Errorf("on a phone the page is %d pixels too wide", overflow)
	}
	if ink := evaluate[string](b, `getComputedStyle(document.body).color`); ink != "rgb(232, 233, 234)" {
		b.T.Errorf("in dark mode the text is %s", ink)
	}
}

func TestDemoInBrowser(t *testing.T) {
	path, err := Demo(t.TempDir(), example(t))
	if err != nil {
		t.Fatal(err)
	}
	b := newTab(t)
	w := watched{b, ".player"}
	look, plays, still := w.look, w.plays, w.still

	b.Do("opening", chromedp.Navigate("file://"+path), chromedp.WaitVisible(chromedp.CSS(".controls button")))
	still("at first", 100)
	if f := look(); f.Time != "t = 0" {
		t.Errorf("the result is labeled %q", f.Time)
	}

	b.point(".screen")
	plays("hovered")
	if !look().Playing {
		t.Error("the button does not show that it plays")
	}
	b.point("h1")
	still("left alone", 100)

	b.Do("focusing", chromedp.KeyEvent(kb.Tab)) // the stage is the first thing the Tab key reaches
	plays("focused")
	b.Do("the browser's own key", chromedp.KeyEvent(kb.ArrowRight, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	plays("after the browser's own key")
	b.Do("going on", chromedp.KeyEvent(kb.Tab))
	plays("with the focus on the button")
	b.Do("pausing what the focus started", chromedp.Click(chromedp.CSS(".controls button")))
	paused := look().At
	still("paused by the button", paused)
	b.point("h1")
	still("paused, then left", paused)
	b.point(".screen")
	still("hovered while it is held", paused)

	b.Do("scrubbing by keyboard", chromedp.Focus(chromedp.CSS("input[type=range]")), chromedp.KeyEvent(kb.Home))
	still("at the slider's start", 0)
	if f := look(); f.Time != "t = 300" {
		t.Errorf("the start is labeled %q", f.Time)
	}
	b.Do("stepping", chromedp.KeyEvent(kb.ArrowRight))
	scrubbed := look().At
	if scrubbed <= 0 || scrubbed > 5 {
		t.Errorf("one key moved the screens to %v", scrubbed)
	}
	b.point(".screen")
	still("scrubbed, then hovered", scrubbed)
	b.point("h1")
	still("scrubbed, then left", scrubbed)

	b.Do("the button", chromedp.Click(chromedp.CSS(".controls button")))
	plays("started by the button")
	b.Do("leaving", chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, 2, 2))
	plays("started by the button, then left")
	b.middle("#made")
	time.Sleep(300 * time.Millisecond)
	before := look().At
	time.Sleep(300 * time.Millisecond)
	if f := look(); f.At != before || !f.Playing {
		t.Errorf("out of the window it goes on from %v: %+v", before, f)
	}
	b.middle(".screen")
	plays("scrolled back")
	b.Do("the button again", chromedp.Click(chromedp.CSS(".controls button")))
	still("stopped by the button", look().At)
	b.Do("a click on the pictures", chromedp.Click(chromedp.CSS(".screen")))
	plays("clicked")
	b.Do("space", chromedp.Focus(chromedp.CSS(".stage")), chromedp.KeyEvent(" "))
	still("paused by the space bar", look().At)

	b.selfContained()
	b.phoneInTheDark()
}

func TestWriteInBrowser(t *testing.T) {
	path, err := Write(t.TempDir(), course(t))
	if err != nil {
		t.Fatal(err)
	}
	b := newTab(t)
	b.Do("opening", chromedp.Navigate("file://"+path), chromedp.WaitVisible(chromedp.CSS(".controls button")))
	timed, class := watched{b, "[aria-labelledby=time] .player"}, watched{b, "[aria-labelledby=class] .player"}
	timed.still("at first", 100)
	class.still("at first", 100)

	b.point(class.selector + " figure:nth-of-type(2) .screen")
	class.plays("hovered, the second epoch")
	timed.still("while another player plays", 100)
	b.point("#made")
	class.still("left alone", 100)

	b.Do("scrubbing", chromedp.Focus(chromedp.CSS(timed.selector+" input")), chromedp.KeyEvent(kb.Home))
	timed.still("at the slider's start", 0)
	if f := timed.look(); f.Time != "t = 0" {
		t.Errorf("the start is labeled %q", f.Time)
	}
	class.still("while another player is scrubbed", 100)
	b.Do("focusing", chromedp.Focus(chromedp.CSS(timed.selector+" .stage")))
	timed.still("focused while it is held", 0)
	b.Do("space", chromedp.KeyEvent(" "))
	timed.plays("let go by the space bar")

	if hidden := evaluate[float64](b, `(() => { const [stage, controls] = [".stage", ".controls"].map(c => document.querySelector("`+timed.selector+` " + c));
		scrollBy(0, stage.getBoundingClientRect().top - innerHeight + 100); return controls.getBoundingClientRect().bottom - innerHeight; })()`); hidden > 0 {
		t.Errorf("where only the first pictures are in the window, the controls are %v pixels below it", hidden)
	}

	flow := watched{b, "[aria-labelledby=flow] .player"}
	b.tap(flow.selector + " .stage")
	flow.plays("tapped")
	b.tap(flow.selector + " .stage")
	flow.still("tapped again", flow.look().At)

	b.prefer("prefers-reduced-motion", "reduce")
	b.Do("focusing", chromedp.Focus(chromedp.CSS("nav a")), chromedp.Focus(chromedp.CSS(class.selector+" .stage")))
	class.still("focused with reduced motion", 100)
	b.tap(class.selector + " .stage")
	class.plays("tapped with reduced motion")
	b.tap(class.selector + " .controls button")
	class.still("its button tapped", class.look().At)

	b.selfContained()
	b.phoneInTheDark()
}
