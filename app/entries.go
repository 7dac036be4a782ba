package app

import (
	"encoding/json"
	"strings"
	"time"

	"nines/journal"
	"nines/policy"
	"nines/sip"
)

// startData is the Data of a CallStart.
type startData struct {
	Source     string `json:"source,omitempty"`      // the transport and address that the INVITE came from
	SecondLine bool   `json:"second_line,omitempty"` // it waits its turn at full partners
	Malformed  bool   `json:"malformed,omitempty"`   // the INVITE had to be mended
	From       string `json:"from,omitempty"`        // who a caller without a number says to be
	Asserted   string `json:"asserted,omitempty"`
}

func (d startData) json() json.RawMessage {
	o := objectIn(make([]byte, 0, 64))
	o.text("source", d.Source)
	o.yes("second_line", d.SecondLine)
	o.yes("malformed", d.Malformed)
	o.text("from", d.From)
	o.text("asserted", d.Asserted)
	return o.end()
}

// planStep is one endpoint of a RouteRule's Data.
type planStep struct {
	Endpoint string `json:"endpoint"`
	Partner  bool   `json:"partner,omitempty"`
	Why      string `json:"why,omitempty"`
}

func (p planStep) append(b []byte) []byte {
	o := objectIn(b)
	o.text("endpoint", p.Endpoint)
	o.yes("partner", p.Partner)
	o.text("why", p.Why)
	return o.end()
}

// mediaData is the Data of a MediaEnd.
type mediaData struct {
	Caller   sip.MediaCount `json:"caller"`
	Endpoint sip.MediaCount `json:"endpoint"`
}

func (d mediaData) json() json.RawMessage {
	o := objectIn(make([]byte, 0, 160))
	o.name("caller")
	o.b = appendMediaCount(o.b, &d.Caller)
	o.name("endpoint")
	o.b = appendMediaCount(o.b, &d.Endpoint)
	return o.end()
}

func appendMediaCount(b []byte, c *sip.MediaCount) []byte {
	o := objectIn(b)
	o.count("packets", c.Packets)
	o.count("bytes", c.Bytes)
	o.number("lost", int64(c.Lost))
	o.number("foreign", int64(c.Foreign))
	o.number("jitter_ns", int64(c.Jitter))
	return o.end()
}

// endData is the Data of a CallEnd: what a list of calls says besides, so that it needs no other entry.
type endData struct {
	Began     time.Time     `json:"began,omitzero"`
	Setup     time.Duration `json:"setup,omitempty"`    // from the INVITE to our 200
	Attempts  int           `json:"attempts,omitempty"` // endpoints that were asked
	Partners  int           `json:"partners,omitempty"` // of them
	Rescues   int           `json:"rescues,omitempty"`  // times that it lost its endpoint
	From      string        `json:"from,omitempty"`     // who a caller without a number says to be
	Asserted  string        `json:"asserted,omitempty"`
	Malformed bool          `json:"malformed,omitempty"` // as in startData
	Talked    []string      `json:"talked,omitempty"`    // the endpoints that had it, in order, where there was more than one
}

func (d endData) json() json.RawMessage {
	o := objectIn(make([]byte, 0, 128))
	o.time("began", d.Began)
	o.number("setup", int64(d.Setup))
	o.number("attempts", int64(d.Attempts))
	o.number("partners", int64(d.Partners))
	o.number("rescues", int64(d.Rescues))
	o.text("from", d.From)
	o.text("asserted", d.Asserted)
	o.yes("malformed", d.Malformed)
	if len(d.Talked) > 0 {
		o.name("talked")
		o.b = append(o.b, asJSON(d.Talked)...)
	}
	return o.end()
}

// entryOf is a record as a line of the book. A kind that makes two is split before.
func entryOf(r *sip.Record) journal.Entry {
	e := journal.Entry{
		At: r.At, Call: r.Call, CallID: r.CallID, Route: string(r.Route), Endpoint: string(r.Endpoint), Partner: r.Partner, Attempt: r.Attempt,
		Outcome: r.Outcome, Code: r.Code, Took: r.Took, What: r.What, Why: r.Why,
	}
	if r.Call != "" {
		e.Class = className(r.Class)
	}
	switch r.Kind {
	case sip.CallCame:
		e.Type, e.Trunk, e.Caller, e.Called = journal.CallStart, string(r.Trunk), r.Caller, r.Called
		e.Data = came(r).json()
		if journal.Erasable(r.Called) { // it stands in a field of its own, from which it can be erased
			e.Why = strings.ReplaceAll(e.Why, `"`+r.Called+`"`, "the number called")
		}
	case sip.CallPlanned:
		e.Type, e.What, e.Data = journal.RouteRule, planNames(r.Plan), planSteps(r.Plan)
	case sip.CallAsked:
		e.Type = journal.Route
	case sip.AttemptOver:
		e.Type = journal.AttemptOutcome
	case sip.CallHeard:
		e.Type = journal.MediaStart
	case sip.CallWitness:
		e.Type = journal.Witness
	case sip.CallMedia:
		e.Type, e.Data = journal.MediaEnd, mediaData{r.Media[0], r.Media[1]}.json()
	case sip.CallEnded:
		e.Type, e.Trunk, e.Caller, e.Called = journal.CallEnd, string(r.Trunk), r.Caller, r.Called
	case sip.CallRang:
		e.Type, e.What = journal.CallStateChange, "ringing"
	case sip.CallAskedOn:
		e.Type, e.What = journal.CallStateChange, "asked on"
	case sip.CallAnswered:
		e.Type, e.What = journal.CallStateChange, "answered"
	case sip.CallLost:
		e.Type, e.What = journal.CallStateChange, "lost"
	case sip.CallKept:
		e.Type, e.What = journal.CallStateChange, "kept"
	case sip.CallTakenOver:
		e.Type, e.What = journal.CallStateChange, "taken over"
	case sip.CallRescued:
		e.Type, e.What = journal.CallStateChange, "rescued"
	case sip.CallNoted:
		e.Type, e.What = journal.CallStateChange, "note"
	case sip.CallAnnounced:
		e.Type, e.Caller, e.Called, e.Outcome, e.Data = journal.AnnouncementStart, r.Caller, r.Called, "", asJSON(strings.Fields(r.Outcome))
	case sip.CallAnnouncementOver:
		e.Type, e.Caller, e.Called, e.Outcome, e.Data = journal.AnnouncementEnd, r.Caller, r.Called, "", asJSON(strings.Fields(r.Outcome))
	case sip.CallEscaped:
		e.Type, e.What, e.Caller, e.Called = journal.CallStateChange, "escaped", r.Caller, r.Called
		e.Why = "to route " + r.What + ": " + r.Why
	case sip.ShedChanged:
		e.Type, e.What = journal.ModeSwitch, map[string]string{"on": "shed", "off": "unshed"}[r.What]
	case sip.TreatEnded:
		e.Type, e.What, e.Why = journal.ModeSwitch, "untreat", "its time is over; "+r.What+" had ordered it: "+r.Why
	case sip.VerdictChanged:
		e.Type = journal.ServiceStateChange
	case sip.ProbeMissed:
		e.Type = journal.KeepAliveFailure
	case sip.NoticeGiven:
		e.Type = journal.Notice
	case sip.MessageMalformed:
		e.Type, e.Trunk, e.Caller, e.Called = journal.MalformedMessage, string(r.Trunk), r.Caller, r.Called
		if len(r.Data) > 0 {
			e.Data = appendMessage(nil, r)
		}
	case sip.CallMessage:
		e.Type = journal.CallSignalingMessage
	}
	return e
}

// came is what the start of a call says besides. Who has a number is named by it alone, so that it can be erased.
func came(r *sip.Record) startData {
	d := startData{Source: r.Flow.Proto.String() + " " + r.Flow.Remote.String(), SecondLine: r.SecondLine, Malformed: r.Malformed}
	if r.Caller == "" {
		d.From, d.Asserted = r.From, r.Asserted
	}
	return d
}

func planNames(steps []policy.Step) string {
	names := make([]string, len(steps))
	for i := range steps {
		names[i] = string(steps[i].Endpoint)
	}
	return strings.Join(names, ", ")
}

// planSteps are the steps of a plan as JSON.
func planSteps(steps []policy.Step) json.RawMessage {
	b := append(make([]byte, 0, 64*len(steps)+2), '[')
	for i := range steps {
		if i > 0 {
			b = append(b, ',')
		}
		b = planStep{string(steps[i].Endpoint), steps[i].Partner, steps[i].Why}.append(b)
	}
	return append(b, ']')
}

func asJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // ours are plain data
	}
	return b
}
