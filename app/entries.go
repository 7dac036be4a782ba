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

// planStep is one endpoint of a RouteRule's Data.
type planStep struct {
	Endpoint string `json:"endpoint"`
	Partner  bool   `json:"partner,omitempty"`
	Why      string `json:"why,omitempty"`
}

// mediaData is the Data of a MediaEnd.
type mediaData struct {
	Caller   sip.MediaCount `json:"caller"`
	Endpoint sip.MediaCount `json:"endpoint"`
}

// endData is the Data of a CallEnd: what a list of calls says besides, so that it needs no other entry.
type endData struct {
	Began    time.Time     `json:"began,omitzero"`
	Setup    time.Duration `json:"setup,omitempty"`    // from the INVITE to our 200
	Attempts int           `json:"attempts,omitempty"` // endpoints that were asked
	Partners int           `json:"partners,omitempty"` // of them
	Rescues  int           `json:"rescues,omitempty"`  // times that it lost its endpoint
	From     string        `json:"from,omitempty"`     // who a caller without a number says to be
	Asserted string        `json:"asserted,omitempty"`
	Talked   []string      `json:"talked,omitempty"` // the endpoints that had it, in order, where there was more than one
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
		e.Data = asJSON(came(r))
		if journal.Erasable(r.Called) { // it stands in a field of its own, from which it can be erased
			e.Why = strings.ReplaceAll(e.Why, `"`+r.Called+`"`, "the number called")
		}
	case sip.CallPlanned:
		e.Type, e.What, e.Data = journal.RouteRule, planNames(r.Plan), asJSON(planSteps(r.Plan))
	case sip.CallAsked:
		e.Type = journal.Route
	case sip.AttemptOver:
		e.Type = journal.AttemptOutcome
	case sip.CallHeard:
		e.Type = journal.MediaStart
	case sip.CallWitness:
		e.Type = journal.Witness
	case sip.CallMedia:
		e.Type, e.Data = journal.MediaEnd, asJSON(mediaData{r.Media[0], r.Media[1]})
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
			e.Data = appendMessages(nil, []heldMessage{{at: r.At, in: r.In, flow: r.Flow, data: r.Data}})
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

func planSteps(steps []policy.Step) []planStep {
	out := make([]planStep, len(steps))
	for i, s := range steps {
		out[i] = planStep{string(s.Endpoint), s.Partner, s.Why}
	}
	return out
}

func asJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // ours are plain data
	}
	return b
}
