package studio

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what a monitoring system reads at /metrics.
type metrics struct {
	registry *prometheus.Registry
	ended    *prometheus.CounterVec
	seconds  prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "unnoise_jobs_ended_total",
			Help: "Jobs that ended, by how."}, []string{"state"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "unnoise_drawing_seconds",
			Help: "How long jobs were drawn.", Buckets: prometheus.ExponentialBuckets(0.05, 2, 16)}),
	}
	m.registry.MustRegister(m.ended, m.seconds, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// gauge adds a value that is asked for when somebody reads it.
func (m *metrics) gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// observe adds what is told of the machinery, and of the program's inside where that is asked for.
func (s *Studio) observe(mux *http.ServeMux) {
	s.metrics.gauge("unnoise_jobs_waiting", "Jobs in the queue that nobody draws yet.", func() float64 {
		waiting, _ := s.queue.Depth()
		return float64(waiting)
	})
	s.metrics.gauge("unnoise_jobs_drawn", "Jobs that are drawn now.", func() float64 {
		_, working := s.queue.Depth()
		return float64(working)
	})
	s.metrics.gauge("unnoise_workers", "Workers that were heard of lately.", func() float64 {
		return float64(len(s.queue.Workers()))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	if s.options.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
}
