// Package training trains the MNIST UNet and keeps each run in a folder of its own:
//
//	config.json                       what the run is: recipe, network, seed, dtype, threads, data, program
//	metrics.jsonl                     a JSON object a line: the run, every step, the summary of every epoch, where it was resumed
//	checkpoints/epoch-NN/             the model after epoch NN: config.json and model.safetensors, as mnistunet.Load reads them
//	checkpoints/latest.safetensors    everything needed to go on: values, running statistics, Adam's moments, counters
//	checkpoints/previous.safetensors  the one before, for the case that the latest is damaged
//	samples/epoch-NN.png              for the caller's pictures
//
// A run that was stopped at any moment, by Ctrl-C, kill -9 or a power cut, goes on from its latest checkpoint to the same
// numbers that it would have come to without the stop: all randomness is a function of the seed and of the epoch's or step's
// number, and with the same number of threads on the same kind of CPU a step gives the same bits. Files appear whole or not at all.
package training
