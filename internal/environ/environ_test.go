package environ

import (
	"strings"
	"testing"
)

func TestHome(t *testing.T) {
	const users = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nbroken\nempty:x:7:7:::\n"
	for uid, want := range map[string]string{"0": "/root", "65534": "/nonexistent", "7": "/", "1000": "/"} {
		if got := home(users, uid); got != want {
			t.Errorf("user %s: %s, expected %s", uid, got, want)
		}
	}
}

func TestPluginFolders(t *testing.T) {
	got := strings.Join(pluginFolders("/home/ada", "/opt/lib:relative::/usr/lib"), " ")
	const want = "/home/ada/.local/lib/go-xla /home/ada/.local/lib/go-xla/nvidia /home/ada/.local/lib/gomlx/pjrt " +
		"/usr/local/lib/go-xla /usr/local/lib/go-xla/nvidia /usr/local/lib/gomlx/pjrt /opt/lib /usr/lib"
	if got != want {
		t.Errorf("found %s, expected %s", got, want)
	}
}
