package lab

import (
	"slices"
	"testing"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// The reader's verdict of real digits is above 0 where they are what was asked, in each look, and below 0 elsewhere.
func TestReadDigits(t *testing.T) {
	l := New(Options{})
	defer l.Close()
	_, test, err := dataset.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	labels := make([]int32, 20)
	x := diffusion.NewImages(len(labels), 1, 28, 28)
	test.Batch([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, x.Data, labels)
	seven := slices.Index(labels, 7)
	spec := model.Spec{ID: "digits", Channels: 1, Height: 28, Width: 28, Range: model.ZeroToOne,
		Vocabulary: []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}}
	d := drawing{lab: l, ctx: t.Context()}
	d.model = &opened{spec: spec}
	same := func(x diffusion.Images) diffusion.Images { return x }
	for _, c := range []struct {
		asked []string
		right bool
	}{{[]string{"7", "7"}, true}, {[]string{"7", "1"}, false}, {[]string{"1", "7"}, false}} {
		looks := []Look{{"one", c.asked[0], same}, {"two", c.asked[1], same}}
		i := Illusion{}
		texts := append(slices.Clone(c.asked), i.others(spec, c.asked)...)
		all, err := d.readDigits(x.Slice(seven, seven+1), []uint64{3}, looks, texts)
		if err != nil {
			t.Fatal(err)
		}
		v := all[0]
		if v.Seed != 3 || (v.Score > 0) != c.right || v.read(texts) != "7|7" {
			t.Errorf("asked for %v, a 7 of seed 3 is read %s with score %g and seed %d", c.asked, v.read(texts), v.Score,
				v.Seed)
		}
	}
}

// Who ranks candidates depends on what the model draws.
func TestCompleteJudge(t *testing.T) {
	digits := model.Spec{ID: "mnist-class", Channels: 1, Height: 28, Width: 28, Vocabulary: []string{"0", "1"}}
	own, words, large := digits, digits, digits
	own.ID = "runs/clothes"
	words.Vocabulary = []string{"zero", "one"}
	large.Height, large.Width = 64, 64
	for _, c := range []struct {
		spec   model.Spec
		asked  JudgeName
		judge  JudgeName // "": refused
		rounds int
	}{
		{digits, "", ByReader, readRounds}, {digits, ByModel, ByModel, refineRounds},
		{own, "", ByModel, refineRounds}, {own, ByReader, ByReader, readRounds},
		{words, "", ByModel, refineRounds}, {words, ByReader, "", 0}, {large, ByReader, "", 0}, {digits, "me", "", 0},
	} {
		i := Illusion{Candidates: 4, Judge: c.asked}
		err := i.completeCandidates(c.spec)
		if (err == nil) != (c.judge != "") || err == nil && (i.Judge != c.judge || *i.Refine != c.rounds) {
			t.Errorf("%s, judge %q: judge %q, error %v; expected %q", c.spec.ID, c.asked, i.Judge, err, c.judge)
		}
	}
	i := Illusion{Judge: ByReader}
	if i.completeCandidates(digits) == nil {
		t.Error("a judge without candidates was not refused")
	}
}
