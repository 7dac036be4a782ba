package console

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var update = flag.Bool("update", false, "rewrite docs/METRICS.md from the table in metrics.go, and openapi.json from the table of routes")

const metricsDoc = "../docs/METRICS.md"

func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(metricsDoc)
	if err != nil && !*update {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(text, []byte("| name |"))
	want := string(head) + metricsTable()
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(text), want); diff != "" {
		t.Errorf("docs/METRICS.md and console/metrics.go differ; go test ./console -update writes the page (-got +want):\n%s", diff)
	}
}

func metricsTable() string {
	var b strings.Builder
	b.WriteString("| name | type | labels | says |\n|---|---|---|---|\n")
	for _, m := range Metrics() {
		labels := make([]string, len(m.Labels))
		for i, l := range m.Labels {
			labels[i] = fmt.Sprintf("`%s`: %s", l.Name, l.Values)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, kindName(m), strings.Join(labels, "<br>"), m.Help)
	}
	return b.String()
}

func kindName(m *Metric) string {
	switch m.Kind {
	case prometheus.CounterValue:
		return "counter"
	case prometheus.GaugeValue:
		return "gauge"
	case prometheus.UntypedValue:
		return "histogram"
	}
	return "unknown"
}

func TestMetricNamesFollowPrometheus(t *testing.T) {
	name := regexp.MustCompile(`^nines_[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	for _, m := range Metrics() {
		if !name.MatchString(m.Name) {
			t.Errorf("%s: a name is nines_ and words", m.Name)
		}
		if seen[m.Name] {
			t.Errorf("%s: listed twice", m.Name)
		}
		seen[m.Name] = true
		if counts := m.Kind == prometheus.CounterValue; counts != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s: a counter's name ends in _total, and only a counter's", m.Name)
		}
		if !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s: help %q is no sentence", m.Name, m.Help)
		}
	}
}

func TestAScrapeShowsWhatTheStatusSays(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector(func(s Scrape) {
		s.Status(exampleStatus())
		s.Set(CallsTotal, 12, "999", "emergency", "answered")
		s.Histogram(SetupDelay, Histogram{Bounds: []float64{.1, 1}, Counts: []uint64{3, 2, 1}, Sum: 4.5}, "emergency")
		s.Histogram(RescueGap, Histogram{Bounds: []float64{1}, Counts: []uint64{2, 1}, Sum: 3.75}, "emergency")
	}))
	want := `
# HELP nines_call_setup_seconds From the caller's INVITE to our answer to it, of calls that were answered.
# TYPE nines_call_setup_seconds histogram
nines_call_setup_seconds_bucket{class="emergency",le="0.1"} 3
nines_call_setup_seconds_bucket{class="emergency",le="1"} 5
nines_call_setup_seconds_bucket{class="emergency",le="+Inf"} 6
nines_call_setup_seconds_sum{class="emergency"} 4.5
nines_call_setup_seconds_count{class="emergency"} 6
# HELP nines_calls Calls that live now.
# TYPE nines_calls gauge
nines_calls{state="ringing"} 1
nines_calls{state="talking"} 4
# HELP nines_calls_total Calls that came to an end, by what the caller got.
# TYPE nines_calls_total counter
nines_calls_total{class="emergency",outcome="answered",route="999"} 12
# HELP nines_endpoint_verdict 1 for the verdict that holds, 0 for the others.
# TYPE nines_endpoint_verdict gauge
nines_endpoint_verdict{endpoint="control-room",verdict="down"} 1
nines_endpoint_verdict{endpoint="control-room",verdict="suspect"} 0
nines_endpoint_verdict{endpoint="control-room",verdict="unknown"} 0
nines_endpoint_verdict{endpoint="control-room",verdict="up"} 0
nines_endpoint_verdict{endpoint="warwickshire",verdict="down"} 0
nines_endpoint_verdict{endpoint="warwickshire",verdict="suspect"} 0
nines_endpoint_verdict{endpoint="warwickshire",verdict="unknown"} 0
nines_endpoint_verdict{endpoint="warwickshire",verdict="up"} 1
# HELP nines_ports_used Media ports that are bound to calls.
# TYPE nines_ports_used gauge
nines_ports_used 20
# HELP nines_rescue_gap_seconds From the last packet of the lost endpoint to the first of the new one, of calls that were rescued.
# TYPE nines_rescue_gap_seconds histogram
nines_rescue_gap_seconds_bucket{class="emergency",le="1"} 2
nines_rescue_gap_seconds_bucket{class="emergency",le="+Inf"} 3
nines_rescue_gap_seconds_sum{class="emergency"} 3.75
nines_rescue_gap_seconds_count{class="emergency"} 3
# HELP nines_rescues Calls whose endpoint was lost while they talked and that look for another now.
# TYPE nines_rescues gauge
nines_rescues 1
# HELP nines_rescues_total Calls whose endpoint was lost while they talked, by what became of them. lost_talking: the caller left while nobody talked to it.
# TYPE nines_rescues_total counter
nines_rescues_total{outcome="kept"} 1
nines_rescues_total{outcome="lost_talking"} 1
nines_rescues_total{outcome="rescued"} 3
# HELP nines_sip_dropped_total Datagrams, messages and connections that were not taken, by reason.
# TYPE nines_sip_dropped_total counter
nines_sip_dropped_total{reason="garbage"} 7
nines_sip_dropped_total{reason="unknown_source"} 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "nines_call_setup_seconds", "nines_calls", "nines_calls_total",
		"nines_endpoint_verdict", "nines_ports_used", "nines_rescue_gap_seconds", "nines_rescues", "nines_rescues_total", "nines_sip_dropped_total"); err != nil {
		t.Error(err)
	}
}

func TestEveryMetricIsSetByAStatusOrCountedByTheRooms(t *testing.T) {
	// What a Status does not say is counted by outcome; app sets it from the rooms' own counters.
	counted := map[string]bool{
		"nines_calls_total": true, "nines_call_setup_seconds": true, "nines_rescue_gap_seconds": true, "nines_attempts_total": true, "nines_health_probes_total": true, "nines_loop_panics_total": true,
		"nines_notices_waiting": true, "nines_notices_total": true, "nines_notice_receiver_failing": true, "nines_heartbeats_total": true,
	}
	status := exampleStatus()
	status.SIP.Dropped = map[string]uint64{"garbage": 1}
	status.Media.Dropped = map[string]uint64{"foreign": 1}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector(func(s Scrape) { s.Status(status) }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	for _, f := range families {
		set[f.GetName()] = true
	}
	for _, m := range Metrics() {
		if set[m.Name] == counted[m.Name] {
			t.Errorf("%s: set by a status: %v, counted by the rooms: %v; it must be one of them", m.Name, set[m.Name], counted[m.Name])
		}
	}
}

func TestAMetricWithTheWrongLabelsDoesNotHideTheOthers(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(Collector(func(s Scrape) {
		s.Set(CallsTotal, 1, "only one label")
		s.Set(PortsUsed, 20)
	}))
	got, err := registry.Gather()
	if err == nil {
		t.Error("nobody said that nines_calls_total has the wrong labels")
	}
	if len(got) != 1 || got[0].GetName() != "nines_ports_used" {
		t.Errorf("gathered %v; nines_ports_used must still be there", got)
	}
}

// exampleStatus is a bad moment: the primary is down.
func exampleStatus() Status {
	now := exampleNow()
	return Status{
		Name: "west-mercia", Version: Version{Version: "v0.1.0", Go: "go1.26.0"},
		Since: now.Add(-3 * time.Hour), UptimeSeconds: 3 * 3600, Ready: true, FastPath: "userspace",
		Listen: []string{"udp://192.0.2.10:5060"},
		TLS:    &TLSStatus{Usable: true, Subject: "nines.example", Expires: now.Add(90 * 24 * time.Hour), Partners: true},
		Endpoints: []EndpointStatus{
			{
				Name: "control-room", URI: "sip:10.0.0.10:5060", Verdict: "down", Since: now.Add(-12 * time.Second), Limit: 60,
				Explanation: "3 probes running were silent", Evidence: []string{"14:02:14 OPTIONS silent for 800ms", "14:02:13 OPTIONS silent for 800ms"},
				LastProbe: now.Add(-time.Second), NextProbe: now.Add(300 * time.Millisecond), WhatBringsBack: "5 probes answered running, then 30s",
			},
			{
				Name: "warwickshire", URI: "sip:pbx.warks.example", Partner: true, Verdict: "up", Since: now.Add(-3 * time.Hour), Calls: 4, Limit: 12,
				Explanation: "answers OPTIONS", RTTMillis: 11.25, LastProbe: now.Add(-4 * time.Second), Held: true,
				Hold: &HoldStatus{By: "alice", Why: "power work", Until: now.Add(2 * time.Hour)},
			},
		},
		Trunks:    []TrunkStatus{{Name: "bt", Kind: "carrier", Calls: 5, LastSeen: now.Add(-2 * time.Second)}, {Name: "desk-phones", Kind: "pbx"}},
		Calls:     CallStatus{Total: 5, Ringing: 1, Talking: 4, ByRoute: map[string]int{"999": 4, "101": 1}, Placed: 1235, Answered: 1230, Cleared: 4},
		Rescues:   RescueStatus{Begun: 6, Running: 1, Rescued: 3, Kept: 1, LostTalking: 1, LastGapMillis: 812.4, GapP50Millis: 640, GapP99Millis: 2310},
		CallBacks: CallBackStatus{Open: 2, Redials: 1}, Book: BookStatus{Words: "1234 entries written to nines.db (3 MB)"},
		Ports:  PortStatus{Range: "20000-29999", Used: 20, Free: 9980},
		SIP:    SIPStatus{Received: 9000, Sent: 9100, Retransmissions: 3, Dropped: map[string]uint64{"garbage": 7, "unknown_source": 2}, Transactions: 11},
		Media:  MediaStatus{Streams: 8, Packets: 1_000_000, Bytes: 172_000_000, Lost: 2},
		Routes: []RouteStatus{{Name: "101", Class: "routine"}, {Name: "999", Class: "emergency"}},
		Routine: RoutineStatus{
			Announcing: 12, Announced: 340, Escaped: 7, Unplayable: 1, EmergencyWaiting: 6,
			Shed:   []ShedStatus{{Route: "101", Since: exampleNow().Add(-5 * time.Minute), Why: "6 emergency calls wait for an answer (limit 5)"}},
			Treats: []TreatStatus{{Route: "101", By: "alice", Why: "999 is down", From: exampleNow(), Until: exampleNow().Add(time.Hour), LeftSeconds: 3600}},
			Lines:  []LineStatus{{Route: "101", Waiting: 3}},
			Heard:  []HeardStatus{{Route: "101", Announcement: "report-online", Finished: true, Times: 200, Seconds: 4000}, {Route: "101", Announcement: "report-online", Times: 140, Seconds: 900}},
			Sheds:  map[string]uint64{"101": 2},
		},
		Config: ConfigStatus{Path: "/etc/nines/nines.yaml", Loaded: now.Add(-3 * time.Hour), Accepted: false, Problems: []string{
			`nines.yaml:9: routes[0].ask[1]: no endpoint is called "soth"; did you mean "north"?`,
		}},
	}
}

func exampleNow() time.Time { return time.Date(2026, 11, 23, 14, 2, 15, 0, time.UTC) }
