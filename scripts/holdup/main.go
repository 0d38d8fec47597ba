// Holdup tries how a studio holds up: under the load of many clients, and killed again and again.
//
//	go run ./scripts/holdup load --unnoise bin/unnoise --clients 200 --for 1m
//	go run ./scripts/holdup kill --unnoise bin/unnoise --kills 100
//
// It ends with an error where a job was lost or drawn twice, or memory or goroutines grew.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	program = flag.String("unnoise", "bin/unnoise", "the program")
	clients = flag.Int("clients", 200, "load: clients")
	length  = flag.Duration("for", time.Minute, "load: how long")
	kills   = flag.Int("kills", 100, "kill: how often")
	workers = flag.Int("workers", 2, "kill: workers beside the studio")
	queue   = flag.Int("queue", 32, "jobs that wait or are drawn")
	redrawn = flag.Int("redrawn", 20, "kill: pictures that are drawn again, and compared")
	seed    = flag.Uint64("seed", 1, "of what is killed when")
)

func main() {
	what := ""
	if len(os.Args) > 1 {
		what = os.Args[1]
		os.Args = slices.Delete(os.Args, 1, 2)
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "holdup")
	if err == nil {
		defer os.RemoveAll(dir)
		switch what {
		case "load":
			err = load(dir)
		case "kill":
			err = kill(dir)
		default:
			err = errors.New("expected load or kill")
		}
		if err != nil {
			fmt.Fprint(os.Stderr, logs(dir))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "holdup:", err)
		os.Exit(1)
	}
}

// process is a program that is started again and again.
type process struct {
	name string
	dir  string // of its log
	args []string
	cmd  *exec.Cmd
}

func (p *process) start() error {
	p.cmd = exec.Command(*program, p.args...)
	log, err := os.OpenFile(filepath.Join(p.dir, p.name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	return errors.Join(p.cmd.Start(), log.Close())
}

// kill kills it as kill -9 does.
func (p *process) kill() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// logs are the last lines of what the programs told.
func logs(dir string) string {
	var all strings.Builder
	paths, _ := filepath.Glob(filepath.Join(dir, "*.log")) // a bad pattern is the only error
	for _, path := range paths {
		text, err := os.ReadFile(path)
		lines := strings.SplitAfter(string(text), "\n")
		fmt.Fprintf(&all, "%s:\n%s", filepath.Base(path), strings.Join(lines[max(0, len(lines)-30):], ""))
		if err != nil {
			fmt.Fprintln(&all, err)
		}
	}
	return all.String()
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// up waits until a studio answers.
func up(url string) error {
	for start := time.Now(); time.Since(start) < 2*time.Minute; time.Sleep(50 * time.Millisecond) {
		if a, err := http.Get(url + "/healthz"); err == nil {
			a.Body.Close()
			return nil
		}
	}
	return errors.New("the studio does not answer")
}

// ask sends JSON and reads JSON.
func ask(ctx context.Context, method, url string, body, to any) (status int, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	if err == nil && to != nil && a.StatusCode < 300 {
		err = json.Unmarshal(answer, to)
	}
	return a.StatusCode, err
}

// gauge reads a number at /metrics.
func gauge(url, name string) (float64, error) {
	a, err := http.Get(url + "/metrics")
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("/metrics has no %s", name)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// goroutines counts a program's, by where they were started and where they are.
func goroutines(url string) (map[string]int, error) {
	text, err := get(url + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return nil, err
	}
	all := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^(\d+) @.*\n((?:#.*\n)*)`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, err
		}
		all[regexp.MustCompile(`0x[0-9a-f]+\s`).ReplaceAllString(m[2], "")] += n
	}
	return all, nil
}

// load has many clients draw at once: each is answered or refused.
func load(dir string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	url := "http://" + address
	studio := process{name: "studio", dir: dir, args: []string{"studio", "--addr", address, "--dir", dir, "--models",
		"mnist-class", "--queue", strconv.Itoa(*queue), "--pprof"}}
	if err := studio.start(); err != nil {
		return err
	}
	defer studio.kill()
	if err := up(url); err != nil {
		return err
	}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = *clients
	resident := func() (bytes float64, err error) { return gauge(url, "process_resident_memory_bytes") }
	var mu sync.Mutex
	answered, refused := 0, 0
	var took []time.Duration
	var faults []error
	round := func(n int, length time.Duration) {
		ctx, stop := context.WithTimeout(context.Background(), length)
		defer stop()
		var all sync.WaitGroup
		for c := range n {
			all.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					start := time.Now()
					var drawn struct{ Data []struct{ B64JSON []byte } }
					status, err := ask(context.Background(), "POST", url+"/v1/images/generations",
						map[string]any{"prompt": strconv.Itoa(i % 10), "steps": 2, "seed": c*100_000 + i}, &drawn)
					mu.Lock()
					switch {
					case err == nil && status == 200 && len(drawn.Data) == 1:
						answered++
						took = append(took, time.Since(start))
					case err == nil && status == 429:
						refused++
					default:
						faults = append(faults, fmt.Errorf("status %d: %w", status, err))
					}
					mu.Unlock()
					if status == 429 {
						time.Sleep(time.Second)
					}
				}
			})
		}
		all.Wait()
	}
	round(min(*clients, 8), *length/8) // networks are compiled, pools are filled
	http.DefaultClient.CloseIdleConnections()
	time.Sleep(2 * time.Second)
	before, err := goroutines(url)
	if err != nil {
		return err
	}
	begin, err := resident()
	if err != nil {
		return err
	}
	answered, refused, took = 0, 0, nil
	var half float64
	timer := time.AfterFunc(*length/2, func() { half, _ = resident() })
	defer timer.Stop()
	start := time.Now()
	round(*clients, *length)
	wall := time.Since(start)
	full, err := resident()
	if err != nil {
		return err
	}
	stay, stayed, left := 0, "", map[string]int{}
	for range 30 { // connections end
		http.DefaultClient.CloseIdleConnections()
		time.Sleep(time.Second)
		if left, err = goroutines(url); err != nil {
			return err
		}
		stay, stayed = more(before, left)
		if stay <= 0 {
			break
		}
	}
	end, err := resident()
	if err != nil {
		return err
	}
	slices.Sort(took)
	if len(took) == 0 {
		return errors.New("nobody was answered")
	}
	fmt.Printf("%d clients for %.0f s: %d answered (%.1f a second), %d refused, %d failed\n", *clients, wall.Seconds(),
		answered, float64(answered)/wall.Seconds(), refused, len(faults))
	fmt.Printf("an answer took %v in the middle, %v at most\n", took[len(took)/2].Round(time.Millisecond),
		took[len(took)-1].Round(time.Millisecond))
	const mb = 1 << 20
	fmt.Printf("memory: %.0f MB before, %.0f MB at half time, %.0f MB at the end, %.0f MB after\n", begin/mb, half/mb,
		full/mb, end/mb)
	fmt.Printf("goroutines: %d before, %d after\n", sum(before), sum(left))
	if stay > 0 {
		faults = append(faults, fmt.Errorf("%d goroutines stay:\n%s", stay, stayed))
	}
	if half > 0 && full > half*1.2+20*mb {
		faults = append(faults, errors.New("memory grows"))
	}
	return errors.Join(faults[:min(len(faults), 5)]...)
}

// more is how many goroutines there are more than before, and which ones.
func more(before, now map[string]int) (n int, which string) {
	for at, count := range now {
		if count > before[at] {
			which += fmt.Sprintf("%d, before %d, at\n%s", count, before[at], at)
		}
	}
	return sum(now) - sum(before), which
}

func sum(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// kill kills a studio and its workers at random while jobs are put in. Every job that was taken is in the gallery once.
func kill(dir string) error {
	random := rand.New(rand.NewPCG(*seed, 0))
	address, err := freeAddress()
	if err != nil {
		return err
	}
	nats, err := freeAddress()
	if err != nil {
		return err
	}
	url := "http://" + address
	all := []*process{{name: "studio", dir: dir, args: []string{"studio", "--addr", address, "--dir", dir, "--models", "mnist-class",
		"--nats-addr", nats, "--queue", strconv.Itoa(*queue)}}}
	for n := range *workers {
		all = append(all, &process{name: fmt.Sprintf("worker%d", n), dir: dir, args: []string{"worker", "--nats",
			"nats://" + nats, "--models", "mnist-class"}})
	}
	for i, p := range all {
		if err := p.start(); err != nil {
			return err
		}
		defer p.kill()
		if i == 0 {
			if err := up(url); err != nil {
				return err
			}
		}
	}
	start := time.Now()
	taken, unknown := map[int]string{}, map[int]bool{} // seeds
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var putting sync.WaitGroup
	putting.Go(func() {
		for n := 0; ctx.Err() == nil || len(taken) < 5 && n < 1000; n++ {
			var j struct{ ID string }
			ask1, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			status, err := ask(ask1, "POST", url+"/api/jobs", request(n), &j)
			cancel()
			switch {
			case err == nil && status == 202:
				taken[n] = j.ID
			case err == nil && status == 429:
				time.Sleep(300 * time.Millisecond)
			default: // it may have been taken before the studio was killed
				unknown[n] = true
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(30 * time.Millisecond)
		}
	})
	killed := map[string]int{}
	for range *kills {
		if random.IntN(2) == 0 { // else it may be killed while it begins
			if err := up(url); err != nil {
				return err
			}
		}
		time.Sleep(time.Duration(200+random.IntN(1300)) * time.Millisecond)
		p := all[random.IntN(len(all))]
		p.kill()
		if err := p.start(); err != nil {
			return err
		}
		killed[p.name]++
	}
	stop()
	putting.Wait()
	for _, p := range all {
		p.kill()
	}
	for i, p := range all {
		if err := p.start(); err != nil {
			return err
		}
		if i == 0 {
			if err := up(url); err != nil {
				return err
			}
		}
	}
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		waiting, err := gauge(url, "unnoise_jobs_waiting")
		drawn, err2 := gauge(url, "unnoise_jobs_drawn")
		pictures, err3 := gallery(url)
		missing := 0
		for n := range taken {
			if len(pictures[n]) == 0 {
				missing++
			}
		}
		if err := errors.Join(err, err2, err3); err == nil && waiting+drawn == 0 && missing == 0 {
			break
		} else if time.Since(began) > 5*time.Minute {
			fmt.Printf("%g jobs wait, %g are drawn, %d have no picture, and it does not end: %v\n", waiting, drawn,
				missing, err)
			break
		}
	}
	wall := time.Since(start)
	time.Sleep(time.Second) // what is told again comes now
	return count(url, taken, unknown, killed, wall)
}

func request(seed int) map[string]any {
	return map[string]any{"version": 1, "model": "mnist-class", "prompts": []string{strconv.Itoa(seed % 10)}, "seed": seed,
		"steps": 4, "sampler": "ddpm"}
}

// gallery lists the names of the pictures, by their seeds.
func gallery(url string) (map[int][]string, error) {
	drawn := map[int][]string{}
	before := ""
	for {
		var page struct {
			Pictures []struct {
				Name string
				Seed int
			}
		}
		if _, err := ask(context.Background(), "GET", url+"/api/gallery?limit=500&before="+before, nil, &page); err != nil {
			return nil, err
		}
		for _, p := range page.Pictures {
			drawn[p.Seed] = append(drawn[p.Seed], p.Name)
			before = p.Name
		}
		if len(page.Pictures) < 500 {
			return drawn, nil
		}
	}
}

// count looks for each job's picture.
func count(url string, taken map[int]string, unknown map[int]bool, killed map[string]int, wall time.Duration) error {
	drawn, err := gallery(url)
	if err != nil {
		return err
	}
	lost, twice, extra := 0, 0, 0
	for seed, id := range taken {
		if len(drawn[seed]) == 0 {
			lost++
			fmt.Println("lost:", id)
		}
	}
	for seed, names := range drawn {
		if len(names) > 1 {
			twice++
			fmt.Println("twice:", names)
		}
		if unknown[seed] {
			extra++
		}
	}
	same, compared := 0, 0
	for seed, names := range drawn { // in no order
		if compared == *redrawn {
			break
		}
		compared++
		var j struct{ ID, State string }
		if _, err := ask(context.Background(), "POST", url+"/api/jobs?draft=true", request(seed), &j); err != nil {
			return err
		}
		for j.State != "done" && j.State != "failed" {
			time.Sleep(20 * time.Millisecond)
			if _, err := ask(context.Background(), "GET", url+"/api/jobs/"+j.ID, nil, &j); err != nil {
				return err
			}
		}
		one, err := get(url + "/api/images/" + names[0])
		if err != nil {
			return err
		}
		other, err := get(url + "/api/jobs/" + j.ID + "/images/1")
		if err != nil {
			return err
		}
		if bytes.Equal(one, other) {
			same++
		}
	}
	total := 0
	var who []string
	for name, n := range killed {
		total += n
		who = append(who, fmt.Sprintf("%s %d times", name, n))
	}
	slices.Sort(who)
	fmt.Printf("%d times kill -9 in %.0f s: %s\n", total, wall.Seconds(), strings.Join(who, ", "))
	fmt.Printf("%d jobs were taken, of %d more the answer was lost (%d of them were drawn)\n", len(taken), len(unknown), extra)
	fmt.Printf("%d lost, %d drawn twice, %d of %d pictures the same when drawn again\n", lost, twice, same, compared)
	if lost > 0 || twice > 0 || same < compared || len(taken) == 0 {
		return errors.New("the studio does not hold up")
	}
	return nil
}

func get(url string) ([]byte, error) {
	a, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	return io.ReadAll(a.Body)
}
