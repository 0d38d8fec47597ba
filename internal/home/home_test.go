package home

import "testing"

func TestOf(t *testing.T) {
	const users = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nbroken\nempty:x:7:7:::\n"
	for uid, want := range map[string]string{"0": "/root", "65534": "/nonexistent", "7": "/", "1000": "/"} {
		if got := of(users, uid); got != want {
			t.Errorf("user %s: %s, expected %s", uid, got, want)
		}
	}
}
