package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Family is one metric as documentation shows it.
type Family struct {
	Name   string
	Type   string // "counter", "gauge" or "histogram"
	Help   string
	Labels []string
}

const (
	typeCounter   = "counter"
	typeGauge     = "gauge"
	typeHistogram = "histogram"
)

func (f Family) desc() *prometheus.Desc {
	return prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
}

// row says how a metric is read from stats of type S.
type row[S any] struct {
	family Family
	read   func(*S, sink)
}

// sink takes the values of one metric.
type sink struct {
	out  chan<- prometheus.Metric
	desc *prometheus.Desc
	kind prometheus.ValueType
	base []string // values of the labels that all rows of the table have
}

func (s sink) value(v float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(s.desc, s.kind, v, slices.Concat(s.base, labels)...)
}

func (s sink) histogram(count uint64, sum float64, buckets map[float64]uint64) {
	s.out <- prometheus.MustNewConstHistogram(s.desc, count, sum, buckets, s.base...)
}

func gauge[S any](name, help string, read func(*S) float64) row[S] {
	return gaugeBy(name, help, "", func(s *S, to sink) { to.value(read(s)) })
}

func counter[S any](name, help string, read func(*S) uint64) row[S] {
	return counterBy(name, help, "", func(s *S, to sink) { to.value(float64(read(s))) })
}

// gaugeBy is gauge for a metric with a label of its own; an empty one is none.
func gaugeBy[S any](name, help, label string, read func(*S, sink)) row[S] {
	return row[S]{Family{name, typeGauge, help, labelsOf(label)}, read}
}

func counterBy[S any](name, help, label string, read func(*S, sink)) row[S] {
	return row[S]{Family{name, typeCounter, help, labelsOf(label)}, read}
}

func histogram[S any](name, help string, read func(*S, sink)) row[S] {
	return row[S]{Family{name, typeHistogram, help, nil}, read}
}

func labelsOf(label string) []string {
	if label == "" {
		return nil
	}
	return []string{label}
}

// table is the metrics that one kind of stats fills.
type table[S any] struct {
	rows  []row[S]
	descs []*prometheus.Desc
}

func newTable[S any](base []string, rows ...row[S]) table[S] {
	t := table[S]{rows: rows}
	for i := range rows {
		f := &rows[i].family
		f.Labels = slices.Concat(base, f.Labels)
		t.descs = append(t.descs, f.desc())
	}
	return t
}

func (t table[S]) describe(out chan<- *prometheus.Desc) {
	for _, d := range t.descs {
		out <- d
	}
}

func (t table[S]) collect(out chan<- prometheus.Metric, s *S, base ...string) {
	for i, r := range t.rows {
		kind := prometheus.GaugeValue
		if r.family.Type == typeCounter {
			kind = prometheus.CounterValue
		}
		r.read(s, sink{out: out, desc: t.descs[i], kind: kind, base: base})
	}
}

func (t table[S]) families() []Family {
	var list []Family
	for _, r := range t.rows {
		list = append(list, r.family)
	}
	return list
}
