package hubfile

// Names in a pipeline's folder, as diffusers has them.
const (
	Index     = "model_index.json"
	Scheduler = "scheduler_config.json"
	Network   = "config.json"
)

// SuperResolution tells of each class of DeepFloyd IF's pipelines whether it draws from a small image.
var SuperResolution = map[string]bool{
	"IFPipeline": false, "IFImg2ImgPipeline": false, "IFInpaintingPipeline": false,
	"IFSuperResolutionPipeline": true, "IFImg2ImgSuperResolutionPipeline": true,
	"IFInpaintingSuperResolutionPipeline": true,
}
