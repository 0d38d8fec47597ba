package studio

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// policy allows the page its own files only.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src " +
	"'self'; frame-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// cookie holds the token in a browser.
const cookie = "unnoise_token"

// guard lets pass who may drive the studio: who asks for it by a loopback name, or has the token, and is no foreign
// page.
func guard(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if token == "" && !isLoopback(r.Host) {
			http.Error(w, "expected a loopback name as Host, such as localhost; other names need a studio with --token",
				http.StatusForbidden)
			return
		}
		if !sameOrigin(r) {
			http.Error(w, "another site's page may not use the studio", http.StatusForbidden)
			return
		}
		if token != "" && r.URL.Path != "/healthz" {
			if given := r.URL.Query().Get("token"); given != "" && r.Method == http.MethodGet && same(given, token) {
				http.SetCookie(w, &http.Cookie{Name: cookie, Value: token, Path: "/", HttpOnly: true,
					SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
				http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
				return
			}
			if !hasToken(r, token) {
				h.Set("WWW-Authenticate", "Bearer")
				http.Error(w,
					"expected the studio's token: open the page with ?token=… or send it as Authorization: Bearer …",
					http.StatusUnauthorized)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback reports whether a Host header names this machine for itself.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// sameOrigin reports whether no foreign page made a request. Programs send neither header.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		// A link that was clicked may open the page, and nothing else.
		if r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Method != http.MethodGet || r.URL.Path != "/" {
			return false
		}
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host && (u.Scheme == "http" || u.Scheme == "https")
}

// hasToken reports whether a request has the token: as a bearer, as the password of any name, or in the page's cookie.
func hasToken(r *http.Request, token string) bool {
	if given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return same(given, token)
	}
	if _, given, ok := r.BasicAuth(); ok {
		return same(given, token)
	}
	c, err := r.Cookie(cookie)
	return err == nil && same(c.Value, token)
}

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// CheckAddress refuses to serve strangers without a token.
func CheckAddress(addr, token string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if token == "" && !isLoopback(net.JoinHostPort(host, "0")) {
		return fmt.Errorf("%s is open to other machines: give --token, a secret that they must know", addr)
	}
	if token != "" && (len(token) < 16 || strings.ContainsAny(token, " ;,\\\"\t\r\n")) {
		return fmt.Errorf("expected a token of at least 16 characters, without spaces, quotes, commas and semicolons")
	}
	return nil
}
