// Package jobs brings drawings to who draws them, through NATS JetStream: a [Queue] puts jobs in and is told what
// becomes of them, and any number of [Worker] processes on any machines take them out.
//
// Streams, all of them on disk:
//
//	UNNOISE_JOBS     jobs that wait or are drawn, by model: bounded; a job leaves it when it has ended
//	UNNOISE_PARTS    shares of jobs with candidates, which several workers draw and judge at the same time
//	UNNOISE_ENDS     how jobs ended, one message each: the first one counts
//	UNNOISE_RESULTS  what was drawn, in pieces, until the queue's owner has it
//
// A job is acknowledged after its end is written. A worker that dies is given its job again, or another one is: the
// request is a recipe, so that the picture is the same. An end is only written where there is none: it names one result,
// and a job that has one is not drawn again. Ends may be told more than once, so that what is made of them goes by the
// job's ID. Previews are plain messages: who does not listen misses them.
package jobs
