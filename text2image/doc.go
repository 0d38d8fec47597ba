// Package text2image trains a cascade of DeepFloyd IF's classes from pictures with captions. The first stage is a text
// encoder and a UNet that learn together, the second a UNet that makes the images larger. What is saved is a pipeline's
// folder as the hub has it, for each stage.
package text2image

const (
	// Channels of an image.
	Channels = 3
	// Tokens is the length that diffusers' IFPipeline fills a prompt up to.
	Tokens = 77
	// TrainTokens is the length that captions are filled up to in training. Behind the last token of a text the
	// encoder's results soon repeat themselves (see relative_attention_max_distance), and stand for those up to Tokens.
	TrainTokens = 32
	// captionTokens is the most tokens of a caption, </s> included.
	captionTokens = 24
)
