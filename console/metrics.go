package console

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric is one name of what /metrics shows. The names are a contract (R37): they are listed in docs/METRICS.md, and a test compares the two.
type Metric struct {
	Name   string
	Kind   prometheus.ValueType // for a histogram: UntypedValue
	Help   string
	Labels []Label
	desc   *prometheus.Desc
}

// Label is one label of a metric and what it may say.
type Label struct{ Name, Values string }

// Labels that many metrics share.
var (
	endpointLabel = Label{"endpoint", "a name from the configuration"}
	routeLabel    = Label{"route", "a name from the configuration"}
	trunkLabel    = Label{"trunk", "a name from the configuration"}
	classLabel    = Label{"class", "emergency, routine, test"}
	receiverLabel = Label{"receiver", "webhook or mail and its host or address"}
)

// The metrics. A counter begins at 0 with the process.
var (
	BuildInfo      = gauge("nines_build_info", "1, with the version that runs.", Label{"version", "as nines version says"}, Label{"go", "Go's version"})
	Ready          = gauge("nines_ready", "1 while this node takes calls.")
	ConfigAccepted = gauge("nines_config_accepted", "1 when the last configuration that was read is the one that runs, 0 when it was refused.")
	ConfigLoaded   = gauge("nines_config_loaded_timestamp_seconds", "When the running configuration was accepted, in Unix time.")

	CallsNow   = gauge("nines_calls", "Calls that live now.", Label{"state", "ringing, talking"})
	CallsTotal = counter("nines_calls_total", "Calls that came to an end, by what the caller got.", routeLabel, classLabel,
		Label{"outcome", "answered, refused, cleared"})
	SetupDelay = histogram("nines_call_setup_seconds", "From the caller's INVITE to our answer to it, of calls that were answered.", classLabel)
	Attempts   = counter("nines_attempts_total", "INVITEs to endpoints, by what became of them.", endpointLabel,
		Label{"outcome", "answered, refused, failed, silent, stopped, discarded"})
	RescuesNow = gauge("nines_rescues", "Calls whose endpoint was lost while they talked and that look for another now.")
	Rescues    = counter("nines_rescues_total", "Calls whose endpoint was lost while they talked, by what became of them. lost_talking: the caller left while nobody talked to it.",
		Label{"outcome", "rescued, kept, lost_talking"})
	RescueGap  = histogram("nines_rescue_gap_seconds", "From the last packet of the lost endpoint to the first of the new one, of calls that were rescued.", classLabel)
	TrunkCalls = gauge("nines_trunk_calls", "Calls from this trunk that live now.", trunkLabel)

	Verdict        = gauge("nines_endpoint_verdict", "1 for the verdict that holds, 0 for the others.", endpointLabel, Label{"verdict", "unknown, up, suspect, down"})
	VerdictSince   = gauge("nines_endpoint_verdict_timestamp_seconds", "Since when the verdict holds, in Unix time.", endpointLabel)
	Held           = gauge("nines_endpoint_held", "1 while an operator holds the endpoint.", endpointLabel)
	EndpointCalls  = gauge("nines_endpoint_calls", "Calls at this endpoint, asked and talking.", endpointLabel)
	Partner        = gauge("nines_endpoint_partner", "1 for another force's endpoint, 0 for an own one.", endpointLabel)
	EndpointLimit  = gauge("nines_endpoint_calls_limit", "Calls the endpoint can take at once, 0 for no limit.", endpointLabel)
	Probes         = counter("nines_health_probes_total", "OPTIONS probes sent to endpoints, by outcome.", endpointLabel, Label{"outcome", "ok, refused, silent, unreachable"})
	ProbeRTT       = gauge("nines_health_probe_rtt_seconds", "Round trip of the last probe that was answered.", endpointLabel)
	SIPMessages    = counter("nines_sip_messages_total", "SIP messages.", Label{"direction", "in, out"})
	SIPRepeats     = counter("nines_sip_retransmissions_total", "SIP messages that went or came again.", Label{"direction", "in, out"})
	SIPDropped     = counter("nines_sip_dropped_total", "Datagrams, messages and connections that were not taken, by reason.", Label{"reason", "garbage, unknown_source, too_many, too_large, handshake, stray, queue_full"})
	SIPSalvaged    = counter("nines_sip_salvaged_total", "Broken SIP messages that were understood all the same.")
	SIPTxns        = gauge("nines_sip_transactions", "Transactions that live now.")
	SIPConnections = gauge("nines_sip_connections", "TCP and TLS connections that are open now.")
	TLSExpires     = gauge("nines_tls_certificate_expires_timestamp_seconds", "When our TLS certificate ends, in Unix time. Not shown without one.")
	LoopPanics     = counter("nines_loop_panics_total", "Calls that were ended by a fault of ours.")

	BookEntries   = counter("nines_journal_entries_total", "Entries that are in the book on the disk.")
	BookLost      = counter("nines_journal_lost_total", "What should be in the book and is not: entries or records for which there was no room, messages of calls that had too many.", Label{"what", "entry, record, message"})
	BookWaiting   = gauge("nines_journal_waiting", "Entries that wait for the disk.")
	BookLag       = gauge("nines_journal_lag_seconds", "How long the oldest of them has waited.")
	BookTrouble   = gauge("nines_journal_trouble", "1 while the book cannot be written.")
	CallBacksOpen = gauge("nines_callbacks_open", "Lines of the call-back list that wait.")
	Redials       = counter("nines_redials_after_announcement_total", "Emergency calls within ten minutes of an announcement to the same number.")
	HEPSent       = counter("nines_hep_sent_total", "Copies of SIP messages that were sent to the capture server.")
	HEPLost       = counter("nines_hep_lost_total", "Copies for which there was no room, or no way to the capture server.")

	NoticesWaiting  = gauge("nines_notices_waiting", "Notices that wait for somebody to acknowledge them.", Label{"severity", "warning, critical"})
	NoticesTotal    = counter("nines_notices_total", "Messages to receivers of notices, by what became of each try.", receiverLabel, Label{"outcome", "sent, failed"})
	ReceiverFailing = gauge("nines_notice_receiver_failing", "1 while a receiver takes no notices.", receiverLabel)
	Heartbeats      = counter("nines_heartbeats_total", "Heartbeats to the dead-man's switch. silent: none was sent, because no calls are taken.", Label{"outcome", "sent, failed, silent"})

	Streams      = gauge("nines_rtp_streams", "Media streams that are relayed now.")
	RTPPackets   = counter("nines_rtp_packets_total", "Media packets that were relayed.")
	RTPBytes     = counter("nines_rtp_bytes_total", "Bytes of media that were relayed, without UDP and IP headers.")
	RTPLost      = counter("nines_rtp_lost_total", "Packets missing from the sequence numbers that came in.")
	RTPDropped   = counter("nines_rtp_dropped_total", "Media packets that were not relayed, by reason.", Label{"reason", "foreign, unaimed, send"})
	PortsUsed    = gauge("nines_ports_used", "Media ports that are bound to calls.")
	PortsFree    = gauge("nines_ports_free", "Media ports that are left.")
	FastPathUsed = gauge("nines_fast_path", "1 when packets are relayed in the kernel, 0 in userspace.")

	Announcing       = gauge("nines_announcing", "Callers who hear an announcement now.")
	Announcements    = counter("nines_announcements_total", "Announcements that were heard, by how they ended.", Label{"route", "a name from the configuration"}, Label{"announcement", "a name from the configuration, or one that is built in"}, Label{"end", "finished, left"})
	AnnouncedSeconds = counter("nines_announcement_seconds_total", "How long callers have heard announcements, altogether.", Label{"route", "a name from the configuration"}, Label{"announcement", "a name from the configuration, or one that is built in"})
	Unplayables      = counter("nines_announcements_unplayable_total", "Callers to whom nothing could be played: keys for SRTP that are not in SDP, no codec of ours, no ports.")
	Escapes          = counter("nines_escapes_total", "Routine callers who went to a person and became emergencies, by a key or the text relay.")
	EmergencyWaiting = gauge("nines_emergency_waiting", "Emergency calls without an answer now.")
	Shed             = gauge("nines_shed", "1 while load protection has a route's callers hear the announcement at once.", Label{"route", "a name from the configuration"})
	Sheds            = counter("nines_shed_total", "Times that load protection has switched a route.", Label{"route", "a name from the configuration"})
	Treated          = gauge("nines_treated_as_emergency", "1 while an operator has a routine route treated as emergency.", Label{"route", "a name from the configuration"})
	LineWaiting      = gauge("nines_line_waiting", "Callers who stand in a route's line for a person.", Label{"route", "a name from the configuration"})
)

// all lists the metrics in the order of their documentation. It is filled by the constructors above.
var all []*Metric

// Metrics lists what /metrics shows of ours.
func Metrics() []*Metric { return all }

func gauge(name, help string, labels ...Label) *Metric {
	return metric(name, prometheus.GaugeValue, help, labels)
}

func counter(name, help string, labels ...Label) *Metric {
	return metric(name, prometheus.CounterValue, help, labels)
}

func histogram(name, help string, labels ...Label) *Metric {
	return metric(name, prometheus.UntypedValue, help, labels)
}

func metric(name string, kind prometheus.ValueType, help string, labels []Label) *Metric {
	m := &Metric{Name: name, Kind: kind, Help: help, Labels: labels}
	names := make([]string, len(labels))
	for i, l := range labels {
		names[i] = l.Name
	}
	m.desc = prometheus.NewDesc(name, help, names, nil)
	all = append(all, m)
	return m
}

// SetupBuckets are the upper bounds of [SetupDelay] in seconds: fine where a failover shows, coarse where a person rings.
var SetupBuckets = []float64{.01, .025, .05, .1, .2, .3, .5, .75, 1, 1.25, 1.5, 2, 3, 4, 5, 8, 12, 20, 40, 60}

// GapBuckets are the upper bounds of [RescueGap] in seconds: fine around the 1, 3 and 5 s that a caller may notice.
var GapBuckets = []float64{.1, .2, .3, .5, .75, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 30, 60}

// Histogram is a snapshot of a histogram.
type Histogram struct {
	Bounds []float64 // upper bounds, ascending
	Counts []uint64  // as many as Bounds and one more, for what is greater than the last
	Sum    float64
}

// Scrape takes the values of one scrape.
type Scrape struct{ out chan<- prometheus.Metric }

// Set says what a metric is now; labels are values in the order of the metric's labels.
func (s Scrape) Set(m *Metric, value float64, labels ...string) {
	pm, err := prometheus.NewConstMetric(m.desc, m.Kind, value, labels...)
	s.put(m, pm, err)
}

// Histogram says what a histogram is now.
func (s Scrape) Histogram(m *Metric, h Histogram, labels ...string) {
	buckets := make(map[float64]uint64, len(h.Bounds))
	total := uint64(0)
	for i, n := range h.Counts {
		total += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = total
		}
	}
	pm, err := prometheus.NewConstHistogram(m.desc, total, h.Sum, buckets, labels...)
	s.put(m, pm, err)
}

func (s Scrape) put(m *Metric, pm prometheus.Metric, err error) {
	if err != nil {
		pm = prometheus.NewInvalidMetric(m.desc, err)
	}
	s.out <- pm
}

// Book says how the book is.
func (s Scrape) Book(b *BookStatus) {
	s.Set(BookEntries, float64(b.Written))
	s.Set(BookLost, float64(b.Lost), "entry")
	s.Set(BookLost, float64(b.RecordsLost), "record")
	s.Set(BookLost, float64(b.MessagesLost), "message")
	s.Set(BookWaiting, float64(b.Waiting))
	s.Set(BookLag, b.LagSeconds)
	s.Set(BookTrouble, one(b.Trouble != ""))
	s.Set(HEPSent, float64(b.HEPSent))
	s.Set(HEPLost, float64(b.HEPLost))
}

// Status sets all that a Status says. What it does not say (counters by outcome, histograms) is the reader's.
func (s Scrape) Status(st Status) {
	s.Set(BuildInfo, 1, st.Version.Version, st.Version.Go)
	s.Set(Ready, one(st.Ready))
	s.Set(ConfigAccepted, one(st.Config.Accepted))
	s.Set(ConfigLoaded, unix(st.Config.Loaded))
	s.Set(CallsNow, float64(st.Calls.Ringing), "ringing")
	s.Set(CallsNow, float64(st.Calls.Talking), "talking")
	s.Set(RescuesNow, float64(st.Rescues.Running))
	s.Set(Rescues, float64(st.Rescues.Rescued), "rescued")
	s.Set(Rescues, float64(st.Rescues.Kept), "kept")
	s.Set(Rescues, float64(st.Rescues.LostTalking), "lost_talking")
	s.Book(&st.Book)
	s.Set(CallBacksOpen, float64(st.CallBacks.Open))
	s.Set(Redials, float64(st.CallBacks.Redials))
	for _, t := range st.Trunks {
		s.Set(TrunkCalls, float64(t.Calls), t.Name)
	}
	for _, e := range st.Endpoints {
		s.endpoint(e)
	}
	s.routine(&st)
	s.Set(SIPMessages, float64(st.SIP.Received), "in")
	s.Set(SIPMessages, float64(st.SIP.Sent), "out")
	s.Set(SIPConnections, float64(st.SIP.Connections))
	if st.TLS != nil && st.TLS.Usable {
		s.Set(TLSExpires, float64(st.TLS.Expires.Unix()))
	}
	s.Set(SIPSalvaged, float64(st.SIP.Salvaged))
	s.Set(SIPTxns, float64(st.SIP.Transactions))
	s.Set(SIPRepeats, float64(st.SIP.Repeats), "in")
	s.Set(SIPRepeats, float64(st.SIP.Retransmissions), "out")
	for reason, n := range st.SIP.Dropped {
		s.Set(SIPDropped, float64(n), reason)
	}
	s.Set(Streams, float64(st.Media.Streams))
	s.Set(RTPPackets, float64(st.Media.Packets))
	s.Set(RTPBytes, float64(st.Media.Bytes))
	s.Set(RTPLost, float64(st.Media.Lost))
	for reason, n := range st.Media.Dropped {
		s.Set(RTPDropped, float64(n), reason)
	}
	s.Set(PortsUsed, float64(st.Ports.Used))
	s.Set(PortsFree, float64(st.Ports.Free))
	s.Set(FastPathUsed, one(st.FastPath == "kernel"))
}

func (s Scrape) endpoint(e EndpointStatus) {
	for _, v := range []string{"unknown", "up", "suspect", "down"} {
		s.Set(Verdict, one(v == e.Verdict), e.Name, v)
	}
	s.Set(VerdictSince, unix(e.Since), e.Name)
	s.Set(Held, one(e.Held), e.Name)
	s.Set(Partner, one(e.Partner), e.Name)
	s.Set(EndpointCalls, float64(e.Calls), e.Name)
	s.Set(EndpointLimit, float64(e.Limit), e.Name)
	s.Set(ProbeRTT, e.RTTMillis/1000, e.Name)
}

// Collector turns snapshots into metrics. It costs nothing between scrapes: rooms count for themselves, read translates.
func Collector(read func(Scrape)) prometheus.Collector { return collector{read} }

type collector struct{ read func(Scrape) }

// Describe lists the metrics.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range all {
		out <- m.desc
	}
}

// Collect reads them.
func (c collector) Collect(out chan<- prometheus.Metric) { c.read(Scrape{out}) }

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
