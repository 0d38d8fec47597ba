package unnoise

import (
	_ "github.com/gomlx/compute/gobackend"
	_ "github.com/gomlx/compute/support/backendtest"
	_ "github.com/gomlx/gomlx/core/graph"
	_ "github.com/gomlx/gomlx/ml/model"
	_ "github.com/chromedp/chromedp"
	_ "github.com/spf13/cobra"
	_ "github.com/schollz/progressbar/v3"
	_ "golang.org/x/image/draw"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/term"
)
