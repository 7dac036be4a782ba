package journal

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// i3Members says, for each type of LogEvent that we send, what it must have (!) and may have beside the prologue, by the OpenAPI document of the Logging
// Service, version 1.1. What is an enumeration there is one here.
var i3Members = map[string]string{
	"CallStartLogEvent":            "direction! standardPrimaryCallType standardSecondaryCallType localCallType localUse to from",
	"CallEndLogEvent":              "direction! standardPrimaryCallType standardSecondaryCallType localCallType localUse to from",
	"CallStateChangeLogEvent":      "state! direction! legCallId! targetId changeReason",
	"CallSignalingMessageLogEvent": "text! direction! protocol",
	"RouteLogEvent":                "recipientUri! ruleId! policyOwner! policyType! policyQueueName policyId cause",
	"RouteRuleMsgLogEvent":         "ruleId! priority! message! policyOwner! policyType! policyQueueName policyId",
	"MediaEndLogEvent":             "mediaLabel! mediaQualityStats",
	"KeepAliveFailureLogEvent":     "responseStatus!",
	"ElementStateChangeLogEvent":   "notificationContents! direction! affectedElementId",
	"ServiceStateChangeLogEvent":   "newState! newSecurityPosture affectedServiceIdentifier! direction!",
	"PolicyChangeLogEvent":         "policyType! owner! changeType! policyContent! policyStoreId! policyEditor! policyQueueName policyId",
}

// ofCalls are the types that need a callId and a callIdSip, by the tests of NENA's i3 conformance suite.
var ofCalls = []string{"CallStartLogEvent", "CallEndLogEvent", "RouteLogEvent", "CallSignalingMessageLogEvent", "CallStateChangeLogEvent"}

const i3Prologue = "clientAssignedIdentifier logEventType! timestamp! agencyId! elementId! agencyAgentId agencyPositionId callId incidentId callIdSip ipAddressPort extension"

var i3CallID = regexp.MustCompile(`^urn:emergency:uid:callid:[A-Za-z0-9-]{10,36}:[A-Za-z0-9.-]+$`)

// i3Faults says what is wrong with a LogEvent.
func i3Faults(event map[string]any) (wrong []string) {
	kind, _ := event["logEventType"].(string)
	members, known := i3Members[kind]
	if !known {
		return []string{fmt.Sprintf("no LogEvent that we send is a %q", kind)}
	}
	allowed := map[string]bool{}
	for _, m := range strings.Fields(i3Prologue + " " + members) {
		name, must := strings.CutSuffix(m, "!")
		allowed[name] = true
		if _, has := event[name]; must && !has {
			wrong = append(wrong, kind+" lacks "+name)
		}
	}
	for name, value := range event {
		if !allowed[name] {
			wrong = append(wrong, kind+" may have no "+name)
		}
		var ok bool
		switch name {
		case "priority":
			n, is := value.(float64)
			ok = is && n == float64(int32(n))
		case "mediaLabel":
			_, ok = value.([]any)
		case "extension", "localUse":
			_, ok = value.(map[string]any)
		default:
			_, ok = value.(string)
		}
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s: %s is %v", kind, name, value))
		}
	}
	is := func(name string, good func(string) bool) {
		if v, has := event[name].(string); has && !good(v) {
			wrong = append(wrong, fmt.Sprintf("%s: %s is %q", kind, name, v))
		}
	}
	is("timestamp", func(s string) bool { _, err := time.Parse("2006-01-02T15:04:05.999999999-07:00", s); return err == nil })
	is("direction", func(s string) bool { return s == "incoming" || s == "outgoing" })
	is("changeType", func(s string) bool { return slices.Contains([]string{"CREATE", "UPDATE", "DELETE"}, s) })
	is("policyType", func(s string) bool { return s == "OtherRoutePolicy" && event["policyId"] != nil })
	is("newState", func(s string) bool {
		return slices.Contains([]string{"Normal", "ScheduledMaintenance", "ServiceDisruption", "Overloaded", "GoingDown", "Down"}, s) // never Unreachable: that is the subscriber's own verdict
	})
	is("responseStatus", func(s string) bool { return regexp.MustCompile(`^[1-6]\d\d$`).MatchString(s) })
	is("callId", i3CallID.MatchString)
	if slices.Contains(ofCalls, kind) && (event["callId"] == nil || event["callIdSip"] == nil) {
		wrong = append(wrong, kind+" does not say of which call it is")
	}
	return wrong
}

// loggingService is a Logging Service that looks at everything it is sent.
type loggingService struct {
	t      *testing.T
	strict bool // takes no extension

	mu    sync.Mutex
	kinds map[string]int
	texts []string
	ids   map[string]bool
}

// ServeHTTP takes an event and looks at it as a stranger would.
func (l *loggingService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	var jws map[string]string // three members, all of them text: nothing else fits
	if err := json.Unmarshal(body, &jws); err != nil || len(jws) != 3 || r.Method != http.MethodPost || r.URL.Path != "/Logging/v1/LogEvents" || r.Header.Get("Content-Type") != "application/json" {
		l.t.Errorf("%s %s brought no flattened JWS: %v %s", r.Method, r.URL, err, body)
		w.WriteHeader(454)
		return
	}
	var header struct{ Alg string }
	var event map[string]any
	for part, into := range map[string]any{"protected": &header, "payload": &event} {
		text, err := base64.RawURLEncoding.DecodeString(jws[part])
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			l.t.Errorf("the JWS's %s is no JSON in base64url: %v", part, err)
		}
	}
	if header.Alg != "none" || jws["signature"] != "" {
		l.t.Errorf("the algorithm is %q and the signature %q; we claim none", header.Alg, jws["signature"])
		w.WriteHeader(438)
		return
	}
	if _, has := event["extension"]; has && l.strict {
		w.WriteHeader(462)
		return
	}
	for _, wrong := range i3Faults(event) {
		l.t.Error(wrong)
	}
	id, _ := event["clientAssignedIdentifier"].(string)
	if id == "" || l.ids[id] {
		l.t.Errorf("the event %q came twice, or has no identifier", id)
	}
	l.ids[id] = true
	l.kinds[event["logEventType"].(string)]++
	if text, ok := event["text"].(string); ok {
		l.texts = append(l.texts, fmt.Sprint(event["direction"], " ", event["ipAddressPort"], " ", text))
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `"urn:emergency:uid:logid:0013344556677-231:logger.example"`)
}

// TestALoggingServiceFindsNothingWrong sends a recorded night, and what it lacks, to a service that knows what i3 asks for.
func TestALoggingServiceFindsNothingWrong(t *testing.T) {
	for name, strict := range map[string]bool{"takes extensions": false, "takes none": true} {
		t.Run(name, func(t *testing.T) {
			service := &loggingService{t: t, strict: strict, kinds: map[string]int{}, ids: map[string]bool{}}
			server := httptest.NewServer(service)
			defer server.Close()
			s := newShelf(t)
			s.cfg.Node, s.cfg.Also = "west-mercia.example", []Sink{{I3: server.URL + "/Logging/v1"}}
			b, _ := s.open()
			all := recording(t)[:200]
			call := all[len(all)-1].Call
			for _, e := range all {
				if e.Type == CallStart {
					call = e.Call
				}
			}
			all = append(all,
				Entry{At: began, Type: PolicyChange, What: "taken", Why: "routes[0].ask", By: "alice"}, Entry{At: began, Type: PolicyChange, What: "refused", Why: "line 3"},
				Entry{At: began, Type: MediaStart, Call: call, Endpoint: "control-room"}, Entry{At: began, Type: MediaEnd, Call: call, Data: []byte(`{"caller":{"packets":3}}`)},
				Entry{At: began, Type: AnnouncementStart, Call: call, What: "report-online"},
				Entry{At: began, Type: CallSignalingMessage, Call: call, CallID: call + "@bt", Data: []byte(`{"messages":[
					{"at":"2021-09-06T16:30:00Z","in":true,"proto":"UDP","local":"10.0.0.1:5060","remote":"192.0.2.1:5060","text":"INVITE sip:999@x SIP/2.0\r\n\r\n"},
					{"at":"2021-09-06T16:30:00.1Z","in":false,"proto":"UDP","local":"10.0.0.1:5060","remote":"192.0.2.1:5060","base64":"U0lQLzIuMCAxMDAgVHJ5aW5nDQoNCg=="}]}`)},
				Entry{At: began, Type: CallSignalingMessage, Call: call, CallID: call + "@bt", Erased: true},
			)
			for i := range all {
				e := all[i]
				e.Seq = 0
				b.Append(e)
			}
			s.commit(b, Entry{Type: OperatorAct})
			eventually(t, "all was sent", func() bool { h := b.Health().Also[0]; return h.Sent+h.Lost == int64(len(all)+1) })
			if h := b.Health().Also[0]; h.Lost != 0 || h.Error != "" {
				t.Errorf("the second place is %+v; want nothing lost", h)
			}
			service.mu.Lock()
			defer service.mu.Unlock()
			for kind := range i3Members {
				if service.kinds[kind] == 0 {
					t.Errorf("no %s was sent: the test shows nothing of it", kind)
				}
			}
			want := []string{"incoming 192.0.2.1:5060 INVITE sip:999@x SIP/2.0\r\n\r\n", "outgoing 192.0.2.1:5060 SIP/2.0 100 Trying\r\n\r\n"}
			if !slices.Equal(service.texts, want) {
				t.Errorf("the messages are %q, want %q", service.texts, want)
			}
		})
	}
}

// TestTheServiceWouldFindWhatIsWrong: a check that finds nothing proves nothing.
func TestTheServiceWouldFindWhatIsWrong(t *testing.T) {
	good := func() map[string]any {
		return map[string]any{
			"logEventType": "CallStartLogEvent", "timestamp": "2021-09-06T16:30:00.000+01:00", "agencyId": "a.example", "elementId": "a.example",
			"callId": "urn:emergency:uid:callid:ktb7q1-0-17:a.example", "callIdSip": "x@y", "direction": "incoming",
		}
	}
	if wrong := i3Faults(good()); len(wrong) > 0 {
		t.Errorf("a good event is wrong: %q", wrong)
	}
	for name, value := range map[string]any{
		"logEventType": "NinesGap", "timestamp": "16:30", "agencyId": nil, "callId": "17", "callIdSip": nil, "direction": "sideways", "text": "x", "from": 3,
	} {
		event := good()
		event[name] = value
		if value == nil {
			delete(event, name)
		}
		if len(i3Faults(event)) == 0 {
			t.Errorf("%s = %v was not found", name, value)
		}
	}
}
