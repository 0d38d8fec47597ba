package course

// What is told of each section, for a bright student who meets diffusion for the first time.
const (
	textSteps = `<p>A diffusion model begins with noise and removes, step by step, what it takes for noise. What it
shall see in it, it is told in words. How many steps are needed? More steps follow the model’s path more closely; the
time they take grows with their number. Watch what changes from row to row: the layout is there early, the details
settle.</p>`

	textForward = `<p>To learn, a model needs pictures with noise in them. The forward process makes them: the picture
fades, and noise takes its place, so that the variance of the sum stays about 1.</p>
<p class="formula">x<sub>t</sub> = √ᾱ<sub>t</sub> x₀ + √(1 − ᾱ<sub>t</sub>) ε,&ensp;ε ~ N(0, I)</p>
<p>At t = 0 nearly all is picture, at the last t nearly all is noise. All columns have the same ε. The values are cut
off at black and white in these pictures only, not in the numbers.</p>`

	textDenoise = `<p>The oldest way to remove noise is to blur: neighbors are averaged, and noise that is independent
from pixel to pixel averages out. So do the edges. A blur knows nothing of pictures.</p>
<p>The network does. It estimates ε, and the formula above, solved for x₀, gives the picture that it expects:</p>
<p class="formula">x̂₀ = (x<sub>t</sub> − √(1 − ᾱ<sub>t</sub>) ε̂) / √ᾱ<sub>t</sub></p>
<p>That is one step. The more noise, the more pictures are possible, and the best answer is then their mean: smooth, and
nobody’s picture.</p>`

	textIterative = `<p>So don’t believe the estimate at once. Go a little of the way towards it, look again, and
correct. Each look sees less noise and so fewer possibilities; in the end one picture is left.</p>
<p class="formula">x<sub>t′</sub> = √ᾱ<sub>t′</sub> x̂₀ + √(1 − ᾱ<sub>t′</sub>) ε̂</p>
<p>This is DDIM’s step from t to an earlier t′; other samplers add fresh noise or remember the last estimates. From
much noise the result is a good picture, though not the one that was noised: the information is gone, and the model
makes up what it needs.</p>`

	textSampling = `<p>Nothing keeps us from starting with noise and no picture in it. Then all of the picture is made
up. Play it: first what the sampler holds, then what the network expects at that moment. The expectation
begins as a blur of all that is possible.</p>`

	textGuidance = `<p>Without help, samples look like the model’s average idea. Classifier-free guidance asks the
network twice, with the prompt and without, and goes γ times the difference:</p>
<p class="formula">ε = ε<sub>uncond</sub> + γ (ε<sub>cond</sub> − ε<sub>uncond</sub>)</p>
<p>γ = 1 is the model as it is. More exaggerates what makes the picture fit the prompt: clearer, and less varied. Too
much burns the picture.</p>`

	textEdit = `<p>SDEdit: noise a picture, but not to the end, and denoise it from there. What the noise covers is made
up, what it leaves is kept. A start at step 1 keeps next to nothing, a late one nearly all. Somewhere between lies a
picture that is both.</p>`

	textDrawings = `<p>It need not be a photograph. A sketch says where things are and what color they have; the model
knows what they look like. The noise hides the difference between a drawing and the pictures that the model has
learned from.</p>`

	textWords = `<p>With another prompt the same procedure turns one thing into another, of the same place, size and
color.</p>`

	textHoles = `<p>A hole is filled by denoising the whole picture, and putting the known part back after each step,
noised to that step’s level. So the new part always sees true surroundings:</p>
<p class="formula">x<sub>t</sub> ← m x<sub>t</sub> + (1 − m) (√ᾱ<sub>t</sub> x₀ + √(1 − ᾱ<sub>t</sub>) ε)</p>
<p>To make both parts fit, some steps go back and are made again (RePaint). What is known comes back to the bit.</p>`

	textAnagrams = `<p>One picture, two readings. At each step the network estimates the noise twice: in the picture as
it is, with the first prompt, and in the picture turned, with the second. The second estimate is turned back, and the
sampler follows the mean. A turn keeps noise what it is, independent and of variance 1; that is why it works, and why
not every change of a picture would.</p>
<p>Turn it yourself with the slider. Many are drawn, few can be read both ways. The score ranks them: it is the log odds
of the asked prompt against all others, in the worse view.</p>`

	textHybrids = `<p>From afar the eye sees what is coarse, from near the fine lines. So the two noise estimates are
filtered, the one’s low frequencies are kept and the other’s high ones, and added. Step back from the screen, or let
the slider do it.</p>`
)
