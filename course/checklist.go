package course

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/writeup"
)

// Runs are those that the second half shows; nil where there is none.
type Runs struct{ Denoiser, Pure, Time, Class, Flat, FlowTime, Flow *writeup.ShownRun }

// Checklist ticks off what Berkeley's project 5 asks for, in both editions. A half that is not on the page is nil.
func Checklist(s *Subjects, r *Runs) (all []writeup.Deliverable) {
	add := func(part, what, at string, done writeup.State, note string) {
		all = append(all, writeup.Deliverable{Part: part, What: what, At: at, Done: done, Note: note})
	}
	if s != nil {
		firstHalf(*s, add)
	}
	if r == nil {
		return all
	}
	// train adds what a run shows: all of the epochs, where some are asked for.
	train := func(part, what, at string, run *writeup.ShownRun, flag, recipe string, epochs ...int) {
		d := writeup.Deliverable{Part: part, What: what, At: at, Done: writeup.Done}
		d.Command = "unnoise train mnist " + recipe + " --out runs/" + flag
		with := fmt.Sprintf("and make the page with --%s runs/%s:", flag, flag)
		switch {
		case run == nil:
			d.Done, d.Note = writeup.Missing, "Train it, "+with
		case !slices.ContainsFunc(epochs, func(e int) bool { return !slices.Contains(run.Epochs(), e) }):
			d.Command = ""
		case run.Bundled():
			d.Done, d.Note = writeup.Partly, fmt.Sprintf("The program has %s only. Train all, %s", list(run.Epochs()),
				with)
		default:
			d.Done, d.Note = writeup.Partly, fmt.Sprintf("It shows %s so far. Go on, and make the page again:",
				list(run.Epochs()))
			d.Command = fmt.Sprintf("unnoise train mnist --resume %s --epochs %d", shell.Quote(run.Dir),
				slices.Max(epochs))
		}
		all = append(all, d)
	}
	const none, timed, class = "--condition none", "--condition time", "--condition class"
	const pure, flat = none + " --pure-noise", class + " --decay 1"
	const flowTime, flow = timed + " --objective flow", class + " --objective flow"
	add("B 1.2", "The noising process, σ from 0 to 1", "noise", writeup.Done, "")
	train("B 1.2.1", "The denoiser’s training loss", "denoiser-loss", r.Denoiser, "none", none)
	train("B 1.2.1", "Test digits denoised, after epochs 1 and 5", "denoiser-digits", r.Denoiser, "none", none, 1, 5)
	train("B 1.2.2", "Noise levels that it was not trained for", "denoiser-levels", r.Denoiser, "none", none)
	train("B 1.2.3", "Trained on pure noise: the training loss", "pure-noise-loss", r.Pure, "pure-noise", pure)
	train("B 1.2.3", "Its answers to pure noise, after epochs 1 and 5, and why", "pure-noise-noise", r.Pure,
		"pure-noise", pure, 1, 5)
	train("B 2.2", "DDPM: training loss with the timestep", "time-loss", r.Time, "time", timed)
	train("B 2.3", "DDPM: samples, after several epochs up to 20", "time-samples", r.Time, "time", timed, 1, 20)
	train("B 2.5", "DDPM: training loss with the class", "class-loss", r.Class, "class", class)
	train("B 2.6", "DDPM: four of each digit, after several epochs up to 20", "class-samples", r.Class, "class", class, 1,
		20)
	train("B 2.2", "Flow matching: training loss with the time", "flow-time-loss", r.FlowTime, "flow-time", flowTime)
	train("B 2.3", "Flow matching: samples, after several epochs", "flow-time-samples", r.FlowTime, "flow-time", flowTime,
		1)
	train("B 2.5", "Flow matching: training loss with the class", "flow-loss", r.Flow, "flow", flow)
	train("B 2.6", "Flow matching: four of each digit, after several epochs", "flow-samples", r.Flow, "flow", flow, 1)
	train("B 2.6", "The same without a falling learning rate", "class-flat-loss", r.Flat, "class-flat", flat)
	return all
}

func list(epochs []int) string {
	var all []string
	for _, e := range epochs {
		all = append(all, fmt.Sprint(e))
	}
	if len(all) == 1 {
		return "epoch " + all[0]
	}
	return "epochs " + strings.Join(all, ", ")
}

func firstHalf(s Subjects, add func(part, what, at string, done writeup.State, note string)) {
	few := func(part, what, at string, have, want int, field string) {
		switch {
		case have >= want:
			add(part, what, at, writeup.Done, "")
		case have > 0:
			add(part, what, at, writeup.Partly, fmt.Sprintf("%d of %d: add to %s in --subjects", have, want, field))
		default:
			add(part, what, at, writeup.Missing, "add to "+field+" in --subjects")
		}
	}
	few("A 0", "Three prompts of your own, in several numbers of steps, with the seed", "a-steps", len(s.Prompts), 3,
		"prompts")
	add("A 1.1", "The forward process at three noise levels", "a-forward", writeup.Done, "")
	add("A 1.2", "Gaussian blur of them", "a-denoise", writeup.Done, "")
	add("A 1.3", "One-step denoising of them", "a-denoise", writeup.Done, "")
	add("A 1.4", "Iterative denoising, every fifth step; beside one step and blur", "a-iterative", writeup.Done, "")
	add("A 1.5", "Five samples from pure noise", "a-sampling", writeup.Done, "")
	add("A 1.6", "Five samples with classifier-free guidance", "a-guidance", writeup.Done, "")
	few("A 1.7", "SDEdit from noise level 1, 3, 5, 7, 10, 20: the test picture and two others", "a-photo-1", len(s.Photos),
		3, "photos")
	few("A 1.7.1", "SDEdit of a picture from the web", "a-drawing-1", len(s.Web), 1, "web")
	few("A 1.7.1", "SDEdit of two drawings by hand", fmt.Sprintf("a-drawing-%d", len(s.Web)+1), len(s.Drawings), 2, "drawings")
	few("A 1.7.2", "Inpainting: the test picture and two others", "a-hole-1", len(s.Holes), 3, "holes")
	few("A 1.7.3", "Text-conditional edits: the test picture and two others", "a-words-1", len(s.TextEdits), 3,
		"text_edits")
	few("A 1.8", "Visual anagrams: one that turns over, and others", "a-anagram-1", len(s.Anagrams), 3, "anagrams")
	few("A 1.9", "Hybrid images: three, of which the best candidates", "a-hybrid-1", len(s.Hybrids), 3, "hybrids")
}
