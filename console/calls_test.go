package console

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"nines/journal"
)

var fourteen = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

// Calls has one call that talks; its caller is masked as was asked.
func (n node) Calls(_ context.Context, _ CallQuery, mask journal.Mask) (CallList, error) {
	s := exampleCall().Call
	s.Caller = mask.Number(s.Caller)
	return CallList{Calls: []CallSummary{s}}, nil
}

func (n node) Call(_ context.Context, id string, mask journal.Mask) (CallDetail, error) {
	d := exampleCall()
	if id != d.Call.ID {
		return CallDetail{}, fmt.Errorf("%w: no call is called %q", ErrNotFound, id)
	}
	d.Call.Caller = mask.Number(d.Call.Caller)
	return d, nil
}

func (n node) CallBackList(_ context.Context, _ bool, mask journal.Mask) (CallBackList, error) {
	b := exampleCallBack()
	b.Number = mask.Number(b.Number)
	withheld := journal.CallBack{ID: "mi0-0-8", Missed: b.Missed, From: `=HYPERLINK("https://evil.example")`}
	return CallBackList{Open: 2, Lines: []journal.CallBack{b, withheld}}, nil
}

func (n node) CallBackDone(_ context.Context, done CallBackDone) (CallBackResult, error) {
	b := exampleCallBack()
	if done.Who != b.Number {
		return CallBackResult{}, fmt.Errorf("%w: nobody on the call-back list is %q", ErrNotFound, done.Who)
	}
	b.Cleared = &journal.CallBackDone{At: fourteen, By: done.By, Outcome: done.Outcome}
	return CallBackResult{Line: b, Open: 1}, nil
}

func exampleCallBack() journal.CallBack {
	return journal.CallBack{ID: "mi0-0-7", Number: "+441905000001", Missed: []journal.MissedCall{{
		Call: "mi0-0-7", Ended: fourteen, Trunk: "bt", Called: "999", Outcome: "refused", Code: 500, Reason: "500: the carrier may have connected it elsewhere",
	}}}
}

func exampleCall() CallDetail {
	at := func(ms int) time.Time { return fourteen.Add(time.Duration(ms) * time.Millisecond) }
	entry := func(ms int, t journal.Type, change func(*journal.Entry)) journal.Entry {
		e := journal.Entry{At: at(ms), Type: t, Call: "mi0-0-1"}
		change(&e)
		return e
	}
	message := func(ms int, in bool, attempt int, text string) CallMessage {
		return CallMessage{At: at(ms), In: in, Attempt: attempt, Proto: "UDP", Local: "10.0.0.1:5060", Remote: "10.0.0.9:5060", Text: text + "\r\nCall-ID: x\r\n\r\n"}
	}
	return CallDetail{
		Call: CallSummary{
			ID: "mi0-0-1", State: "talking", Began: at(0), Answered: at(1200), Trunk: "bt", Route: "999", Class: "emergency", Caller: "+441905000001", Called: "999",
			Endpoint: "standby-room", Attempts: 2, SetupMillis: 1200,
		},
		Entries: []journal.Entry{
			entry(0, journal.CallStart, func(e *journal.Entry) { e.Why = "999 in the Request-URI is on route 999" }),
			entry(0, journal.RouteRule, func(e *journal.Entry) { e.What = "control-room, standby-room" }),
			entry(0, journal.Route, func(e *journal.Entry) { e.Endpoint, e.Attempt, e.Why = "control-room", 1, "up" }),
			entry(1000, journal.AttemptOutcome, func(e *journal.Entry) {
				e.Endpoint, e.Attempt, e.Outcome, e.Why, e.Took = "control-room", 1, "silent", "got no response for 1s", time.Second
			}),
			entry(1000, journal.Route, func(e *journal.Entry) { e.Endpoint, e.Attempt, e.Why = "standby-room", 2, "control-room silent for 1s" }),
			entry(1200, journal.CallStateChange, func(e *journal.Entry) {
				e.What, e.Endpoint, e.Attempt, e.Code, e.Took = "answered", "standby-room", 2, 200, 1200*time.Millisecond
			}),
		},
		Messages: []CallMessage{
			message(0, true, 0, "INVITE sip:999@nines SIP/2.0"), message(0, false, 0, "SIP/2.0 100 Trying"), message(0, false, 1, "INVITE sip:999@10.0.1.1 SIP/2.0"),
			message(1000, false, 2, "INVITE sip:999@10.0.1.2 SIP/2.0"), message(1200, true, 2, "SIP/2.0 200 OK"), message(1200, false, 0, "SIP/2.0 200 OK"),
		},
	}
}

func TestACallIsReadAsAStoryAndALadder(t *testing.T) {
	d := exampleCall()
	var b strings.Builder
	if err := d.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `mi0-0-1  talking  from +441905000001 to 999 by trunk bt, route 999 (emergency)

  14:00:00.000  +0.000 s  came in: 999 in the Request-URI is on route 999
  14:00:00.000  +0.000 s  plan: control-room, standby-room
  14:00:00.000  +0.000 s  asked control-room: up
  14:00:01.000  +1.000 s  control-room silent (1s): got no response for 1s
  14:00:01.000  +1.000 s  asked standby-room: control-room silent for 1s
  14:00:01.200  +1.200 s  answered standby-room 200 (1.2s)

                caller                 nines                 endpoint
  14:00:00.000  |-- INVITE ----------->|
  14:00:00.000  |<- 100 Trying --------|
  14:00:00.000                         |-- INVITE ----------->|  control-room
  14:00:01.000                         |-- INVITE ----------->|  standby-room
  14:00:01.200                         |<- 200 OK ------------|  standby-room
  14:00:01.200  |<- 200 OK ------------|
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTheCallBackListAsATableIsHarmless(t *testing.T) {
	w := httptest.NewRecorder()
	inside(example()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/callbacks?format=csv", http.NoBody))
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v; want a head and two lines", len(rows), err)
	}
	if got := rows[1][1]; got != "+441905000001" {
		t.Errorf("the number is %q; it must be one that can be dialled", got)
	}
	if got := rows[2][10]; got != `'=HYPERLINK("https://evil.example")` {
		t.Errorf("what a stranger said is %q; a spreadsheet must not take it for a formula", got)
	}
}

func TestWhoMaySeeNumbers(t *testing.T) {
	for _, path := range []string{"/api/v1/calls", "/api/v1/calls/mi0-0-1", "/api/v1/callbacks"} {
		for _, v := range []struct {
			who  visitor
			sees bool
		}{{visitor{role: viewer}, false}, {visitor{role: operator, name: "alice"}, true}, {visitor{role: admin, control: true}, true}} {
			mux := http.NewServeMux()
			handleAPI(mux, example(), newLive(example()), func(*http.Request) visitor { return v.who }, zerolog.Nop())
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
			if got := strings.Contains(w.Body.String(), "441905000001"); got != v.sees || w.Code != http.StatusOK {
				t.Errorf("%s for a %s: %d, numbers are shown: %v, want %v", path, v.who.role, w.Code, got, v.sees)
			}
		}
	}
}

func TestATickOffIsDoneInTheNameOfTheToken(t *testing.T) {
	mux := http.NewServeMux()
	handleAPI(mux, example(), newLive(example()), func(*http.Request) visitor { return visitor{role: operator, name: "alice"} }, zerolog.Nop())
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/callbacks/done", strings.NewReader(`{"who":"+441905000001","outcome":"spoke","by":"mallory"}`)))
	var r CallBackResult
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || r.Line.Cleared == nil || r.Line.Cleared.By != "alice" {
		t.Errorf("%d %s; want it done by alice, whose token it is", w.Code, w.Body)
	}
}

func TestTheMessagesOfACallAsACaptureFile(t *testing.T) {
	messages := exampleCall().Messages
	messages[1].Local, messages[1].Remote = "[2001:db8::1]:5060", "[2001:db8::9]:5062"
	messages[2].Text, messages[2].Base64 = "", []byte("MESSAGE sip:x SIP/2.0\r\n\r\n\xff")
	var b bytes.Buffer
	if err := WritePCAP(&b, messages); err != nil {
		t.Fatal(err)
	}
	tshark, err := exec.LookPath("tshark")
	if err != nil || testing.Short() {
		t.Skip("tshark is not installed, or the test is to be short")
	}
	file := filepath.Join(t.TempDir(), "call.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-r", file, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "separator=,", "-e", "frame.time_epoch",
		"-e", "ip.src", "-e", "ipv6.src", "-e", "udp.dstport", "-e", "sip.Method", "-e", "sip.Status-Code", "-e", "udp.checksum.status", "-e", "ip.checksum.status").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := `1795442400.000000000,10.0.0.9,,5060,INVITE,,1,1
1795442400.000000000,,2001:db8::1,5062,,100,1,
1795442400.000000000,10.0.0.1,,5060,MESSAGE,,1,1
1795442401.000000000,10.0.0.1,,5060,INVITE,,1,1
1795442401.200000000,10.0.0.9,,5060,,200,1,1
1795442401.200000000,10.0.0.1,,5060,,200,1,1
`
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("tshark reads something else:\n%s", diff)
	}
}
