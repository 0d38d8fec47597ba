package course

import (
	"fmt"
	"slices"

	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/writeup"
)

// Runs are those that the second half shows; nil where there is none.
type Runs struct{ Denoiser, Time, Class, Flat, FlowTime, Flow *writeup.ShownRun }

// Checklist ticks off what Berkeley's project 5 asks for, in both editions. s is nil where there is no first half.
func Checklist(s *Subjects, r Runs) (all []writeup.Deliverable) {
	add := func(part, what, at string, done writeup.State, note string) {
		all = append(all, writeup.Deliverable{Part: part, What: what, At: at, Done: done, Note: note})
	}
	if s != nil {
		firstHalf(*s, add)
	}
	const train = "unnoise train mnist "
	shown := func(run *writeup.ShownRun, missing string, epochs ...int) (writeup.State, string) {
		if run == nil {
			return writeup.Missing, "Add it: " + missing
		}
		for _, epoch := range epochs {
			if !slices.Contains(run.Epochs(), epoch) {
				return writeup.Partly, fmt.Sprintf("Of the epochs there is %s only. All of them: %s",
					list(run.Epochs()), missing)
			}
		}
		return writeup.Done, ""
	}
	none := train + "--condition none --out runs/none, then --none runs/none"
	timed := train + "--condition time --out runs/time, then --time runs/time"
	class := train + "--condition class --out runs/class, then --class runs/class"
	flat := train + "--condition class --decay 1 --out runs/flat, then --class-flat runs/flat"
	flowTime := train + "--condition time --objective flow --out runs/flow-time, then --flow-time runs/flow-time"
	flow := train + "--objective flow --out runs/flow, then --flow runs/flow"
	each := func(part, what, at string, run *writeup.ShownRun, missing string, epochs ...int) {
		done, note := shown(run, missing, epochs...)
		add(part, what, at, done, note)
	}
	add("B 1.2", "The noising process, σ from 0 to 1", "noise", writeup.Done, "")
	each("B 1.2.1", "The denoiser’s training loss", "denoiser", r.Denoiser, none)
	each("B 1.2.1", "Test digits denoised, after epochs 1 and 5", "denoiser", r.Denoiser, none, 1, 5)
	each("B 1.2.2", "Noise levels that it was not trained for", "denoiser", r.Denoiser, none)
	pure, note := shown(r.Denoiser, none)
	if pure == writeup.Done {
		pure, note = writeup.Partly, fmt.Sprintf("The denoiser of σ = %g is given pure noise, and compared with the "+
			"mean digit; it was not trained on pure noise.", sigma(r.Denoiser.Network))
	}
	add("B 1.2.3", "Denoising pure noise", "denoiser", pure, note)
	each("B 2.2", "DDPM: training loss with the timestep", "time", r.Time, timed)
	each("B 2.3", "DDPM: samples, after several epochs up to 20", "time", r.Time, timed, 1, 20)
	each("B 2.5", "DDPM: training loss with the class", "class", r.Class, class)
	each("B 2.6", "DDPM: four of each digit, after several epochs up to 20", "class", r.Class, class, 1, 20)
	each("B 2.2", "Flow matching: training loss with the time", "flow-time", r.FlowTime, flowTime)
	each("B 2.3", "Flow matching: samples, after several epochs", "flow-time", r.FlowTime, flowTime, 1)
	each("B 2.5", "Flow matching: training loss with the class", "flow", r.Flow, flow)
	each("B 2.6", "Flow matching: four of each digit, after several epochs", "flow", r.Flow, flow, 1)
	each("B 2.6", "The same without a falling learning rate", "class", r.Flat, flat)
	return all
}

func sigma(c mnistunet.Config) float64 { return c.Sigma }

func list(epochs []int) string {
	text := "epoch"
	for i, e := range epochs {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(" %d", e)
	}
	return text
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
	few("A 0", "Three prompts of your own, in several numbers of steps, with the seed", "steps", len(s.Prompts), 3,
		"prompts")
	add("A 1.1", "The forward process at three noise levels", "forward", writeup.Done, "")
	add("A 1.2", "Gaussian blur of them", "denoise", writeup.Done, "")
	add("A 1.3", "One-step denoising of them", "denoise", writeup.Done, "")
	add("A 1.4", "Iterative denoising, every fifth step; beside one step and blur", "iterative", writeup.Done, "")
	add("A 1.5", "Five samples from pure noise", "sampling", writeup.Done, "")
	add("A 1.6", "Five samples with classifier-free guidance", "guidance", writeup.Done, "")
	few("A 1.7", "SDEdit from noise level 1, 3, 5, 7, 10, 20: the test picture and two others", "edit", len(s.Photos),
		3, "photos")
	few("A 1.7.1", "SDEdit of a picture from the web", "drawings", len(s.Web), 1, "web")
	few("A 1.7.1", "SDEdit of two drawings by hand", "drawings", len(s.Drawings), 2, "drawings")
	few("A 1.7.2", "Inpainting: the test picture and two others", "holes", len(s.Holes), 3, "holes")
	few("A 1.7.3", "Text-conditional edits: the test picture and two others", "words", len(s.TextEdits), 3,
		"text_edits")
	few("A 1.8", "Visual anagrams: one that turns over, and others", "anagrams", len(s.Anagrams), 3, "anagrams")
	few("A 1.9", "Hybrid images: three, of which the best candidates", "hybrids", len(s.Hybrids), 3, "hybrids")
}
