// Package home sets HOME where it is missing, as in services and some containers: to the user's folder by /etc/passwd,
// else to /.
//
// Packages that look for HOME when they are initialized, and complain, must find it: this one depends on nothing that
// they don't depend on too and stands before them in the order of names, by which Go initializes packages that are
// ready.
package home

import (
	"os"
	"strconv"
	"strings"
)

func init() {
	if os.Getenv("HOME") != "" {
		return
	}
	users, _ := os.ReadFile("/etc/passwd")
	os.Setenv("HOME", of(string(users), strconv.Itoa(os.Getuid())))
}

// of finds the folder of a user's number.
func of(users, uid string) string {
	for line := range strings.Lines(users) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) >= 7 && f[2] == uid && f[5] != "" {
			return f[5]
		}
	}
	return "/"
}
