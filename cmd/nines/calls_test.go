package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nines/console"
)

func (node) Calls(_ context.Context, q console.CallQuery, _ console.Mask) (console.CallList, error) {
	l := console.CallList{Calls: []console.CallSummary{{
		ID: "mi0-0-1", State: "over", Began: now.Add(-time.Minute), Trunk: "bt", Route: "999", Class: "emergency", Caller: q.Number, Called: "999", Outcome: q.Outcome, Code: 500,
		Why: "everybody refused",
	}}}
	l.More = q.Limit == 1
	return l, nil
}

// read makes a value of what the API would say.
func read[T any](text string) (v T) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	return v
}

func (node) Call(_ context.Context, id string, _ console.Mask) (console.CallDetail, error) {
	if id != "mi0-0-1" {
		return console.CallDetail{}, fmt.Errorf("%w: no call is called %q", console.ErrNotFound, id)
	}
	return read[console.CallDetail](`{"call": {"id": "mi0-0-1", "state": "talking", "began": "2026-11-23T14:02:15Z", "trunk": "bt", "route": "999", "called": "999"},
		"entries": [{"at": "2026-11-23T14:02:15Z", "type": "CallStartLogEvent", "why": "999 in the Request-URI is on route 999"}],
		"messages": [{"at": "2026-11-23T14:02:15Z", "in": true, "proto": "UDP", "local": "10.0.0.1:5060", "remote": "10.0.0.9:5060", "text": "INVITE sip:999@x SIP/2.0\r\n\r\n"}]}`), nil
}

func (node) CallBackList(_ context.Context, all bool, _ console.Mask) (console.CallBackList, error) {
	const missed = `"missed": [{"call": "mi0-0-1", "ended": "2026-11-23T14:01:15Z", "trunk": "bt", "called": "999", "reason": "500: the carrier may have connected it elsewhere"}]`
	more := ""
	if all {
		more = `, {"id": "mi0-0-2", ` + missed + `, "cleared": {"at": "2026-11-23T14:02:15Z", "by": "alice", "outcome": "police sent"}}`
	}
	return read[console.CallBackList](`{"open": 1, "lines": [{"id": "mi0-0-1", "number": "+441905001001", ` + missed + `}` + more + `]}`), nil
}

func (node) CallBackDone(_ context.Context, done console.CallBackDone) (console.CallBackResult, error) {
	if done.Who != "+441905001001" {
		return console.CallBackResult{}, fmt.Errorf("%w: nobody on the call-back list is %q", console.ErrNotFound, done.Who)
	}
	return read[console.CallBackResult](fmt.Sprintf(`{"line": {"id": "mi0-0-1", "number": %q, "cleared": {"by": %q, "outcome": %q}}, "not_kept": "no space left on device"}`, done.Who, done.By, done.Outcome)), nil
}

func TestCallsAndCallBacks(t *testing.T) {
	t.Setenv("NINES_RUN", startNode(t, node{}))
	for _, test := range []struct {
		args []string
		want result
	}{
		{
			[]string{"calls", "--number", "+441905001001", "--outcome", "refused", "--limit", "1"},
			result{exitDone, "CALL     BEGAN  FROM           TO   BY  STATE        TALK  WHY\n" +
				"mi0-0-1  60s    +441905001001  999  -   refused 500  0s    everybody refused\nthere are more: say --limit, or narrow it\n", ""},
		},
		{[]string{"calls", "--limit", "5000"}, result{exitFailed, "", "nines: limit \"5000\": say a number from 1 to 1000\n"}},
		{[]string{"call", "nobody"}, result{exitFailed, "", "nines: no call is called \"nobody\"\n"}},
		{
			[]string{"callbacks", "--all"},
			result{exitDone, "NUMBER         LAST  CALLS  TRUNK  WHY                                               ID\n" +
				"+441905001001  60s   1      bt     500: the carrier may have connected it elsewhere  mi0-0-1\n" +
				"withheld       60s   1      bt     done by alice: police sent                        mi0-0-2\n1 to ring back\n", ""},
		},
		{
			[]string{"callbacks", "done", "+441905001001", "--by", "alice", "--outcome", "spoke to caller"},
			result{exitDone, "+441905001001 is off the list: spoke to caller\n  0 more to ring back\n  ! THIS MIGHT COME BACK WITH A RESTART: no space left on device\n", ""},
		},
		{[]string{"callbacks", "done", "+44", "--by", "alice", "--outcome", "x"}, result{exitFailed, "", "nines: nobody on the call-back list is \"+44\"\n"}},
	} {
		if got := (program{}).try(t, test.args...); got != test.want {
			t.Errorf("nines %q\n got %+v\nwant %+v", test.args, got, test.want)
		}
	}
	for _, wrong := range [][]string{{"callbacks", "done", "+441905001001", "--by", "alice"}, {"callbacks", "done", "--by", "alice", "--outcome", "x"}, {"callbacks", "--csv", "--json"}, {"call"}} {
		if got := (program{}).try(t, wrong...); got.code != exitUsage {
			t.Errorf("nines %q: %+v, want exit code %d", wrong, got, exitUsage)
		}
	}
	if got := (program{}).try(t, "callbacks", "--csv"); !strings.HasPrefix(got.out, "id,number,withheld,") || strings.Count(got.out, "\n") != 2 {
		t.Errorf("--csv: %+v", got)
	}
}

func TestACaptureFileIsForItsOwnerOnly(t *testing.T) {
	t.Setenv("NINES_RUN", startNode(t, node{}))
	file := filepath.Join(t.TempDir(), "call.pcap")
	if got := (program{}).try(t, "call", "mi0-0-1", "--pcap", file); got.code != exitDone {
		t.Fatalf("%+v", got)
	}
	info, err := os.Stat(file)
	if err != nil || info.Size() < 60 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; callers' numbers are in it", info, err)
	}
}
