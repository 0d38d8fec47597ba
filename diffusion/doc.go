// Package diffusion is the mathematics of denoising diffusion on the host: image batches, noise,
// schedules, guidance and samplers, in plain float32. It knows no network, no file and no compute
// backend: a network enters as a [Denoiser], a function.
//
// The forward process noises an image x_0 to timestep t (DDPM, eq. 4):
//
//	x_t = √ᾱ_t x_0 + √(1-ᾱ_t) ε,  ε ~ N(0, I)
//
// A Denoiser estimates ε from x_t. A [Sampler] walks back from noise to an image, one estimate a step:
//
//	schedule, err := diffusion.Linear(300, 1e-4, 0.02)
//	timesteps, err := schedule.Timesteps(50, diffusion.Linspace)
//	generator := diffusion.NewGenerator(0)
//	x := diffusion.NewImages(4, 1, 28, 28)
//	generator.Normal(x.Data)
//
//	sampler := diffusion.Sampler{
//		Schedule:  schedule,
//		Timesteps: timesteps,
//		Method:    diffusion.DDPM{Variance: diffusion.FixedSmall},
//		Noise:     generator.Noise,
//	}
//	for step, err := range sampler.Steps(ctx, denoiser, x) {
//		// step.X is x at the next timestep, step.X0 the present guess of the final images
//	}
//
// Flow matching goes the other way round, in continuous time: from noise at t = 0 along x_t = (1-t) ε + t x_1 to the image
// at t = 1. There a [VelocityField] takes the Denoiser's place and a [FlowSampler] the Sampler's.
//
// # Conventions
//
// Timesteps run from 0 (almost no noise) to T-1 (almost nothing else). ᾱ_t is AlphasCumprod[t]; after
// the last timestep ᾱ is 1. Images are NCHW; their value range is the network's training range.
// Numbers agree with PyTorch's and diffusers' on the CPU: the same seed gives the same noise, the same
// noise the same image, up to float32 rounding.
//
// # Sources
//
//   - DDPM: Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239.
//   - Improved DDPM: Nichol, Dhariwal, "Improved Denoising Diffusion Probabilistic Models", arXiv:2102.09672.
//   - DDIM: Song, Meng, Ermon, "Denoising Diffusion Implicit Models", arXiv:2010.02502.
//   - DPM-Solver++: Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models", arXiv:2211.01095.
//   - Flow matching: Lipman et al., "Flow Matching for Generative Modeling", arXiv:2210.02747.
//   - Rectified flow: Liu, Gong, Liu, "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", arXiv:2209.03003.
//   - CFG: Ho, Salimans, "Classifier-Free Diffusion Guidance", arXiv:2207.12598.
//   - Imagen: Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding", arXiv:2205.11487.
//   - Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", arXiv:2305.08891.
package diffusion
