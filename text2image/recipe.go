package text2image

import "github.com/unnoise/unnoise/training"

// Recipe is what a run of the first stage does if nothing else is asked for: 24,000 steps of 64 pictures, the first
// 256,000 of them in half the size. The shipped one comes from a chain of runs: pretrained/emoji/README.md.
func Recipe() training.Config {
	return training.Config{
		Steps: 24000, KeepEvery: 500, Batch: 64, LearningRate: 5e-4, Warmup: 300, Schedule: training.Cosine, Clip: 1,
		EMA:     0.9995,
		Dropout: 0.1, DType: "auto",
	}
}

const (
	// Half is how many pictures of the recipe come in half the size.
	Half = 256_000
	// Words is how many words the vocabulary has at most.
	Words = 6000
	// Captions is how many captions the vocabulary is made of.
	Captions = 200_000
)

// Prompts are those that sheets of samples are drawn of.
var Prompts = []string{
	"a rocket", "a cat", "an old man", "a campfire", "a red apple", "a skull", "a mountain", "a dog",
	"two cats", "a blue car on a yellow background", "a tree", "a house on a green background", "a smiling face",
	"a pizza", "a red heart", "a fish",
}

// SecondRecipe is what a run of the second stage does if nothing else is asked for.
func SecondRecipe() training.Config {
	return training.Config{
		Steps: 3200, KeepEvery: 200, Batch: 16, LearningRate: 1e-3, Warmup: 100, Schedule: training.Cosine, Clip: 1,
		EMA: 0.995, DType: "auto",
	}
}
