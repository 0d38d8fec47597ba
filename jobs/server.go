package jobs

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a NATS server in this process, with its store in a folder.
type Server struct {
	nats  *server.Server
	token string
	lock  *flock.Flock
}

// Serve starts a server. addr is where workers of other processes reach it; empty: they don't. A token is what they
// must know.
func Serve(dir, addr, token string) (*Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, ".lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, errors.Join(err, fmt.Errorf("another program has the queue in %s open", dir))
	}
	o := &server.Options{ServerName: "unnoise", JetStream: true, StoreDir: dir, DontListen: addr == "", NoSigs: true,
		NoLog: true, Authorization: token, MaxPayload: mostBytes, DisableJetStreamBanner: true,
		JetStreamMaxStore: 2 * mostResult, JetStreamMaxMemory: 64 << 20}
	if addr != "" {
		host, port, err := net.SplitHostPort(addr)
		if err == nil {
			o.Host = host
			if o.Port, err = strconv.Atoi(port); o.Port == 0 {
				o.Port = server.RANDOM_PORT
			}
		}
		if err != nil {
			return nil, errors.Join(err, lock.Unlock())
		}
	}
	n, err := server.NewServer(o)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	s := &Server{n, token, lock}
	n.Start()
	if !n.ReadyForConnections(time.Minute) {
		s.Close()
		return nil, errors.New("the queue's server does not start: is its address in use?")
	}
	return s, nil
}

// Addr is where workers of other processes reach the server, or nil.
func (s *Server) Addr() net.Addr { return s.nats.Addr() }

// Connect connects to the server.
func (s *Server) Connect() (*nats.Conn, error) {
	return nats.Connect("", append(options(), nats.InProcessServer(s.nats), nats.Token(s.token))...)
}

// Close stops the server. What is in its store stays.
func (s *Server) Close() error {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	return s.lock.Unlock()
}

// Connect connects to a server or a cluster by its address, which may hold a token, as in nats://TOKEN@HOST:4222.
func Connect(url string) (*nats.Conn, error) { return nats.Connect(url, options()...) }

func options() []nats.Option {
	return []nats.Option{nats.Name("unnoise"), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second),
		nats.Timeout(10 * time.Second)}
}
