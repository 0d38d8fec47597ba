package lab_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// Any model is opened by its name. Here it is one that comes with the program; a run's folder or DeepFloyd/IF-I-M-v1.0
// go in its place. Steps come as they happen, with what the picture is expected to become.
func Example() {
	l := lab.New(lab.Options{})
	defer l.Close()
	seed := uint64(7)
	request := lab.Request{Model: "mnist-class", Prompts: []string{"3", "8"}, Seed: &seed,
		Sampling: model.Sampling{Steps: 10}}
	for event, err := range l.Draw(context.Background(), request) {
		switch {
		case err != nil:
			log.Fatal(err) // "steps: expected 1 to 300 with mnist-class, found 1000"
		case event.Step != nil && event.Step.Index == 4:
			fmt.Println("half way, a preview:", event.Step.X0.Shape())
		case event.Result != nil:
			fmt.Println("done:", event.Result.Images.Shape(), "by", event.Result.Request.Sampler)
		}
	}
	// Output:
	// half way, a preview: [2,1,28,28]
	// done: [2,1,28,28] by dpm++
}

// A picture carries its recipe, from which the same one is drawn again.
func ExampleReadRecipe() {
	l := lab.New(lab.Options{})
	defer l.Close()
	draw := func(r lab.Request) lab.Result {
		result, err := lab.Run(l.Draw(context.Background(), r), nil)
		if err != nil {
			log.Fatal(err)
		}
		return result
	}
	first := draw(lab.Request{Model: "mnist-class", Prompts: []string{"5"}, Sampling: model.Sampling{Steps: 4}})

	picture, err := first.Request.Grid(first.Images, first.Range, 0).Draw()
	if err != nil {
		log.Fatal(err)
	}
	parameters, err := first.Request.Parameters()
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "unnoise")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "five.png")
	if err := figure.WritePNG(path, picture, parameters); err != nil {
		log.Fatal(err)
	}
	recipe, err := lab.ReadRecipe(path)
	if err != nil {
		log.Fatal(err)
	}
	again := draw(recipe)
	fmt.Println("the same:", fmt.Sprint(again.Images.Data) == fmt.Sprint(first.Images.Data))
	// Output: the same: true
}
