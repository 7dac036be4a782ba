package journal

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// i3 makes LogEvents of entries for an i3 Logging Service (NENA-STA-010.3 §4.12.3; members and their names as in its OpenAPI document, version 1.1). What
// i3 has no name for is not sent, and neither is what it wants more of than we know: the start of media, which would have to bring the SDP.
type i3 struct {
	node string
	legs map[string]string // the caller's Call-ID, by our name for a call that goes on
}

func newI3(node string) *i3 { return &i3{node: node, legs: map[string]string{}} }

// logEvent is a LogEvent: the prologue, then what its type must or may have, then the entry as it is in the book.
type logEvent struct {
	Client    string    `json:"clientAssignedIdentifier,omitempty"` // the same when it is sent again
	Type      Type      `json:"logEventType"`
	At        string    `json:"timestamp"`
	Agency    string    `json:"agencyId"`
	Element   string    `json:"elementId"`
	Call      string    `json:"callId,omitempty"`
	CallIDSIP string    `json:"callIdSip,omitempty"`
	Address   string    `json:"ipAddressPort,omitempty"`
	Direction direction `json:"direction,omitempty"`

	CallType string `json:"localCallType,omitempty"` // CallStart, CallEnd
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`

	Recipient   string `json:"recipientUri,omitempty"` // Route
	Rule        string `json:"ruleId,omitempty"`       // Route, RouteRuleMsg
	Priority    int    `json:"priority,omitempty"`
	Message     string `json:"message,omitempty"`
	PolicyOwner string `json:"policyOwner,omitempty"`
	PolicyType  string `json:"policyType,omitempty"`
	PolicyID    string `json:"policyId,omitempty"`
	Cause       string `json:"cause,omitempty"`

	Labels  []string `json:"mediaLabel,omitzero"` // MediaEnd
	Quality string   `json:"mediaQualityStats,omitempty"`

	Text     string `json:"text,omitempty"` // CallSignalingMessage
	Protocol string `json:"protocol,omitempty"`

	State  string `json:"state,omitempty"` // CallStateChange
	Leg    string `json:"legCallId,omitempty"`
	Target string `json:"targetId,omitempty"`
	Reason string `json:"changeReason,omitempty"`

	Status   string `json:"responseStatus,omitempty"`       // KeepAliveFailure
	Contents string `json:"notificationContents,omitempty"` // ElementStateChange
	Affected string `json:"affectedElementId,omitempty"`

	NewState string `json:"newState,omitempty"` // ServiceStateChange
	Service  string `json:"affectedServiceIdentifier,omitempty"`

	Owner  string `json:"owner,omitempty"` // PolicyChange
	Change string `json:"changeType,omitempty"`
	Policy string `json:"policyContent,omitempty"`
	Store  string `json:"policyStoreId,omitempty"`
	Editor string `json:"policyEditor,omitempty"`

	Extension *Entry `json:"extension,omitempty"`
}

type direction string

const (
	incoming direction = "incoming"
	outgoing direction = "outgoing"
)

// events makes what is sent of an entry; nothing: i3 has no name for it.
func (x *i3) events(e *Entry) []logEvent {
	ev := x.prologue(e)
	switch e.Type {
	case CallStart, CallEnd:
		ev.Direction, ev.CallType, ev.From, ev.To = incoming, e.Class, e.Caller, e.Called
	case CallStateChange:
		ev.Direction, ev.State, ev.Leg, ev.Target, ev.Reason = incoming, e.What, cmp.Or(e.CallID, ev.CallIDSIP, e.Call), e.Endpoint, e.Why
		if e.Endpoint != "" {
			ev.Direction = outgoing
		}
	case CallSignalingMessage:
		return x.messages(e, ev)
	case RouteRule:
		x.policy(&ev, e)
		ev.Priority, ev.Message = 1, strings.TrimSpace(e.What+": "+e.Why)
	case Route:
		x.policy(&ev, e)
		ev.Recipient, ev.Cause = "sip:"+e.Endpoint+"@"+x.node, e.Why
	case MediaEnd:
		ev.Labels, ev.Quality = []string{}, string(e.Data)
	case KeepAliveFailure:
		ev.Status = "408" // RFC 3261 §8.1.3.1: silence is treated as one
		if e.Code > 0 {
			ev.Status = strconv.Itoa(e.Code)
		}
	case ElementStateChange:
		ev.Direction, ev.Affected, ev.Contents = outgoing, x.node, e.What
	case ServiceStateChange:
		_, now, _ := strings.Cut(e.What, "→")
		ev.Direction, ev.Service, ev.NewState = outgoing, e.Endpoint, map[string]string{"up": "Normal", "down": "Down"}[now]
		if ev.NewState == "" {
			ev.NewState = "ServiceDisruption"
		}
	case PolicyChange:
		if e.What != "taken" {
			return nil // nothing has changed
		}
		ev.PolicyType, ev.PolicyID, ev.Owner, ev.Store, ev.Editor, ev.Change, ev.Policy = otherPolicy, "nines.yaml", x.node, x.node, cmp.Or(e.By, x.node), "UPDATE", cmp.Or(e.Why, "nothing that differs")
	default:
		return nil
	}
	return []logEvent{ev}
}

// otherPolicy is what i3 calls a policy that is neither that of an origination nor of a next hop. Such a one has an id.
const otherPolicy = "OtherRoutePolicy"

func (x *i3) policy(ev *logEvent, e *Entry) {
	route := cmp.Or(e.Route, "none")
	ev.Rule, ev.PolicyOwner, ev.PolicyType, ev.PolicyID = route, x.node, otherPolicy, route
}

// prologue is what each LogEvent has.
func (x *i3) prologue(e *Entry) logEvent {
	ev := logEvent{Type: e.Type, At: i3Time(e.At), Agency: x.node, Element: x.node, CallIDSIP: e.CallID, Extension: e}
	if e.Seq > 0 {
		ev.Client = fmt.Sprintf("%s-%d", x.node, e.Seq)
	}
	if e.Call == "" {
		return ev
	}
	ev.Call = "urn:emergency:uid:callid:" + e.Call + ":" + x.node
	switch leg := x.legs[e.Call]; {
	case e.Type == CallStart && e.CallID != "" && len(x.legs) < maxFates:
		x.legs[e.Call] = e.CallID
	case leg != "":
		ev.CallIDSIP = leg
	}
	if e.Type == CallEnd {
		delete(x.legs, e.Call)
	}
	return ev
}

// messages makes an event of each message.
func (x *i3) messages(e *Entry, of logEvent) []logEvent {
	var kept struct {
		Messages []struct {
			At     time.Time `json:"at"`
			In     bool      `json:"in"`
			Remote string    `json:"remote"`
			Text   string    `json:"text"`
			Base64 []byte    `json:"base64"`
		} `json:"messages"`
	}
	if json.Unmarshal(e.Data, &kept) != nil {
		return nil // it was erased
	}
	rest := *e
	rest.Data = nil // the messages
	of.Extension, of.Protocol = &rest, "sip"
	var all []logEvent
	for i, m := range kept.Messages {
		ev := of
		ev.Direction, ev.At, ev.Address, ev.Text = outgoing, i3Time(m.At), m.Remote, cmp.Or(m.Text, string(m.Base64))
		if m.In {
			ev.Direction = incoming
		}
		if ev.Client != "" {
			ev.Client += "-" + strconv.Itoa(i+1)
		}
		all = append(all, ev)
	}
	return all
}

func i3Time(t time.Time) string { return t.Format("2006-01-02T15:04:05.000-07:00") }

// unsigned puts an event into a JWS in flattened form with the algorithm none, one of the two that i3 knows: who wants to know that nothing was changed
// asks the book, whose head is signed.
func unsigned(ev *logEvent) ([]byte, error) {
	payload, err := json.Marshal(ev)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{
		"protected": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)), "payload": base64.RawURLEncoding.EncodeToString(payload), "signature": "",
	})
}
