// Package training trains a [Network] on a [Dataset] to an [Objective], and keeps each run in a folder of its own.
//
// To read it, begin with task.go: what is learned. Then run.go: the loop of steps. A step is package nn's Trainer:
// forward, backward, Adam. The rest serves the loop: batches.go makes batches ahead, plan.go says how many steps there
// are, rate.go at what learning rate, checkpoint.go lets a run go on, metrics.go and summary.go tell of it. Package
// mnist is an example of a task.
//
// A run's folder:
//
//	config.json                       what the run is: recipe, network, seed, dtype, threads, data, program
//	metrics.jsonl                     a JSON object a line: the run, every step and epoch, validation, resumptions
//	checkpoints/epoch-NN/             the model after epoch NN, as Network.Save writes it
//	checkpoints/latest.safetensors    all that is needed to go on: values, statistics, moments, averages, counters
//	checkpoints/previous.safetensors  the one before, for the case that the latest is damaged
//	samples/epoch-NN.png              for the caller's pictures
//
// Data that have no end have no epochs. Their models and pictures are named by the steps made: step-NNNNNN.
//
// A run that was stopped at any moment, by Ctrl-C, kill -9 or a power cut, goes on from its latest checkpoint to the
// same numbers that it would have come to without the stop: all randomness is a function of the seed and of the epoch's
// or step's number, and with the same number of threads on the same kind of CPU a step gives the same bits. Files
// appear whole or not at all.
package training
