// Package environ sets variables that other packages look for when they are initialized, and complain without: HOME,
// and the folders of XLA's plugins.
//
// It must be initialized before them. So it depends on nothing that they don't depend on too, and stands before them in
// the order of names, by which Go initializes packages that are ready.
package environ

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func init() {
	if os.Getenv("HOME") == "" {
		users, _ := os.ReadFile("/etc/passwd")
		os.Setenv("HOME", home(string(users), strconv.Itoa(os.Getuid())))
	}
	const plugins = "PJRT_PLUGIN_LIBRARY_PATH"
	if _, set := os.LookupEnv(plugins); set {
		return
	}
	if _, err := os.Stat("/etc/ld.so.conf"); err != nil { // go-xla says so at each start
		os.Setenv(plugins, strings.Join(pluginFolders(os.Getenv("HOME"), os.Getenv("LD_LIBRARY_PATH")), ":"))
	}
}

// home finds the folder of a user's number.
func home(users, uid string) string {
	for line := range strings.Lines(users) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) >= 7 && f[2] == uid && f[5] != "" {
			return f[5]
		}
	}
	return "/"
}

// pluginFolders are those that go-xla looks in, but for those of the linker's configuration.
func pluginFolders(home, libraries string) []string {
	var all []string
	for _, dir := range []string{filepath.Join(home, ".local"), "/usr/local"} {
		all = append(all, dir+"/lib/go-xla", dir+"/lib/go-xla/nvidia", dir+"/lib/gomlx/pjrt")
	}
	for _, dir := range filepath.SplitList(libraries) {
		if filepath.IsAbs(dir) {
			all = append(all, dir)
		}
	}
	return all
}
