// Package diffusion is the mathematics of denoising diffusion on the host: image batches, noise, processes, guidance
// and samplers, in plain float32. It knows no network, no file and no compute backend: a network enters as a
// [Denoiser], a function.
//
// # Processes
//
// A [Process] turns an image x_0 into noise. At each of its times t there are two factors, [Process.Levels]:
//
//	x_t = signal·x_0 + noise·ε,  ε ~ N(0, I)
//
// There are two processes. A [Schedule] has timesteps (DDPM, eq. 4): signal = √ᾱ_t, noise = √(1-ᾱ_t). Timesteps run
// from 0, almost no noise, to T-1, almost nothing else; the clean image has the time [Clean], which is -1. A [Flow] is
// a straight line (Flow matching): signal = t, noise = 1-t. Its time runs from 0, noise, to 1, the image. Up to x's
// scale and the clock both are the same process. So everything below works with both.
//
// # Estimates
//
// A Denoiser sees x_t and makes an [Estimate]. Networks differ in what they predict: the noise ε, the image x_0, v, or
// a flow's velocity x_0 - ε. Where x_t is known, each [Prediction] can be turned into every other: see [Estimate.As].
// [Target] is what a network learns from.
//
// # Sampling
//
// A [Sampler] goes from noise to an image along a path. Each [Move] of the path leads from one time to another. The
// [Method] makes it:
//
//	schedule, err := diffusion.Linear(300, 1e-4, 0.02)
//	path, err := schedule.Path(50, diffusion.Linspace)
//	generator := diffusion.NewGenerator(0)
//	x := diffusion.NewImages(4, 1, 28, 28)
//	generator.Normal(x.Data)
//
//	sampler := diffusion.Sampler{
//		Process: schedule,
//		Path:    path,
//		Method:  diffusion.DDPM{Variance: diffusion.FixedSmall},
//		Noise:   generator.Noise,
//	}
//	for step, err := range sampler.Steps(ctx, denoiser, x) {
//		// step.X is x at the time step.To, step.X0 the present guess of the final images
//	}
//
// [DDPM] adds noise in every step. [DDIM] does so with Eta above 0 only. [DPMSolver], [Euler], [Midpoint] and [Heun]
// add none: the same x always leads to the same image. Midpoint and Heun ask for two estimates a step; the others ask
// for one.
//
// # Images that are known
//
// [Sampler.Start] noises an image to the middle of a path, and a sampler goes back from there: image-to-image
// (SDEdit). [Known.Keep] writes the known part of an image into every step: inpainting. [Resample] makes a path with
// jumps back to more noise, which lets the generated part fit the known one better (RePaint).
//
// # Conventions
//
// Images are NCHW; their value range is the network's training range. Numbers agree with PyTorch's and diffusers' on
// the CPU: the same seed gives the same noise, the same noise the same image, up to float32 rounding.
//
// # Sources
//
//   - DDPM: Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239.
//   - Improved DDPM: Nichol, Dhariwal, "Improved Denoising Diffusion Probabilistic Models", arXiv:2102.09672.
//   - DDIM: Song, Meng, Ermon, "Denoising Diffusion Implicit Models", arXiv:2010.02502.
//   - DPM-Solver++: Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models", arXiv:2211.01095.
//   - Flow matching: Lipman et al., "Flow Matching for Generative Modeling", arXiv:2210.02747.
//   - Rectified flow: Liu, Gong, Liu, "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", arXiv:2209.03003.
//   - v: Salimans, Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", arXiv:2202.00512.
//   - Score SDE: Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", arXiv:2011.13456.
//   - EDM: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", arXiv:2206.00364.
//   - SDEdit: Meng et al., "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations", arXiv:2108.01073.
//   - RePaint: Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models", arXiv:2201.09865.
//   - CFG: Ho, Salimans, "Classifier-Free Diffusion Guidance", arXiv:2207.12598.
//   - Imagen: Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding", arXiv:2205.11487.
//   - Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", arXiv:2305.08891.
package diffusion
