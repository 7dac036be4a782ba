package console

import "time"

// Status is what the node says about itself: what app fills, the API serves, and the CLI and the pages show. It is plain data; a Status that was
// handed over is not changed any more.
type Status struct {
	Name           string           `json:"name"`
	Version        Version          `json:"version"`
	Since          time.Time        `json:"since"` // when this process started to take calls
	UptimeSeconds  int64            `json:"uptime_seconds"`
	Ready          bool             `json:"ready"`
	NotReady       string           `json:"not_ready,omitempty"` // why no more calls should be sent here
	FastPath       string           `json:"fast_path"`           // kernel or userspace: where packets are relayed (R31)
	FastPathReason string           `json:"fast_path_reason,omitempty"`
	Listen         []string         `json:"listen"` // where calls are taken, as bound
	TLS            *TLSStatus       `json:"tls,omitempty"`
	Endpoints      []EndpointStatus `json:"endpoints"`
	Trunks         []TrunkStatus    `json:"trunks"`
	Routes         []RouteStatus    `json:"routes"`
	Calls          CallStatus       `json:"calls"`
	Rescues        RescueStatus     `json:"rescues"`
	Routine        RoutineStatus    `json:"routine"`
	Ports          PortStatus       `json:"ports"`
	SIP            SIPStatus        `json:"sip"`
	Media          MediaStatus      `json:"media"`
	Config         ConfigStatus     `json:"config"`
	Book           BookStatus       `json:"book"`
	CallBacks      CallBackStatus   `json:"callbacks"`
	Notices        []string         `json:"notices,omitempty"` // what an operator should know now, one sentence each
}

// Version says what is running.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

// TLSStatus is what TLS runs with.
type TLSStatus struct {
	Usable   bool      `json:"usable"` // there is a certificate
	Subject  string    `json:"subject,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
	Expired  bool      `json:"expired"`
	Partners bool      `json:"partners"` // partners that connect must show a certificate
}

// EndpointStatus is what is believed about one endpoint, and why (R16).
type EndpointStatus struct {
	Name           string    `json:"name"`
	URI            string    `json:"uri"`
	Partner        bool      `json:"partner"`
	Verdict        string    `json:"verdict"` // up, suspect, down, unknown
	Since          time.Time `json:"since"`   // of the verdict
	Explanation    string    `json:"explanation"`
	Evidence       []string  `json:"evidence,omitempty"` // newest first
	WhatBringsBack string    `json:"what_brings_back,omitempty"`
	LastProbe      time.Time `json:"last_probe,omitzero"`
	NextProbe      time.Time `json:"next_probe,omitzero"`
	RTTMillis      float64   `json:"rtt_ms,omitempty"` // of the last probe that was answered
	// Addresses is what is believed of each, where there are several; dead ones are tried last.
	Addresses      []AddressStatus `json:"addresses,omitempty"`
	Returning      bool            `json:"returning"` // it must prove itself before emergency calls go there again
	Held           bool            `json:"held"`
	Hold           *HoldStatus     `json:"hold,omitempty"`
	ResponseMillis float64         `json:"response_ms,omitempty"`          // median of its first responses to calls, lately
	LongRunMillis  float64         `json:"long_run_response_ms,omitempty"` // and in the long run
	// RecentCalls is what calls of the last ten minutes showed: all of them first, then by class and called number.
	RecentCalls []CallWindow `json:"recent_calls,omitempty"`
	Calls       int          `json:"calls"` // asked and talking
	Limit       int          `json:"limit"` // 0: none
	Busy        bool         `json:"busy"`  // it said 480, 486 or 600 within the last seconds
	// Answered counts the calls that it answered first, since the start of this process.
	Answered          uint64 `json:"answered"`
	AnsweredEmergency uint64 `json:"answered_emergency"` // of them, emergency calls
}

// RouteStatus is one route, and who its calls ask now.
type RouteStatus struct {
	Name    string   `json:"name"`
	Class   string   `json:"class"` // emergency, routine, test
	Numbers []string `json:"numbers"`
	Aid     bool     `json:"aid"`              // its calls come as mutual aid
	Order   []string `json:"order"`            // the endpoints as a call that came now would ask them
	Usual   string   `json:"usual"`            // the endpoint that the file names first
	Calls   int      `json:"calls"`            // that live now
	Latest  *Answer  `json:"latest,omitempty"` // the call that was answered last
}

// Answer says who took a call.
type Answer struct {
	At          time.Time `json:"at"`
	Endpoint    string    `json:"endpoint"`
	SetupMillis float64   `json:"setup_ms"` // from its INVITE to our 200
}

// AddressStatus is one address of an endpoint.
type AddressStatus struct {
	Address   string    `json:"address"`
	Verdict   string    `json:"verdict"`
	Since     time.Time `json:"since"`
	Words     string    `json:"words"` // what was seen of it last
	RTTMillis float64   `json:"rtt_ms,omitempty"`
}

// CallWindow is what the calls of one class to one number showed at an endpoint.
type CallWindow struct {
	Class    string         `json:"class,omitempty"`  // empty: all
	Number   string         `json:"number,omitempty"` // as called; empty: all
	From     time.Time      `json:"from"`
	To       time.Time      `json:"to"`
	Calls    int            `json:"calls"`
	Outcomes map[string]int `json:"outcomes"`        // answered, talked, "failed 503", silent, …
	Fails    string         `json:"fails,omitempty"` // that the endpoint fails for this number, in words
}

// HoldStatus is an operator's override.
type HoldStatus struct {
	Endpoint    string    `json:"endpoint"`
	By          string    `json:"by"`
	Why         string    `json:"why"`
	From        time.Time `json:"from"`
	Until       time.Time `json:"until"`
	LeftSeconds int64     `json:"left_seconds"` // by the node's monotonic clock
}

// TrunkStatus is one carrier or PBX that sends us calls.
type TrunkStatus struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"` // carrier, pbx, aid
	Calls    int       `json:"calls"`
	LastSeen time.Time `json:"last_seen,omitzero"` // its last message; zero: none since the start
}

// CallStatus counts the calls that live now.
type CallStatus struct {
	Total   int            `json:"total"`
	Ringing int            `json:"ringing"` // not answered yet
	Talking int            `json:"talking"`
	ByRoute map[string]int `json:"by_route,omitempty"`
	// Since the start of this process.
	Placed   uint64 `json:"placed"`
	Answered uint64 `json:"answered"`
	Refused  uint64 `json:"refused"` // the carrier got a final failure from us
	Cleared  uint64 `json:"cleared"` // the caller gave up before an answer
}

// RescueStatus is what became of talking calls whose endpoint was lost (R20 to R22), since the start of this process.
type RescueStatus struct {
	Begun       uint64 `json:"begun"`   // times a talking call lost its endpoint
	Running     int    `json:"running"` // of them, calls that look for another now
	Rescued     uint64 `json:"rescued"` // another endpoint was heard
	Kept        uint64 `json:"kept"`    // the endpoint came back first
	LostTalking uint64 `json:"lost_talking"`
	// The gap is from the last packet of the lost endpoint to the first of the new one; median and 99th percentile are of the latest thousand.
	LastGapMillis float64 `json:"last_gap_ms,omitempty"`
	GapP50Millis  float64 `json:"gap_p50_ms,omitempty"`
	GapP99Millis  float64 `json:"gap_p99_ms,omitempty"`
	// Latest are the rescues of late, oldest first.
	Latest []Rescue `json:"latest,omitempty"`
}

// Rescue is a talking call that was moved to another endpoint.
type Rescue struct {
	At        time.Time `json:"at"`
	Route     string    `json:"route"`
	Endpoint  string    `json:"endpoint"` // that has it now
	GapMillis float64   `json:"gap_ms"`   // how long the caller heard nobody
}

// PortStatus counts media ports.
type PortStatus struct {
	Range string `json:"range"`
	Used  int    `json:"used"`
	Free  int    `json:"free"`
}

// SIPStatus counts messages since the start.
type SIPStatus struct {
	Received        uint64            `json:"received"`
	Sent            uint64            `json:"sent"`
	Retransmissions uint64            `json:"retransmissions"` // sent again by us
	Repeats         uint64            `json:"repeats"`         // received again
	Salvaged        uint64            `json:"salvaged"`        // broken, and routed all the same
	Dropped         map[string]uint64 `json:"dropped,omitempty"`
	Transactions    int               `json:"transactions"` // that live now
	Connections     int               `json:"connections"`
}

// MediaStatus counts packets since the start.
type MediaStatus struct {
	Streams int               `json:"streams"` // that are relayed now
	Packets uint64            `json:"packets"`
	Bytes   uint64            `json:"bytes"`
	Lost    uint64            `json:"lost"` // missing from the sequence numbers that came in
	Dropped map[string]uint64 `json:"dropped,omitempty"`
}

// ConfigStatus is the file that is in force and what became of the last attempt to load one.
type ConfigStatus struct {
	Path     string    `json:"path"`
	Loaded   time.Time `json:"loaded"`             // when the running file was accepted
	Accepted bool      `json:"accepted"`           // the last file that was read is the one that runs
	Problems []string  `json:"problems,omitempty"` // of the last file that was refused
}

// BookStatus is how the book is written.
type BookStatus struct {
	Path         string    `json:"path"`
	Words        string    `json:"words"`   // how it is, in a sentence
	Written      int64     `json:"written"` // entries since the start
	Waiting      int       `json:"waiting"` // for the disk
	LagSeconds   float64   `json:"lag_seconds"`
	Lost         int64     `json:"lost"`                   // entries since the start for which there was no room
	RecordsLost  uint64    `json:"records_lost"`           // things that happened and came to no entry, because too much happened
	MessagesLost uint64    `json:"messages_lost"`          // SIP messages that were not kept
	Bytes        int64     `json:"bytes"`                  // on the disk
	Trouble      string    `json:"trouble,omitempty"`      // why it cannot be written
	Since        time.Time `json:"trouble_since,omitzero"` // of that
	HEPSent      uint64    `json:"hep_sent"`               // copies of messages, to the capture server
	HEPLost      uint64    `json:"hep_lost"`
}

// CallBackStatus is who must be rung back, in numbers.
type CallBackStatus struct {
	Open    int `json:"open"`    // lines that wait
	Redials int `json:"redials"` // emergency calls within ten minutes of an announcement to the same number, since the start
}

// ReloadResult is what became of a reload.
type ReloadResult struct {
	Accepted bool     `json:"accepted"`
	Changed  []string `json:"changed,omitempty"`  // what is different now, one sentence each
	Restart  []string `json:"restart,omitempty"`  // what needs a restart to take effect
	Problems []string `json:"problems,omitempty"` // why the file was refused: path, line, what, fix
}

// Endpoint finds an endpoint by name.
func (s *Status) Endpoint(name string) (EndpointStatus, bool) {
	for _, e := range s.Endpoints {
		if e.Name == name {
			return e, true
		}
	}
	return EndpointStatus{}, false
}

// refused has the API answer 422.
func (r ReloadResult) refused() bool { return !r.Accepted }
